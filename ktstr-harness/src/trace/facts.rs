//! What a waiting task may use, which no event tells: `/proc/PID/status`, `/proc/PID/cgroup` and `cpu.max`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ktstr_core::CpuSet;
use rustix::time::{ClockId, clock_gettime};

/// CPUs, fast to ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CpuMask(Vec<u64>);

/// What a task may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// Its CPUs: affinity and cpuset.
    pub(super) cpus: CpuMask,
    /// Whether its cgroup, or one above, has a quota: then it may have to wait although a CPU is idle.
    pub(super) has_quota: bool,
}

/// Tells what tasks may use.
pub(super) trait TaskFacts {
    /// What the task may use now; `None` where it has ended.
    fn read(&mut self, pid: i32) -> Option<Facts>;

    /// The time of the clock that the events have.
    fn now(&self) -> Duration;
}

/// The running kernel.
#[derive(Debug)]
pub(super) struct Proc {
    /// Where cgroup2 is mounted.
    pub(super) cgroups: PathBuf,
}

/// No file that is read here is longer.
const LONGEST: u64 = 64 << 10;

impl CpuMask {
    pub(super) fn contains(&self, cpu: u32) -> bool {
        let word = self.0.get(cpu as usize / 64).copied().unwrap_or(0);
        word >> (cpu % 64) & 1 == 1
    }
}

impl From<&CpuSet> for CpuMask {
    fn from(cpus: &CpuSet) -> Self {
        let mut mask = Vec::new();
        for cpu in cpus.iter() {
            let word = cpu as usize / 64;
            if mask.len() <= word {
                mask.resize(word + 1, 0);
            }
            mask[word] |= 1 << (cpu % 64);
        }
        Self(mask)
    }
}

impl TaskFacts for Proc {
    fn read(&mut self, pid: i32) -> Option<Facts> {
        let status = text(Path::new(&format!("/proc/{pid}/status")))?;
        let cgroup = text(Path::new(&format!("/proc/{pid}/cgroup"))).unwrap_or_default();
        Some(Facts {
            cpus: cpus(&status)?,
            has_quota: self.has_quota(&cgroup),
        })
    }

    fn now(&self) -> Duration {
        now()
    }
}

/// `CLOCK_MONOTONIC`
pub(super) fn now() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default()
}

impl Proc {
    /// Whether the cgroup in the text of `/proc/PID/cgroup`, or one above it, has a quota.
    fn has_quota(&self, cgroup: &str) -> bool {
        let Some(path) = cgroup.lines().find_map(|line| line.strip_prefix("0::/")) else {
            return false;
        };
        let mut at = self.cgroups.clone();
        path.split('/')
            .filter(|name| !name.is_empty() && *name != "..")
            .any(|name| {
                at.push(name);
                text(&at.join("cpu.max")).is_some_and(|max| !max.starts_with("max"))
            })
    }
}

fn cpus(status: &str) -> Option<CpuMask> {
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let cpus: CpuSet = list.trim().parse().ok()?;
    Some(CpuMask::from(&cpus))
}

fn text(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path)
        .ok()?
        .take(LONGEST)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn cpus_of_a_task() {
        let mask = cpus("Name:\tx\nCpus_allowed_list:\t1,64-65\nMems_allowed_list:\t0\n").unwrap();
        let found: Vec<u32> = (0..200).filter(|cpu| mask.contains(*cpu)).collect();
        assert_eq!(found, [1, 64, 65]);
        assert_eq!(cpus("Cpus_allowed_list:\tx\n"), None);
    }

    #[test]
    fn quotas_of_all_cgroups_above_count() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        let proc = Proc {
            cgroups: dir.path().to_owned(),
        };
        let quota = |a: &str, b: &str| {
            fs::write(dir.path().join("a/cpu.max"), a).unwrap();
            fs::write(dir.path().join("a/b/cpu.max"), b).unwrap();
            proc.has_quota("1:cpu:/x\n0::/a/b\n")
        };
        assert!(!quota("max 100000\n", "max 100000\n"));
        assert!(quota("5000 100000\n", "max 100000\n"));
        assert!(quota("max 100000\n", "5000 100000\n"));
        assert!(!proc.has_quota("0::/\n") && !proc.has_quota("0::/gone\n") && !proc.has_quota(""));
    }
}
