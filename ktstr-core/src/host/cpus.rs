//! The host's CPUs: which of them share a core, a last-level cache or a NUMA node, and which this process may use.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::context::field;
use crate::{CpuSet, ParseCpuSetError};

/// The host's CPUs as sysfs describes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCpus {
    /// CPUs that are online and in this process's affinity.
    pub allowed: CpuSet,
    /// Every last-level cache of the host, ordered by its lowest CPU; together they cover all online CPUs.
    pub llcs: Vec<HostLlc>,
    /// NUMA nodes with their online CPUs; empty if the kernel was built without NUMA.
    pub nodes: BTreeMap<u32, CpuSet>,
    /// Whether sysfs describes the caches. If not, each socket counts as one last-level cache.
    pub caches_known: bool,
}

/// A last-level cache, and the CPUs that share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostLlc {
    /// Its index among the host's caches; the same for every process, whatever its affinity.
    pub number: u32,
    /// The CPUs of each core, ordered by its lowest CPU.
    pub cores: Vec<CpuSet>,
}

/// The host's CPUs could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostCpusError {
    /// A file that every kernel provides is missing.
    #[error("{path}: {source}; see that /proc and /sys are mounted")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file does not hold a list of CPUs.
    #[error("{path}: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ParseCpuSetError,
    },
    /// The affinity is missing, or it allows no CPU.
    #[error("{path}: no CPU that is online is in `Cpus_allowed_list`; see taskset -p")]
    NoneAllowed {
        /// The file.
        path: PathBuf,
    },
}

impl HostLlc {
    /// All of its CPUs.
    pub fn cpus(&self) -> CpuSet {
        self.cores.iter().flat_map(CpuSet::iter).collect()
    }
}

impl HostCpus {
    /// Reads sysfs and the affinity of this process below `root`, which is `/` except in tests.
    ///
    /// Files: `cpu*/cache/index*` and `cpu*/topology` (kernel: `Documentation/ABI/testing/sysfs-devices-system-cpu`),
    /// `node*/cpulist`.
    pub fn read(root: &Path) -> Result<Self, HostCpusError> {
        let cpu_dir = root.join("sys/devices/system/cpu");
        let online = cpu_list(&cpu_dir.join("online"))?;
        let status_path = root.join("proc/self/status");
        let status = read(&status_path)?;
        let allowed = match field(Some(&status), "Cpus_allowed_list") {
            Some(list) => list.parse().map_err(|source| HostCpusError::Parse {
                path: status_path.clone(),
                source,
            })?,
            None => CpuSet::new(),
        };
        let allowed = online.intersection(&allowed);
        if allowed.is_empty() {
            return Err(HostCpusError::NoneAllowed { path: status_path });
        }
        let mut caches_known = true;
        let llcs = grouped(&online, |cpu| {
            let dir = cpu_dir.join(format!("cpu{cpu}"));
            let cache = last_level(&dir.join("cache"));
            caches_known &= cache.is_some();
            cache.or_else(|| first_list(&dir, &["package_cpus_list", "core_siblings_list"]))
        });
        let core_of = |cpu| {
            let dir = cpu_dir.join(format!("cpu{cpu}"));
            first_list(&dir, &["core_cpus_list", "thread_siblings_list"])
                .or_else(|| Some(CpuSet::from_iter([cpu])))
        };
        let llcs = (0..)
            .zip(llcs)
            .map(|(number, cpus)| HostLlc {
                number,
                cores: grouped(&cpus, core_of),
            })
            .collect();
        Ok(Self {
            allowed,
            llcs,
            nodes: nodes(&root.join("sys/devices/system/node"), &online)?,
            caches_known,
        })
    }

    /// The last-level cache that `cpu` is on.
    pub fn llc_of(&self, cpu: u32) -> Option<&HostLlc> {
        let on = |llc: &&HostLlc| llc.cores.iter().any(|core| core.contains(cpu));
        self.llcs.iter().find(on)
    }

    /// The NUMA nodes that `cpus` are on; empty if the host has none.
    pub fn nodes_of(&self, cpus: &CpuSet) -> BTreeSet<u32> {
        let nodes = self.nodes.iter();
        nodes
            .filter(|(_, of_node)| !of_node.is_disjoint(cpus))
            .map(|(node, _)| *node)
            .collect()
    }
}

