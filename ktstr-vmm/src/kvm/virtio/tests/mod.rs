//! The device against a small driver of our own, well-behaved and not.

mod driver;
mod hostile;
mod machine;
mod registers;
mod traffic;
