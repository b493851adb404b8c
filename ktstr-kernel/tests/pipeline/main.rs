//! From sources to cached kernels and back, with the real make and git, and faults on the way.

mod ccache;
mod config;
mod disks;
mod extra;
mod hangs;
mod kills;
#[path = "../support/mounted.rs"]
mod mounted;
mod places;
mod processes;
mod standin;
mod tarballs;
mod toolchain;
mod trees;
