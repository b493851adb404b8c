//! What a shell in a machine finds there.
//!
//! [`root()`] makes the guest's root directory: a shell and tools of the host, with their libraries and what they read.

mod files;
mod root;
mod terminfo;
mod tools;

pub use root::{ShellRoot, ShellUse, root};
