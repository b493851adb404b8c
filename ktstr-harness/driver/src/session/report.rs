//! How a session ended.

use crate::{RunSummary, Tally};

/// How a session ended.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionReport {
    /// Exit code for the caller's own process: nextest's, but for [`SessionReport::overruled`].
    pub exit_code: u8,
    /// Nextest ended well, and there is a record of this session that is a failure: so it is with nextest 0.9.143 and
    /// iterations of `--stress-count`. The exit code is that of failed tests then.
    pub overruled: bool,
    /// The signal that ended nextest, where it did not end by itself: tests that ran have no record then.
    pub signal: Option<i32>,
    /// The session was cancelled before nextest ended.
    pub cancelled: bool,
    /// What was written, by run directory.
    pub runs: Vec<RunSummary>,
}

impl SessionReport {
    /// How many cases ended how.
    pub fn tally(&self) -> Tally {
        Tally::of(&self.runs)
    }
}
