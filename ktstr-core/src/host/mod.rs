//! The machine that tests run on: its CPUs and caches, locks and the reservations of CPUs that they make up, files, and
//! the commit of the project.
//!
//! [`Host`] carries the environment of a process, so that libraries do not read it themselves. [`HostCpus`] reads the
//! CPUs, [`Placement`] finds a place for a machine on them, [`Reservation`] takes it, and [`held_locks()`] lists the
//! holders of locks. [`HostContext`] describes the host in a record.

mod commit;
mod context;
mod cpus;
pub mod files;
mod held_locks;
mod lock;
mod placement;
mod reservation;

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

pub use commit::Commit;
pub use context::HostContext;
pub use cpus::{HostCpus, HostCpusError, HostLlc};
pub use held_locks::{
    HeldLocksError, LockHolder, LockKind, LockPlaces, LockStatus, held_locks, lock_holders,
};
pub use lock::{LockError, LockFile, LockMode};
pub use placement::{Placement, PlacementError};
pub use reservation::{Claims, Reservation, Resource};

/// The environment of a process, as a value: variables, search path and root directory.
///
/// A command takes that of its own process by [`Host::of_this_process`]; an embedder or a test can supply another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The directory below which `/proc`, `/sys`, `/dev` and `/boot` are read: `/`.
    pub root: PathBuf,
    /// The search path for programs, in the format of `PATH`.
    pub path: OsString,
    /// Environment variables. [`crate::env`] has the names that ktstr reads.
    pub env: BTreeMap<OsString, OsString>,
}

impl Host {
    /// The environment of this process.
    pub fn of_this_process() -> Self {
        let env: BTreeMap<_, _> = env::vars_os().collect();
        Self {
            root: "/".into(),
            path: env.get(OsStr::new("PATH")).cloned().unwrap_or_default(),
            env,
        }
    }

    /// The value of an environment variable.
    pub fn var(&self, name: &str) -> Option<OsString> {
        self.env.get(OsStr::new(name)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_own_surroundings() {
        let host = Host::of_this_process();
        assert_eq!(host.root, PathBuf::from("/"));
        assert_eq!(Some(host.path.clone()), env::var_os("PATH"));
        assert_eq!(host.var("PATH"), env::var_os("PATH"));
        assert_eq!(host.var("KTSTR_NO_SUCH_VARIABLE"), None);
    }
}
