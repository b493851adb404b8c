//! The built binaries, from the outside. No machine is started and no kernel built.

mod affected;
mod builds;
#[path = "../../../ktstr-kernel/tests/support/bz_image.rs"]
mod bz_image;
mod kernels;
mod locks;
mod names;
mod place;
#[path = "../support/restricted.rs"]
mod restricted;
mod session;
mod stats;
mod verifier;
mod words;
