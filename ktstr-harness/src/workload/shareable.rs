//! Which types of `slot.rs` may live in memory that several processes map.
#![allow(unsafe_code)]

use super::os::Shareable;
use super::slot::{Cell, Control, Slot, Stop};

// SAFETY: made of atomic integers and arrays of them only.
unsafe impl Shareable for Control {}
// SAFETY: as above.
unsafe impl Shareable for Cell {}
// SAFETY: as above.
unsafe impl Shareable for Slot {}
// SAFETY: as above.
unsafe impl Shareable for Stop {}
