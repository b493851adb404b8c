//! Creates cgroups and sets their limits through the files of cgroup2 (`Documentation/admin-guide/cgroup-v2.rst`).

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ktstr_core::CpuSet;

/// A directory of a cgroup2 mount, below which cgroups are created.
#[derive(Debug, Clone)]
pub struct CgroupTree {
    root: PathBuf,
}

/// A cgroup that [`CgroupTree::create`] created. Dropping it kills the processes in it and removes it.
#[derive(Debug)]
pub struct Cgroup {
    name: String,
    path: PathBuf,
    removed: bool,
}

/// A failed operation on a cgroup.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CgroupError {
    /// A file could not be read.
    #[error("{path}: {source}; is a cgroup2 file system mounted there?")]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("{path}: writing `{value}`: {source}{hint}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The value.
        value: String,
        /// The error of the operating system.
        source: io::Error,
        /// What to do about it, after a semicolon; may be empty.
        hint: &'static str,
    },
    /// A controller is not available.
    #[error(
        "{path}: the {controller} controller is not available; the guest kernel needs {option}, and the parent cgroup \
         must enable it in cgroup.subtree_control"
    )]
    Controller {
        /// The file that lists the controllers.
        path: PathBuf,
        /// The controller.
        controller: String,
        /// The kernel option that builds it.
        option: &'static str,
    },
    /// The cgroup exists already.
    #[error("cgroup {name}: {path} exists already; choose another name or remove it")]
    Exists {
        /// The name.
        name: String,
        /// The directory.
        path: PathBuf,
    },
    /// The directory could not be created.
    #[error(
        "cgroup {name}: {path} could not be created: {source}; is a cgroup2 file system mounted there?"
    )]
    Create {
        /// The name.
        name: String,
        /// The directory.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The directory could not be removed.
    #[error(
        "cgroup {name}: {path} could not be removed within {seconds} s: {source}; processes in it: {processes}"
    )]
    Remove {
        /// The name.
        name: String,
        /// The directory.
        path: PathBuf,
        /// How long removing was retried, in seconds.
        seconds: u64,
        /// The last error of the operating system.
        source: io::Error,
        /// Process ids, or `none`.
        processes: String,
    },
}

impl CgroupTree {
    /// The tree at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Enables the controllers cpuset, cpu, memory and pids for child cgroups, as far as the kernel
    /// provides them. It is an error if one of `needed` is not available.
    pub fn enable_controllers(&self, needed: &[&str]) -> Result<(), CgroupError> {
        const USED: [&str; 4] = ["cpuset", "cpu", "memory", "pids"];
        let path = self.root.join("cgroup.controllers");
        let available = read(&path)?;
        let available: Vec<&str> = available.split_ascii_whitespace().collect();
        if let Some(missing) = needed.iter().find(|name| !available.contains(name)) {
            return Err(CgroupError::Controller {
                path,
                controller: (*missing).to_owned(),
                option: match *missing {
                    "cpuset" => "CONFIG_CPUSETS",
                    "cpu" => "CONFIG_FAIR_GROUP_SCHED or CONFIG_EXT_GROUP_SCHED",
                    "memory" => "CONFIG_MEMCG",
                    _ => "its CONFIG_CGROUP_ option",
                },
            });
        }
        let control = self.root.join("cgroup.subtree_control");
        let enabled = read(&control)?;
        let enabled: Vec<&str> = enabled.split_ascii_whitespace().collect();
        let missing = |name: &&str| available.contains(name) && !enabled.contains(name);
        let more: Vec<String> = USED
            .iter()
            .filter(|name| missing(name))
            .map(|name| format!("+{name}"))
            .collect();
        if more.is_empty() {
            return Ok(());
        }
        // All at once: each write waits until the kernel is through with removed cgroups.
        write(&control, &more.join(" "))
    }

    /// The tree of cgroups below `cgroup`.
    pub(crate) fn within(cgroup: &Cgroup) -> Self {
        Self::new(cgroup.path())
    }

    /// Moves a process to the root cgroup of the tree.
    pub(crate) fn attach_to_root(&self, pid: u32) -> Result<(), CgroupError> {
        write(&self.root.join("cgroup.procs"), &pid.to_string())
    }

    /// Creates the cgroup `name`.
    pub fn create(&self, name: &str) -> Result<Cgroup, CgroupError> {
        let path = self.root.join(name);
        let name = name.to_owned();
        match fs::create_dir(&path) {
            Ok(()) => Ok(Cgroup {
                name,
                path,
                removed: false,
            }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(CgroupError::Exists { name, path })
            }
            Err(source) => Err(CgroupError::Create { name, path, source }),
        }
    }
}

