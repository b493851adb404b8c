//! What a test body is given.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ktstr_core::Topology;

use crate::cpu_map::CpuMap;
use crate::{Checks, Payload, TestCase};

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
    pub(crate) payload: Option<&'static Payload>,
    pub(crate) workloads: &'static [&'static Payload],
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

    /// The program that the test is about, which its `payload` names.
    pub fn payload(&self) -> Option<&'static Payload> {
        self.payload
    }

    /// The programs of its `workloads`.
    pub fn workloads(&self) -> &'static [&'static Payload] {
        self.workloads
    }

    /// The programs that the test declares, all of them.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &'static Payload> {
        self.payload
            .into_iter()
            .chain(self.workloads.iter().copied())
    }

    /// With the programs of `test`.
    pub(crate) fn with_programs_of(mut self, test: Option<&TestCase>) -> Self {
        if let Some(test) = test {
            (self.payload, self.workloads) = (test.payload, test.workloads);
        }
        self
    }

    /// Where the files of `extra_include_files` are.
    pub fn include_dir(&self) -> &Path {
        &self.include_dir
    }
}