/// Groups `cpus` by `group_of`, ordered by the lowest CPU of each group. Even if the files contradict each other, each
/// CPU is in one group: that of the lowest CPU that claims it. CPUs without a group form one of their own.
fn grouped(cpus: &CpuSet, mut group_of: impl FnMut(u32) -> Option<CpuSet>) -> Vec<CpuSet> {
    let mut left = cpus.clone();
    let mut groups = Vec::new();
    let mut untold = CpuSet::new();
    for cpu in cpus.iter() {
        if !left.contains(cpu) {
            continue;
        }
        let Some(group) = group_of(cpu) else {
            untold.insert(cpu);
            continue;
        };
        let mut group = group.intersection(&left);
        group.insert(cpu);
        left = left.difference(&group);
        groups.push(group);
    }
    let untold = untold.intersection(&left);
    if !untold.is_empty() {
        groups.push(untold);
    }
    groups.sort_by_key(CpuSet::first);
    groups
}

/// The CPUs that share the last-level cache of a CPU, from its `cache` directory.
fn last_level(caches: &Path) -> Option<CpuSet> {
    let indices = fs::read_dir(caches).ok()?.flatten();
    let cache = |dir: &Path| -> Option<(u32, CpuSet)> {
        let text = |name: &str| fs::read_to_string(dir.join(name)).ok();
        if text("type")?.trim() == "Instruction" {
            return None;
        }
        let level = text("level")?.trim().parse().ok()?;
        Some((level, text("shared_cpu_list")?.parse().ok()?))
    };
    indices
        .filter_map(|entry| cache(&entry.path()))
        .max_by_key(|(level, _)| *level)
        .map(|(_, cpus)| cpus)
}

/// The first of the files `names` in a CPU's `topology` directory that holds a CPU list.
fn first_list(cpu: &Path, names: &[&str]) -> Option<CpuSet> {
    names.iter().find_map(|name| {
        let text = fs::read_to_string(cpu.join("topology").join(name)).ok()?;
        text.parse().ok().filter(|list: &CpuSet| !list.is_empty())
    })
}

fn nodes(dir: &Path, online: &CpuSet) -> Result<BTreeMap<u32, CpuSet>, HostCpusError> {
    let path = dir.join("online");
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    // A list of nodes has the format of a list of CPUs.
    cpu_list(&path)?
        .iter()
        .map(|node| {
            let cpus = cpu_list(&dir.join(format!("node{node}/cpulist")))?;
            Ok((node, cpus.intersection(online)))
        })
        .collect()
}

fn read(path: &Path) -> Result<String, HostCpusError> {
    fs::read_to_string(path).map_err(|source| HostCpusError::Read {
        path: path.to_owned(),
        source,
    })
}

