//! The host's root directory as that of a shell: read by 9p, with an overlay whose writable layer is in memory.
//!
//! Only the shell's process changes into it. Init, the scheduler and what they need stay where they were packed.

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount_bind_recursive};

use super::INCLUDE_DIR;
use crate::protocol::HOST_ROOT_TAG;

/// Where the layers are, in a file system in memory of their own.
const PLACE: &str = "/.host-root";

/// What the guest's own file systems replace. The host's would show the host's processes and devices.
const OWN: &[&str] = &["/proc", "/sys", "/dev", "/run", "/tmp"];

/// The host's files do not change under the guest as far as it matters: what was read is kept. The size of messages is
/// the largest that virtio takes.
const OPTIONS: &str = "trans=virtio,version=9p2000.L,msize=512000,cache=loose";

/// Mounts it; returns where.
pub(super) fn mount() -> Result<PathBuf, String> {
    let [lower, upper, work, root] =
        ["lower", "upper", "work", "root"].map(|name| Path::new(PLACE).join(name));
    make_directory(Path::new(PLACE))?;
    mount_one(
        "tmpfs",
        Path::new(PLACE),
        "tmpfs",
        "mode=755",
        "CONFIG_TMPFS",
    )?;
    for dir in [&lower, &upper, &work, &root] {
        make_directory(dir)?;
    }
    let options = "CONFIG_NET_9P, CONFIG_NET_9P_VIRTIO and CONFIG_9P_FS";
    mount_flags(
        HOST_ROOT_TAG,
        &lower,
        "9p",
        MountFlags::RDONLY,
        OPTIONS,
        options,
    )?;
    let layers = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.display(),
        upper.display(),
        work.display()
    );
    mount_one("overlay", &root, "overlay", &layers, "CONFIG_OVERLAY_FS")?;
    for own in OWN {
        bind(Path::new(own), &root)?;
    }
    if Path::new(INCLUDE_DIR).is_dir() {
        bind(Path::new(INCLUDE_DIR), &root)?;
    }
    Ok(root)
}

/// Shows `own`, with all that is mounted below it, at the same path below `root`.
fn bind(own: &Path, root: &Path) -> Result<(), String> {
    let below = own.strip_prefix("/").unwrap_or(own);
    let place = root.join(below);
    // A link of the host's would lead to our own root.
    if place.symlink_metadata().is_ok_and(|it| !it.is_dir()) {
        fs::remove_file(&place).map_err(|error| format!("replacing {}: {error}", own.display()))?;
    }
    make_directory(&place)?;
    mount_bind_recursive(own, &place)
        .map_err(|errno| format!("showing {} below the host's root: {errno}", own.display()))
}

fn make_directory(path: &Path) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|error| format!("making {}: {error}", path.display()))
}

fn mount_one(source: &str, at: &Path, kind: &str, data: &str, config: &str) -> Result<(), String> {
    mount_flags(source, at, kind, MountFlags::empty(), data, config)
}

fn mount_flags(
    source: &str,
    at: &Path,
    kind: &str,
    flags: MountFlags,
    data: &str,
    config: &str,
) -> Result<(), String> {
    let data = CString::new(data).map_err(|error| error.to_string())?;
    rustix::mount::mount(source, at, kind, flags, data.as_c_str())
        .map_err(|errno| failed(kind, errno, config))
}

/// What is wrong with a mount; `config` are the kernel's options for the file system.
fn failed(kind: &str, errno: Errno, config: &str) -> String {
    let what = format!("the host's root: mounting {kind}: {errno}");
    match errno {
        // The kernel does not know the file system, or not how to reach it.
        Errno::NODEV | Errno::PROTONOSUPPORT => {
            format!("{what}; the kernel needs {config}: build it again, for which ktstr sets them")
        }
        _ => what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_the_file_systems_is_told_what_it_needs() {
        let told = failed("9p", Errno::NODEV, "CONFIG_NET_9P and CONFIG_9P_FS");
        assert!(
            told.contains("the kernel needs CONFIG_NET_9P and CONFIG_9P_FS"),
            "{told}"
        );
        let told = failed("overlay", Errno::NOMEM, "CONFIG_OVERLAY_FS");
        assert!(!told.contains("CONFIG"), "{told}");
    }
}
