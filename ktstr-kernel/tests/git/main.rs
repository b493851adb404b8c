//! Kernels from git repositories: by each way to them, with whatever can go wrong on it.

mod disk;
mod faults;
mod hostile;
mod kills;
#[path = "../support/mounted.rs"]
mod mounted;
mod names;
mod plans;
mod programs;
mod server;
#[path = "../pipeline/standin.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod standin;
mod ways;
mod world;
