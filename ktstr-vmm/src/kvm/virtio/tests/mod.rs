//! The device against a small driver of our own, well-behaved and not.

mod driver;
mod hostile;
mod registers;
mod traffic;
