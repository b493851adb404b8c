//! What a resolution is doing, as events.
//!
//! This crate prints nothing. A caller passes a [`Progress`] and shows what it likes; [`Silent`] shows nothing.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use ktstr_core::host::LockHolder;

use crate::key::CacheKey;

/// Takes the events of a resolution. It is called often, and from several threads at once while files are fetched, so
/// that it should return soon.
pub trait Progress: Sync {
    /// Something happened.
    fn event(&self, event: Event<'_>);
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: Event<'_>) {}
}

/// A step from sources to a kernel, in the order they happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Computing the checksum of a tarball; counts bytes.
    Hash,
    /// Unpacking a tarball; counts bytes of the archive.
    Unpack,
    /// Writing the files of a commit; counts them.
    Checkout,
    /// `make mrproper`; counts nothing.
    Clean,
    /// Making the configuration; counts nothing.
    Configure,
    /// `make`; counts its steps.
    Compile,
    /// Copying into the cache; counts nothing.
    Store,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Hash => "checking",
            Self::Unpack => "unpacking",
            Self::Checkout => "checking out",
            Self::Clean => "cleaning",
            Self::Configure => "configuring",
            Self::Compile => "compiling",
            Self::Store => "storing",
        })
    }
}

/// Something that happened on the way to a kernel.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The kernel is in the cache already: nothing is built.
    CacheHit {
        /// What was asked for.
        source: &'a Path,
        /// The entry.
        key: &'a CacheKey,
        /// How long ago it was built.
        age: Duration,
    },
    /// Another process builds the same kernel, and is waited for.
    Waiting {
        /// The entry it makes.
        key: &'a CacheKey,
        /// Which process; `None` where it cannot be seen or has just finished.
        holder: Option<&'a LockHolder>,
    },
    /// The state of a transfer; several may run at once.
    Transfer {
        /// The name of the file, which tells transfers apart.
        name: &'a str,
        /// How far it is.
        state: Transfer<'a>,
    },
    /// Something the user should know, in one line.
    Note(&'a str),
    /// A step begins.
    Started {
        /// Which.
        stage: Stage,
        /// What it counts to, where that is known or can be estimated.
        total: Option<u64>,
    },
    /// A step got further.
    Advanced {
        /// Which.
        stage: Stage,
        /// How far, of `total`.
        done: u64,
        /// What is being worked on: a file name of a make step.
        what: Option<&'a str>,
    },
    /// A step is done.
    Finished {
        /// Which.
        stage: Stage,
        /// How long it took.
        took: Duration,
    },
}

/// How far a file from the network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transfer<'a> {
    /// It is asked for.
    Started {
        /// How much of it is there from an earlier try, bytes.
        done: u64,
        /// Its size, bytes, where the server tells it.
        total: Option<u64>,
    },
    /// More of it is there.
    Advanced {
        /// How much, bytes.
        done: u64,
    },
    /// It broke off and is asked for again.
    Retrying {
        /// What happened, in one clause.
        why: &'a str,
        /// After this wait.
        wait: Duration,
    },
    /// It is complete and was checked.
    Finished {
        /// Its size, bytes.
        size: u64,
        /// How long it took.
        took: Duration,
    },
    /// It failed; the error is returned in the end.
    Failed,
}
