//! The built binaries, from the outside. No machine is started and no kernel built.

mod kernels;
mod place;
mod session;
mod verifier;
mod words;
