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
mod git;
mod held_locks;
mod lock;
mod placement;
mod process_stat;
mod reservation;

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

pub use commit::Commit;
pub use context::HostContext;
pub use cpus::{HostCpus, HostCpusError, HostLlc};
pub use git::git_command;
pub use held_locks::{
    HeldLocksError, LockHolder, LockKind, LockPlaces, LockStatus, held_locks, lock_holders,
};
pub use lock::{LockError, LockFile, LockMode};
pub use placement::{Placement, PlacementError};
pub use process_stat::ProcessStat;
pub use reservation::{Claims, Reservation, Resource};

/// The environment of a process, as a value: variables, search path and root directory.
///
/// A command takes that of its own process by [`Host::of_this_process`]; an embedder or a test can supply another one.
/// The default has no variable and no search path.
///
/// ```
/// use ktstr_core::env;
/// use ktstr_core::host::Host;
///
/// let host = Host {
///     dir: "/srv/project".into(),
///     ..Host::default().with_vars([("KTSTR_CACHE_DIR", "cache")])
/// };
/// assert_eq!(env::cache_root(&host), Some("/srv/project/cache".into()));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Host {
    /// The directory below which `/proc`, `/sys`, `/dev` and `/boot` are read: `/`.
    pub root: PathBuf,
    /// The search path for programs, in the format of `PATH`.
    pub path: OsString,
    /// Environment variables, also of the programs that [`Host::command`] starts. [`crate::env`] has the names that ktstr
    /// reads.
    pub env: BTreeMap<OsString, OsString>,
    /// The directory that relative paths in variables are below. Where it is empty they stay relative.
    pub dir: PathBuf,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            root: "/".into(),
            path: OsString::new(),
            env: BTreeMap::new(),
            dir: PathBuf::new(),
        }
    }
}

/// Shows the names of the variables alone: values may be passwords.
impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("root", &self.root)
            .field("path", &self.path)
            .field("env", &self.env.keys())
            .field("dir", &self.dir)
            .finish()
    }
}

impl Host {
    /// The environment of this process.
    pub fn of_this_process() -> Self {
        let env: BTreeMap<_, _> = env::vars_os().collect();
        Self {
            root: "/".into(),
            path: env.get(OsStr::new("PATH")).cloned().unwrap_or_default(),
            env,
            dir: env::current_dir().unwrap_or_default(),
        }
    }

    /// With these environment variables as well.
    #[must_use]
    pub fn with_vars<N: Into<OsString>, V: Into<OsString>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let variables = variables.into_iter();
        self.env
            .extend(variables.map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// The value of an environment variable.
    pub fn var(&self, name: &str) -> Option<OsString> {
        self.env.get(OsStr::new(name)).cloned()
    }

    /// The value of an environment variable that is set to something: an empty one counts as unset.
    pub fn non_empty_var(&self, name: &str) -> Option<OsString> {
        self.var(name).filter(|value| !value.is_empty())
    }

    /// A command that is looked for and runs in this environment, and gets nothing of this process's own.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(&self.env).env("PATH", &self.path);
        command
    }

    /// `path` from [`Host::dir`] on. `..` at the start of `path` leads to that directory's parents; further ones stay as
    /// they are.
    pub fn absolute(&self, path: impl Into<PathBuf>) -> PathBuf {
        let path = path.into();
        if path.is_absolute() || self.dir.as_os_str().is_empty() {
            return path;
        }
        below(&self.dir, &path)
    }
}

/// A current directory has no symbolic links in it, so that its parents are those of its name.
fn below(dir: &Path, path: &Path) -> PathBuf {
    let mut absolute = dir.to_owned();
    let mut parts = path.components().peekable();
    while let Some(part @ (Component::CurDir | Component::ParentDir)) = parts.peek() {
        if *part == Component::ParentDir {
            absolute.pop();
        }
        parts.next();
    }
    absolute.extend(parts);
    absolute
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
        assert_eq!(host.dir, env::current_dir().unwrap());
    }

    #[test]
    fn a_command_gets_the_environment_of_the_host_and_no_other() {
        let host = Host {
            path: env::var_os("PATH").unwrap(),
            ..Host::default().with_vars([("ONE", "1"), ("PATH", "/nowhere")])
        };
        let output = host.command("env").output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        let mut lines: Vec<_> = told.lines().collect();
        lines.sort_unstable();
        let path = format!("PATH={}", host.path.display());
        assert_eq!(lines, ["ONE=1", path.as_str()]);
    }

    #[test]
    fn values_of_variables_are_not_shown() {
        let host = Host::default().with_vars([("http_proxy", "http://me:secret@p:1")]);
        let shown = format!("{host:?}");
        assert!(
            shown.contains("http_proxy") && !shown.contains("secret"),
            "{shown}"
        );
        assert_eq!(host.non_empty_var("http_proxy"), host.var("http_proxy"));
    }
}
