//! In which tests to look for one.

use std::ffi::OsString;

use clap::Args;
use ktstr_driver::Session;

/// How the tests of a project are listed.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// Arguments for `cargo nextest list`, such as -p PACKAGE or cargo features.
    #[arg(last = true, value_name = "NEXTEST-ARGS")]
    pub nextest_args: Vec<OsString>,
}

/// How a test is found by its name.
#[derive(Debug, Clone, Args)]
pub struct LookupArgs {
    /// Look in a release build, which has stricter default thresholds.
    #[arg(long)]
    pub release: bool,

    /// How the tests are listed.
    #[command(flatten)]
    pub listing: ListArgs,
}

impl LookupArgs {
    /// `session` of the tests to look in.
    #[must_use]
    pub fn of(self, session: Session) -> Session {
        let session = session.release(self.release);
        session.nextest_args(self.listing.nextest_args)
    }
}