impl Cgroup {
    const REMOVE_LIMIT: Duration = Duration::from_secs(5);

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets the CPUs that its tasks may use (`cpuset.cpus`).
    pub fn set_cpus(&self, cpus: &CpuSet) -> Result<(), CgroupError> {
        self.write("cpuset.cpus", &cpus.to_string())
    }

    /// Sets the NUMA node that memory is allocated from (`cpuset.mems`).
    pub fn set_memory_node(&self, node: u32) -> Result<(), CgroupError> {
        self.write("cpuset.mems", &node.to_string())
    }

    /// Sets the share of CPU time relative to its siblings (`cpu.weight`).
    pub fn set_weight(&self, weight: u32) -> Result<(), CgroupError> {
        self.write("cpu.weight", &weight.to_string())
    }

    /// Sets the memory limit in bytes (`memory.max`), above which the kernel's OOM killer acts.
    pub fn set_memory_max(&self, bytes: u64) -> Result<(), CgroupError> {
        self.write("memory.max", &bytes.to_string())
    }

    /// Moves a process into it (`cgroup.procs`).
    pub fn attach(&self, pid: u32) -> Result<(), CgroupError> {
        self.write("cgroup.procs", &pid.to_string())
    }

    /// Returns how many of its processes the OOM killer killed (`oom_kill` in `memory.events`); 0 where the kernel does
    /// not report it.
    pub fn oom_kills(&self) -> u64 {
        let events = fs::read_to_string(self.path.join("memory.events")).unwrap_or_default();
        events
            .lines()
            .find_map(|line| line.strip_prefix("oom_kill "))
            .and_then(|count| count.trim().parse().ok())
            .unwrap_or(0)
    }

    /// Kills the processes in it and removes it.
    pub fn remove(mut self) -> Result<(), CgroupError> {
        self.remove_within(Self::REMOVE_LIMIT)
    }

    /// Sets the NUMA nodes that memory is allocated from (`cpuset.mems`).
    pub(crate) fn set_memory_nodes(&self, nodes: &CpuSet) -> Result<(), CgroupError> {
        self.write("cpuset.mems", &nodes.to_string())
    }

    /// Sets the CPU time that it may use in each period (`cpu.max`); no limit with `None`.
    pub(crate) fn set_quota(&self, limit: Option<(Duration, Duration)>) -> Result<(), CgroupError> {
        let value = match limit {
            Some((quota, period)) => format!("{} {}", quota.as_micros(), period.as_micros()),
            None => "max".to_owned(),
        };
        self.write("cpu.max", &value)
    }

    /// Sets how much unused quota it may accumulate (`cpu.max.burst`).
    pub(crate) fn set_burst(&self, burst: Duration) -> Result<(), CgroupError> {
        self.write("cpu.max.burst", &burst.as_micros().to_string())
    }

    /// Clamps the utilization of its tasks (`cpu.uclamp.min`, `cpu.uclamp.max`), in percent.
    pub(crate) fn set_uclamp(&self, min_pct: u32, max_pct: u32) -> Result<(), CgroupError> {
        self.write("cpu.uclamp.min", &min_pct.to_string())?;
        self.write("cpu.uclamp.max", &max_pct.to_string())
    }

    /// Freezes or thaws it (`cgroup.freeze`).
    pub(crate) fn set_frozen(&self, frozen: bool) -> Result<(), CgroupError> {
        self.write("cgroup.freeze", if frozen { "1" } else { "0" })
    }

    /// Whether all of its tasks are frozen (`frozen` in `cgroup.events`).
    pub(crate) fn is_frozen(&self) -> Result<bool, CgroupError> {
        let events = read(&self.path.join("cgroup.events"))?;
        Ok(events.lines().any(|line| line == "frozen 1"))
    }

    fn write(&self, file: &str, value: &str) -> Result<(), CgroupError> {
        write(&self.path.join(file), value)
    }

