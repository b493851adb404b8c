//! Speaks to nextest: the options of its command line, and its list of tests.

mod listing;
mod options;
mod selection;

pub use listing::{Binary, Listing, ListingError};
pub(crate) use options::{Decides, Word, parse};
pub(crate) use selection::{
    asks_for_ignored, build_selection, for_cargo, has, listing, narrowed, value,
};

#[cfg(test)]
pub(crate) use listing::tests;

/// Command lines for tests, as one string.
#[cfg(test)]
pub(crate) mod words {
    use std::ffi::OsString;

    pub(crate) fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(Into::into).collect()
    }

    pub(crate) fn line(args: Vec<OsString>) -> String {
        let args: Vec<String> = args
            .into_iter()
            .map(|arg| arg.into_string().unwrap())
            .collect();
        args.join(" ")
    }
}
