//! Speaks to nextest: the options of its command line, and its list of tests.

mod listing;
mod options;
mod selection;

pub use listing::{Binary, Listing, ListingError};
pub(crate) use options::{Word, parse};
pub(crate) use selection::{asks_for_ignored, build_selection, for_cargo, listing, value};

#[cfg(test)]
pub(crate) use listing::tests;
