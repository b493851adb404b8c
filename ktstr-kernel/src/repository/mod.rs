//! Git repositories of kernel sources: their references, and the files of a commit.
//!
//! The user's git configuration is not read, nothing asks for a password, and no program runs but `ssh` (for `ssh://`) and
//! `git` (for `file://`). What a server sends is bounded in size and time ([`Limits`]). Where the list of references is
//! enough, nothing else is read.

mod address;
mod audit;
mod checkout;
mod error;
mod fetch;
mod http;
mod meter;
mod process;
mod refs;
mod transport;
mod watch;

use std::time::Duration;

use ktstr_core::host::Host;

pub use error::GitError;
pub(crate) use refs::FoundCommit;

use crate::release::Release;
use crate::spec::GitRef;
use address::Address;

/// How long servers may take, and how much they may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For connecting.
    pub connect: Duration,
    /// Without a single byte from the server.
    pub silence: Duration,
    /// For the whole listing of references.
    pub listing: Duration,
    /// For a whole fetch; also for writing its files.
    pub fetch: Duration,
    /// Size of a listing, bytes.
    pub listing_size: u64,
    /// Size of a fetch, bytes, as it comes from the network. One commit of Linux takes about 300 MB.
    pub fetch_size: u64,
    /// Size of all files of a commit, bytes. Linux 6.12 takes about 1.4 GB.
    pub files_size: u64,
    /// Number of files of a commit. Linux 6.12 has about 86,000.
    pub files: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            silence: Duration::from_secs(60),
            listing: Duration::from_secs(180),
            fetch: Duration::from_secs(2 * 3600),
            listing_size: 64 << 20,
            fetch_size: 4 << 30,
            files_size: 8 << 30,
            files: 500_000,
        }
    }
}

/// How repositories are accessed.
#[derive(Debug, Clone, Copy)]
pub struct Access<'a> {
    /// Where `ssh` and `git` are searched for, and the environment that `ssh` gets.
    pub host: &'a Host,
    /// Bounds for the server.
    pub limits: Limits,
}

/// The releases that the repository at `url` has tags of, such as `v6.13.12` and `v6.15-rc2`: oldest first.
///
/// A tag `vX.Y` is the first release of its series, and returned as `X.Y`. Only the listing of references is read.
pub fn tags(url: &str, access: Access<'_>) -> Result<Vec<Release>, GitError> {
    Repository::new(url, access)?.releases()
}

/// A repository.
#[derive(Debug)]
pub(crate) struct Repository<'a> {
    address: Address,
    access: Access<'a>,
}

impl<'a> Repository<'a> {
    pub(crate) fn new(url: &str, access: Access<'a>) -> Result<Self, GitError> {
        let address = Address::parse(url)?;
        Ok(Self { address, access })
    }

    /// The commit that `reference` names now. A whole hash is taken as it is: no server is asked.
    pub(crate) fn find(&self, reference: &GitRef) -> Result<FoundCommit, GitError> {
        refs::find(self, reference)
    }

    /// Makes sure that the repository answers, where [`find`](Self::find) did not ask it.
    pub(crate) fn greet(&self, found: &FoundCommit) -> Result<(), GitError> {
        if found.name.is_none() {
            refs::list(self, &["HEAD"])?;
        }
        Ok(())
    }

    fn releases(&self) -> Result<Vec<Release>, GitError> {
        let tips = refs::list(self, &["refs/tags/v"])?;
        let mut releases: Vec<Release> = tips.iter().filter_map(refs::Tip::release).collect();
        releases.sort_unstable();
        releases.dedup();
        Ok(releases)
    }

    fn url(&self) -> &str {
        self.address.text()
    }
}