fn cpu_list(path: &Path) -> Result<CpuSet, HostCpusError> {
    read(path)?.parse().map_err(|source| HostCpusError::Parse {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn set(text: &str) -> CpuSet {
        text.parse().unwrap()
    }

    /// Two sockets with two caches each, two cores of two threads on each; siblings are 8 apart.
    fn big(root: &Path) {
        put(root, "sys/devices/system/cpu/online", "0-15\n");
        put(
            root,
            "proc/self/status",
            "Name:\tx\nCpus_allowed_list:\t0-11,40\n",
        );
        put(root, "sys/devices/system/node/online", "0-1\n");
        put(root, "sys/devices/system/node/node0/cpulist", "0-3,8-11\n");
        put(root, "sys/devices/system/node/node1/cpulist", "4-7,12-15\n");
        for cpu in 0..16_u32 {
            let dir = format!("sys/devices/system/cpu/cpu{cpu}");
            let low = (cpu % 8) / 2 * 2;
            let (core, llc) = (
                cpu % 8,
                format!("{low}-{},{}-{}", low + 1, low + 8, low + 9),
            );
            let own = format!("{core},{}\n", core + 8);
            put(root, &format!("{dir}/topology/core_cpus_list"), &own);
            for (index, kind, level, shared) in [
                (0, "Data", 1, &own),
                (1, "Instruction", 9, &own),
                (2, "Unified", 2, &own),
                (3, "Unified", 3, &llc),
            ] {
                let dir = format!("{dir}/cache/index{index}");
                put(root, &format!("{dir}/type"), kind);
                put(root, &format!("{dir}/level"), &format!("{level}\n"));
                put(root, &format!("{dir}/shared_cpu_list"), shared);
            }
        }
    }

    #[test]
    fn caches_cores_and_nodes_are_read() {
        let root = tempfile::tempdir().unwrap();
        big(root.path());
        let host = HostCpus::read(root.path()).unwrap();
        assert_eq!(host.allowed, set("0-11"));
        assert!(host.caches_known);
        assert_eq!(host.llcs.len(), 4);
        assert_eq!(host.llcs[1].number, 1);
        assert_eq!(host.llcs[1].cores, [set("2,10"), set("3,11")]);
        assert_eq!(host.llc_of(11).unwrap().number, 1);
        assert!(host.llc_of(16).is_none());
        assert_eq!(host.nodes_of(&set("1,2")), BTreeSet::from([0]));
        assert_eq!(host.nodes_of(&set("1,12")), BTreeSet::from([0, 1]));
    }

    #[test]
    fn without_caches_sockets_count_and_it_is_said() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "sys/devices/system/cpu/online", "0-3");
        put(root.path(), "proc/self/status", "Cpus_allowed_list: 0-3\n");
        let host = HostCpus::read(root.path()).unwrap();
        assert!(!host.caches_known);
        assert_eq!(host.llcs.len(), 1);
        assert_eq!(host.llcs[0].cpus(), set("0-3"));
        assert_eq!(host.llcs[0].cores.len(), 4);
        assert!(host.nodes.is_empty());
        for cpu in 0..4 {
            let path = format!("sys/devices/system/cpu/cpu{cpu}/topology/package_cpus_list");
            put(root.path(), &path, if cpu < 2 { "0-1" } else { "2-3" });
        }
        let host = HostCpus::read(root.path()).unwrap();
        assert!(!host.caches_known);
        assert_eq!(host.llcs[1].cpus(), set("2-3"));
    }

    #[test]
    fn what_is_missing_or_nonsense_is_named() {
        let root = tempfile::tempdir().unwrap();
        let error = || HostCpus::read(root.path()).unwrap_err().to_string();
        assert!(error().contains("cpu/online"), "{}", error());
        put(root.path(), "sys/devices/system/cpu/online", "0-");
        put(root.path(), "proc/self/status", "Name: x\n");
        assert!(error().contains("expected a number"), "{}", error());
        put(root.path(), "sys/devices/system/cpu/online", "0-1");
        assert!(error().contains("taskset"), "{}", error());
        put(root.path(), "proc/self/status", "Cpus_allowed_list: 5\n");
        assert!(error().contains("taskset"), "{}", error());
        put(root.path(), "proc/self/status", "Cpus_allowed_list: 1\n");
        put(root.path(), "sys/devices/system/node/online", "0-1");
        assert!(error().contains("node0/cpulist"), "{}", error());
    }

    #[test]
    fn this_host_is_read() {
        let host = HostCpus::read(Path::new("/")).unwrap();
        let ours = std::thread::available_parallelism().unwrap().get();
        // A quota of CPU time may allow fewer.
        assert!(host.allowed.len() >= ours, "{host:?}");
        assert!(
            host.allowed.iter().all(|cpu| host.llc_of(cpu).is_some()),
            "{host:?}"
        );
    }

    proptest! {
        /// Even if files contradict each other, every CPU is in exactly one group.
        #[test]
        fn groups_are_a_partition(
            cpus in proptest::collection::btree_set(0..24_u32, 1..24),
            claims in proptest::collection::vec(
                proptest::option::of(proptest::collection::btree_set(0..32_u32, 0..8)), 24),
        ) {
            let cpus: CpuSet = cpus.into_iter().collect();
            let group_of = |cpu: u32| Some(claims[cpu as usize].clone()?.into_iter().collect());
            let groups = grouped(&cpus, group_of);
            let mut all: Vec<u32> = groups.iter().flat_map(CpuSet::iter).collect();
            all.sort_unstable();
            prop_assert_eq!(all, cpus.iter().collect::<Vec<_>>());
            prop_assert!(groups.is_sorted_by_key(CpuSet::first));
        }
    }
}
