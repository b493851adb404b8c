//! Replaced by the runnable examples.
fn main() {}
