//! From sources to cached kernels and back, with the real make and git, and faults on the way.

mod ccache;
mod extra;
mod kills;
mod standin;
mod tarballs;
mod trees;
