//! The built binaries, from the outside. No machine is started and no kernel built.

mod builds;
mod kernels;
mod locks;
mod names;
mod place;
mod session;
mod verifier;
mod words;
