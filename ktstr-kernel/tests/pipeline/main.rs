//! From sources to cached kernels and back, with the real make and git, and faults on the way.

mod ccache;
mod disks;
mod extra;
mod kills;
#[path = "../support/mounted.rs"]
mod mounted;
mod processes;
mod standin;
mod tarballs;
mod trees;
