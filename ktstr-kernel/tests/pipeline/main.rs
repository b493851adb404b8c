//! From sources to cached kernels and back, with the real make and git, and faults on the way.

mod kills;
mod standin;
mod tarballs;
mod trees;
