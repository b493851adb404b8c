//! From sources to cached kernels and back, with the real make and git, and faults on the way.

mod ccache;
mod disks;
mod extra;
mod kills;
mod processes;
mod standin;
mod tarballs;
mod trees;
