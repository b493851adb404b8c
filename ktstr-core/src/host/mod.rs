//! The machine that tests run on: its CPUs and what shares them, locks and the reservations made of them, files, and the
//! project's commit.
//!
//! [`Host`] is what everything else asks, so that a library reads no surroundings by itself. [`HostCpus`] reads the CPUs,
//! [`Placement`] finds a machine's place on them, [`Reservation`] takes it, and [`held_locks`] tells who holds what.
//! [`HostContext`] is what a record says of the host.

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

/// The surroundings of a process, as a value.
///
/// A command makes one of its own process by [`Host::of_this_process`]; an embedder, or a test, makes up whatever it likes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Below which `/proc`, `/sys`, `/dev` and `/boot` are read: `/`.
    pub root: PathBuf,
    /// Where programs are searched for, as in `PATH`.
    pub path: OsString,
    /// Environment variables. The names that mean something here are in [`crate::env`].
    pub env: BTreeMap<OsString, OsString>,
}

impl Host {
    /// What this process has around it.
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