    fn remove_within(&mut self, limit: Duration) -> Result<(), CgroupError> {
        // Only once: after a failure, a second attempt in `drop` would wait again.
        self.removed = true;
        // Kernels before 5.14 have no such file; an empty cgroup needs none.
        let _ = self.write("cgroup.kill", "1");
        let start = Instant::now();
        loop {
            let source = match fs::remove_dir(&self.path) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                Err(error) => error,
            };
            // Busy: killed processes leave the cgroup only at the end of their exit.
            if source.kind() != ErrorKind::ResourceBusy || start.elapsed() >= limit {
                return Err(CgroupError::Remove {
                    name: self.name.clone(),
                    path: self.path.clone(),
                    seconds: limit.as_secs(),
                    source,
                    processes: self.processes(),
                });
            }
            sleep(Duration::from_millis(5));
        }
    }

    fn processes(&self) -> String {
        let list = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        let list: Vec<&str> = list.split_ascii_whitespace().take(16).collect();
        if list.is_empty() {
            "none".to_owned()
        } else {
            list.join(" ")
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if !self.removed {
            let _ = self.remove_within(Self::REMOVE_LIMIT);
        }
    }
}

fn read(path: &Path) -> Result<String, CgroupError> {
    fs::read_to_string(path).map_err(|source| CgroupError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Writes the whole value in one `write` call, as the kernel's files require.
fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(value.as_bytes()))
        .map_err(|source| CgroupError::Write {
            path: path.to_owned(),
            value: value.to_owned(),
            hint: match source.kind() {
                ErrorKind::NotFound => {
                    "; is the controller in cgroup.subtree_control of the parent?"
                }
                ErrorKind::PermissionDenied => "; run it as root",
                ErrorKind::ResourceBusy => {
                    "; a cgroup that enables controllers for its children may have no processes of its own"
                }
                _ => "",
            },
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> (tempfile::TempDir, CgroupTree) {
        let dir = tempfile::tempdir().unwrap();
        let tree = CgroupTree::new(dir.path());
        (dir, tree)
    }

    #[test]
    fn controllers_that_are_there_are_passed_on() {
        let (dir, tree) = tree();
        let error = tree.enable_controllers(&[]).unwrap_err().to_string();
        assert!(error.contains("cgroup.controllers"), "{error}");
        fs::write(dir.path().join("cgroup.controllers"), "cpu io memory\n").unwrap();
        let control = dir.path().join("cgroup.subtree_control");
        fs::write(&control, "cpu\n").unwrap();
        tree.enable_controllers(&["cpu"]).unwrap();
        // A plain file keeps the last write; the kernel's would add it.
        assert_eq!(fs::read_to_string(&control).unwrap(), "+memory");
        let error = tree.enable_controllers(&["cpuset"]).unwrap_err();
        assert!(error.to_string().contains("CONFIG_CPUSETS"), "{error}");
    }

    #[test]
    fn writes_values_and_names_the_file_that_refused() {
        let (dir, tree) = tree();
        let cgroup = tree.create("a").unwrap();
        let error = cgroup.set_weight(5).unwrap_err().to_string();
        assert!(error.contains("/a/cpu.weight: writing `5`"), "{error}");
        assert!(error.contains("cgroup.subtree_control"), "{error}");
        for file in ["cpuset.cpus", "cpuset.mems", "cgroup.procs", "memory.max"] {
            fs::write(cgroup.path().join(file), "").unwrap();
        }
        cgroup.set_cpus(&"0-2,5".parse().unwrap()).unwrap();
        cgroup.set_memory_node(1).unwrap();
        cgroup.set_memory_max(4096).unwrap();
        cgroup.attach(77).unwrap();
        let read = |file| fs::read_to_string(cgroup.path().join(file)).unwrap();
        assert_eq!(read("cpuset.cpus"), "0-2,5");
        assert_eq!(read("cpuset.mems"), "1");
        assert_eq!(read("cgroup.procs"), "77");
        assert_eq!(read("memory.max"), "4096");
        assert!(matches!(tree.create("a"), Err(CgroupError::Exists { .. })));
        drop(dir);
    }

    #[test]
    fn counts_out_of_memory_kills() {
        let (_dir, tree) = tree();
        let cgroup = tree.create("a").unwrap();
        assert_eq!(cgroup.oom_kills(), 0);
        let events = "low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\noom_group_kill 0\n";
        fs::write(cgroup.path().join("memory.events"), events).unwrap();
        assert_eq!(cgroup.oom_kills(), 1);
    }

    #[test]
    fn goes_away_when_dropped_and_says_so_when_it_cannot() {
        let (dir, tree) = tree();
        drop(tree.create("a").unwrap());
        assert!(!dir.path().join("a").exists());
        let kept = tree.create("b").unwrap();
        fs::write(kept.path().join("cgroup.procs"), "12\n13\n").unwrap();
        let error = kept.remove().unwrap_err().to_string();
        assert!(error.contains("processes in it: 12 13"), "{error}");
        let gone = tree.create("c").unwrap();
        fs::remove_dir(gone.path()).unwrap();
        gone.remove().unwrap();
    }
}
