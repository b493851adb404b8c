//! The cgroup of a definition, with those within it that its work needs.

use rustix::process::Pid;

use crate::cgroup::{Cgroup, CgroupError, CgroupTree};
use crate::workload::{Storm, WorkType};

/// A cgroup that workers are started in. Dropping it kills what runs in it and removes it.
#[derive(Debug)]
pub(super) struct Home {
    // The order matters: inner cgroups go before the outer one.
    within: Option<Within>,
    pub(super) cgroup: Cgroup,
}

/// What workers move between that move themselves. The settings of the outer cgroup hold for both.
#[derive(Debug)]
struct Within {
    one: Cgroup,
    other: Cgroup,
}

impl Home {
    pub(super) fn new(cgroup: Cgroup) -> Self {
        Self {
            within: None,
            cgroup,
        }
    }

    /// Makes what workers with this work need, and opens it.
    pub(super) fn prepare(&mut self, work: WorkType) -> Result<Option<Storm>, CgroupError> {
        if !work.moves_cgroups() {
            return Ok(None);
        }
        if self.within.is_none() {
            let tree = CgroupTree::within(&self.cgroup);
            // Without a controller of its own, a cgroup is none to the scheduler.
            tree.enable_controllers(&["cpu"])?;
            self.within = Some(Within {
                one: tree.create("one")?,
                other: tree.create("other")?,
            });
        }
        let open = |within: &Within| {
            Storm::new(within.one.path(), within.other.path()).map_err(|source| {
                CgroupError::Write {
                    path: within.one.path().join("cgroup.procs"),
                    value: "0".to_owned(),
                    source,
                    hint: "",
                }
            })
        };
        self.within.as_ref().map(open).transpose()
    }

    /// Moves a process here. Where there are cgroups within, none may be in the outer one.
    pub(super) fn attach(&self, pid: Pid) -> Result<(), CgroupError> {
        let inner = self.within.as_ref().map(|within| &within.one);
        let pid = pid.as_raw_pid().cast_unsigned();
        inner.unwrap_or(&self.cgroup).attach(pid)
    }

    /// Kills what runs in it and removes it.
    pub(super) fn remove(self) -> Result<(), CgroupError> {
        if let Some(within) = self.within {
            within.one.remove()?;
            within.other.remove()?;
        }
        self.cgroup.remove()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_storm_has_two_cgroups_within_and_begins_in_the_first() {
        let root = tempfile::tempdir().unwrap();
        let cgroup = CgroupTree::new(root.path()).create("a").unwrap();
        let path = cgroup.path().to_owned();
        fs::write(path.join("cgroup.controllers"), "cpu").unwrap();
        fs::write(path.join("cgroup.subtree_control"), "cpu").unwrap();
        let mut home = Home::new(cgroup);
        assert!(home.prepare(WorkType::Spin).unwrap().is_none());
        // A plain directory has no such file of its own.
        let error = home.prepare(WorkType::cgroup_attach_storm());
        let error = error.unwrap_err().to_string();
        assert!(error.contains("/a/one/cgroup.procs"), "{error}");
        for within in ["one", "other"] {
            fs::write(path.join(within).join("cgroup.procs"), "").unwrap();
        }
        let storm = home.prepare(WorkType::cgroup_attach_storm()).unwrap();
        assert!(storm.is_some());
        home.attach(Pid::from_raw(77).unwrap()).unwrap();
        let one = fs::read_to_string(path.join("one/cgroup.procs")).unwrap();
        assert_eq!(one, "77");
        fs::remove_file(path.join("cgroup.controllers")).unwrap();
        assert!(home.remove().is_err(), "plain files are in the way");
    }
}
