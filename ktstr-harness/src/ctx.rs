//! What a test body is given.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ktstr_core::Topology;

use crate::Checks;
use crate::cpu_map::CpuMap;

/// The surroundings of a running test body.
///
/// Bodies read it; only the harness makes one.
#[derive(Debug, Clone)]
pub struct Ctx {
    pub(crate) cpus: CpuMap,
    pub(crate) duration: Duration,
    pub(crate) checks: Checks,
    pub(crate) cgroup_root: PathBuf,
    pub(crate) include_dir: PathBuf,
}

impl Ctx {
    /// The shape of the machine.
    pub fn topology(&self) -> Topology {
        self.cpus.topology()
    }

    /// How long scenarios run.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// What scenarios are judged by.
    pub fn checks(&self) -> Checks {
        self.checks
    }

    /// The cgroup2 directory below which scenarios make their cgroups.
    pub fn cgroup_root(&self) -> &Path {
        &self.cgroup_root
    }

    /// Where the files of `extra_include_files` are.
    pub fn include_dir(&self) -> &Path {
        &self.include_dir
    }
}
