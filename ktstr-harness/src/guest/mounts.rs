//! The file systems of the guest.

use std::ffi::CString;
use std::fs;
use std::io;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// A mount that the guest cannot do without failed.
#[derive(Debug, thiserror::Error)]
#[error("{what} {path}: {source}; the kernel needs {config}")]
pub(super) struct MountError {
    what: &'static str,
    path: String,
    source: io::Error,
    config: &'static str,
}

/// Source, directory, file system, data, the option that brings it, whether the guest needs it.
const MOUNTS: &[(&str, &str, &str, &str, &str, bool)] = &[
    ("proc", "/proc", "proc", "", "CONFIG_PROC_FS", true),
    ("sysfs", "/sys", "sysfs", "", "CONFIG_SYSFS", true),
    ("devtmpfs", "/dev", "devtmpfs", "", "CONFIG_DEVTMPFS", true),
    ("tmpfs", "/tmp", "tmpfs", "mode=1777", "CONFIG_TMPFS", true),
    ("tmpfs", "/run", "tmpfs", "mode=755", "CONFIG_TMPFS", true),
    (
        "cgroup2",
        super::CGROUP_ROOT,
        "cgroup2",
        "",
        "CONFIG_CGROUPS",
        true,
    ),
    (
        "devpts",
        "/dev/pts",
        "devpts",
        "",
        "CONFIG_UNIX98_PTYS",
        false,
    ),
    (
        "tmpfs",
        "/dev/shm",
        "tmpfs",
        "mode=1777",
        "CONFIG_TMPFS",
        false,
    ),
    (
        "debugfs",
        "/sys/kernel/debug",
        "debugfs",
        "",
        "CONFIG_DEBUG_FS",
        false,
    ),
    (
        "tracefs",
        "/sys/kernel/tracing",
        "tracefs",
        "",
        "CONFIG_FTRACE",
        false,
    ),
    ("bpf", "/sys/fs/bpf", "bpf", "", "CONFIG_BPF_SYSCALL", false),
];

/// Mounts everything; what is not essential may be missing from the kernel.
pub(super) fn all() -> Result<(), MountError> {
    for &(source, path, kind, data, config, essential) in MOUNTS {
        // Below /sys the directory is the kernel's to make.
        if !path.starts_with("/sys/") {
            let _ = fs::create_dir_all(path);
        }
        let data = CString::new(data).expect("the table holds no NUL");
        match mount(source, path, kind, MountFlags::empty(), data.as_c_str()) {
            // The kernel mounts devtmpfs by itself where it is configured so.
            Ok(()) | Err(Errno::BUSY) => {}
            Err(errno) if essential => {
                let (what, path) = ("mounting", path.to_owned());
                return Err(MountError {
                    what,
                    path,
                    source: errno.into(),
                    config,
                });
            }
            Err(_) => {}
        }
    }
    Ok(())
}

/// Calls `read` with the path of a private mount of the proc file system; `None` where it cannot be mounted.
pub(super) fn with_own_proc<T>(read: impl Fn(&str) -> Option<T>) -> Option<T> {
    const PLACE: &str = "/run/.ktstr-proc";
    fs::create_dir_all(PLACE).ok()?;
    mount("proc", PLACE, "proc", MountFlags::empty(), c"").ok()?;
    let found = read(PLACE);
    let _ = unmount(PLACE, UnmountFlags::DETACH);
    found
}

/// Hands every controller of the root cgroup to its children.
pub(super) fn enable_controllers(root: &Path) -> Result<(), MountError> {
    let error = |what, path: &Path, source| MountError {
        what,
        path: path.display().to_string(),
        source,
        config: "CONFIG_CPUSETS and CONFIG_CGROUP_SCHED",
    };
    let available = root.join("cgroup.controllers");
    let controllers =
        fs::read_to_string(&available).map_err(|source| error("reading", &available, source))?;
    let enable: Vec<String> = controllers
        .split_whitespace()
        .map(|name| format!("+{name}"))
        .collect();
    let control = root.join("cgroup.subtree_control");
    fs::write(&control, enable.join(" ")).map_err(|source| error("writing", &control, source))
}
