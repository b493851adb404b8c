//! The host of a run, for its record.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::CpuSet;

/// Facts about the host of a run that help to read its results. A field is absent if the host does not provide it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostContext {
    /// Release of the host kernel, as `uname -r` prints it.
    pub kernel_release: Option<String>,
    /// Machine architecture, such as `x86_64`.
    pub arch: String,
    /// CPU model name of `/proc/cpuinfo`.
    pub cpu_model: Option<String>,
    /// CPUs that are online.
    pub online_cpus: Option<CpuSet>,
    /// CPUs that this process may use: its affinity.
    pub allowed_cpus: Option<CpuSet>,
    /// NUMA nodes that are online.
    pub numa_nodes: Option<CpuSet>,
    /// Memory in MiB.
    pub memory_mib: Option<u64>,
    /// Free 2 MiB pages.
    pub free_hugepages: Option<u64>,
    /// Whether the host itself runs under a hypervisor.
    pub virtualized: Option<bool>,
}

impl HostContext {
    /// Reads `/proc` and `/sys` below `root`, which is `/` except in tests.
    pub fn read(root: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(root.join(path)).ok();
        let cpus = |path: &str| text(path)?.parse().ok();
        let cpuinfo = text("proc/cpuinfo");
        let status = text("proc/self/status");
        let meminfo = text("proc/meminfo");
        Self {
            kernel_release: text("proc/sys/kernel/osrelease")
                .map(|release| release.trim().to_owned()),
            arch: std::env::consts::ARCH.to_owned(),
            cpu_model: field(cpuinfo.as_deref(), "model name").map(str::to_owned),
            online_cpus: cpus("sys/devices/system/cpu/online"),
            allowed_cpus: field(status.as_deref(), "Cpus_allowed_list")
                .and_then(|list| list.parse().ok()),
            numa_nodes: cpus("sys/devices/system/node/online"),
            memory_mib: field(meminfo.as_deref(), "MemTotal")
                .and_then(|value| value.strip_suffix("kB")?.trim().parse::<u64>().ok())
                .map(|kib| kib / 1024),
            free_hugepages: text("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
                .and_then(|count| count.trim().parse().ok()),
            virtualized: field(cpuinfo.as_deref(), "flags").map(|flags| {
                flags
                    .split_ascii_whitespace()
                    .any(|flag| flag == "hypervisor")
            }),
        }
    }
}

/// The value of the first `name : value` line.
pub(crate) fn field<'t>(text: Option<&'t str>, name: &str) -> Option<&'t str> {
    text?.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_there_and_leaves_out_the_rest() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put(
            "proc/cpuinfo",
            "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu hypervisor\n",
        );
        put("proc/meminfo", "MemTotal:       2097152 kB\n");
        put("proc/self/status", "Name:\tx\nCpus_allowed_list:\t0-1\n");
        put("sys/devices/system/cpu/online", "0-3\n");
        let host = HostContext::read(root.path());
        assert_eq!(host.cpu_model.as_deref(), Some("Some CPU"));
        assert_eq!(host.memory_mib, Some(2048));
        assert_eq!(host.virtualized, Some(true));
        assert_eq!(host.allowed_cpus.unwrap().len(), 2);
        assert_eq!(host.online_cpus.unwrap().len(), 4);
        assert_eq!(host.numa_nodes, None);
        assert_eq!(host.free_hugepages, None);
    }
}
