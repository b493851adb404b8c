//! The environment variables ktstr reads, named once.
//!
//! Nothing here reads the environment: the edges (driver, dispatch) do, and pass values in.

use std::ffi::OsString;
use std::path::PathBuf;

/// Kernel identifier or image to test on.
pub const KERNEL: &str = "KTSTR_KERNEL";
/// Like [`KERNEL`], looked at first: for pinning the kernel of a test environment.
pub const TEST_KERNEL: &str = "KTSTR_TEST_KERNEL";
/// The resolved kernels of a session, `label=path` pairs joined by `;`.
pub const KERNEL_LIST: &str = "KTSTR_KERNEL_LIST";
/// What a session of `cargo ktstr` decided for all of its test processes, as JSON; nobody else sets it.
pub const SESSION: &str = "KTSTR_SESSION";
/// Program of the scheduler under test, instead of the cargo package that its declaration names.
pub const SCHEDULER: &str = "KTSTR_SCHEDULER";
/// Base configuration of kernel builds: `defconfig` or `lean`.
pub const BASE_CONFIG: &str = "KTSTR_BASE_CONFIG";
/// `0` has kernels built without ccache.
pub const CCACHE: &str = "KTSTR_CCACHE";
/// What carries machines: `kvm` or `qemu`; what works here where nothing is said.
pub const BACKEND: &str = "KTSTR_BACKEND";
/// Turns performance mode off when set and not empty.
pub const NO_PERF_MODE: &str = "KTSTR_NO_PERF_MODE";
/// How many host CPUs a machine may use when it does not run in performance mode.
pub const CPU_CAP: &str = "KTSTR_CPU_CAP";
/// Turns skips into failures when set and not empty.
pub const NO_SKIP_MODE: &str = "KTSTR_NO_SKIP_MODE";
/// Directory of the CPU, LLC and emulator locks.
pub const LOCK_DIR: &str = "KTSTR_LOCK_DIR";
/// Root of everything cached.
pub const CACHE_DIR: &str = "KTSTR_CACHE_DIR";
/// Where sidecars go, instead of `target/ktstr/{run}`.
pub const SIDECAR_DIR: &str = "KTSTR_SIDECAR_DIR";
/// Names the run that sidecars belong to, so that its processes keep each other's.
pub const RUN_EPOCH: &str = "KTSTR_RUN_EPOCH";
/// Base address of a mirror of kernel.org to fetch from.
pub const KERNEL_MIRROR: &str = "KTSTR_KERNEL_MIRROR";
/// Marks results as coming from CI when set and not empty.
pub const CI: &str = "KTSTR_CI";
/// `1` shows the guest console as it comes.
pub const VERBOSE: &str = "KTSTR_VERBOSE";

/// Where ktstr keeps what it can make again: `KTSTR_CACHE_DIR`, else `$XDG_CACHE_HOME/ktstr`, else
/// `~/.cache/ktstr`; `None` when the environment names none of them.
///
/// `lookup` reads one variable; pass `|name| std::env::var_os(name)`.
pub fn cache_root(lookup: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name: &str| {
        lookup(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set(CACHE_DIR)
        // The XDG base directory specification: relative values are to be ignored.
        .or_else(|| {
            set("XDG_CACHE_HOME")
                .filter(|dir| dir.is_absolute())
                .map(|dir| dir.join("ktstr"))
        })
        .or_else(|| set("HOME").map(|home| home.join(".cache/ktstr")))
}

/// Where CPU, LLC and emulator locks live: `KTSTR_LOCK_DIR`, else `/tmp`.
pub fn lock_dir(lookup: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    lookup(LOCK_DIR)
        .filter(|dir| !dir.is_empty())
        .map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
}

/// Whether a switch variable is on: set, and neither empty nor `0`.
pub fn is_on(lookup: impl Fn(&str) -> Option<OsString>, name: &str) -> bool {
    lookup(name).is_some_and(|value| !value.is_empty() && value != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
        |name| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.into())
        }
    }

    #[test]
    fn cache_root_falls_through() {
        let root = |pairs| cache_root(with(pairs)).map(|path| path.display().to_string());
        assert_eq!(
            root(&[("KTSTR_CACHE_DIR", "/c"), ("HOME", "/h")]).as_deref(),
            Some("/c")
        );
        assert_eq!(
            root(&[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")]).as_deref(),
            Some("/x/ktstr")
        );
        assert_eq!(
            root(&[("XDG_CACHE_HOME", "x"), ("HOME", "/h")]).as_deref(),
            Some("/h/.cache/ktstr")
        );
        assert_eq!(root(&[("KTSTR_CACHE_DIR", "")]), None);
    }

    #[test]
    fn switches_and_lock_dir() {
        assert!(is_on(with(&[("A", "1")]), "A"));
        assert!(!is_on(with(&[("A", "0")]), "A"));
        assert!(!is_on(with(&[]), "A"));
        assert_eq!(lock_dir(with(&[])), PathBuf::from("/tmp"));
    }
}
