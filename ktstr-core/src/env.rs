//! The names of the environment variables that ktstr reads.
//!
//! Nothing here reads the environment: a [`Host`] has it, which the edges (command, dispatch) make of their process and
//! embedders of what they like. Paths come out absolute: a relative one is below [`Host::dir`].

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::Host;

/// Kernel identifier or image to test on.
pub const KERNEL: &str = "KTSTR_KERNEL";
/// Like [`KERNEL`], and takes precedence over it: pins the kernel of a test environment.
pub const TEST_KERNEL: &str = "KTSTR_TEST_KERNEL";
/// The kernels to test on, `label=path` pairs joined by `;`; in a path, a backslash goes before `;` and before a
/// backslash.
pub const KERNEL_LIST: &str = "KTSTR_KERNEL_LIST";
/// The file in which a session of `cargo ktstr` tells its test processes what it decided; nobody else sets it. What the
/// file says wins over the variables that users set. A program that a test starts, and that runs tests by settings of its
/// own, unsets it.
pub const SESSION: &str = "KTSTR_SESSION";
/// Program of the scheduler under test; replaces the cargo package that the declaration names.
pub const SCHEDULER: &str = "KTSTR_SCHEDULER";
/// Base configuration of kernel builds: `defconfig` or `lean`.
pub const BASE_CONFIG: &str = "KTSTR_BASE_CONFIG";
/// `0` disables ccache for kernel builds.
pub const CCACHE: &str = "KTSTR_CCACHE";
/// The backend of machines: `kvm` or `qemu`. If unset, one that works on this host is chosen.
pub const BACKEND: &str = "KTSTR_BACKEND";
/// Turns performance mode off; a switch, see [`is_on`].
pub const NO_PERF_MODE: &str = "KTSTR_NO_PERF_MODE";
/// How many host CPUs a machine may use when it does not run in performance mode.
pub const CPU_CAP: &str = "KTSTR_CPU_CAP";
/// Turns skips into failures; a switch, see [`is_on`].
pub const NO_SKIP_MODE: &str = "KTSTR_NO_SKIP_MODE";
/// Directory of the CPU, LLC and emulator locks.
pub const LOCK_DIR: &str = "KTSTR_LOCK_DIR";
/// Root directory of all caches.
pub const CACHE_DIR: &str = "KTSTR_CACHE_DIR";
/// Directory for sidecars; the default is `target/ktstr/{run}`.
pub const SIDECAR_DIR: &str = "KTSTR_SIDECAR_DIR";
/// Name of the run that sidecars belong to, so that the processes of one run keep each other's.
pub const RUN_EPOCH: &str = "KTSTR_RUN_EPOCH";
/// Base address of a mirror of kernel.org to fetch from.
pub const KERNEL_MIRROR: &str = "KTSTR_KERNEL_MIRROR";
/// Marks results as produced by CI; a switch, see [`is_on`].
pub const CI: &str = "KTSTR_CI";
/// Shows the guest console while the guest runs; a switch, see [`is_on`].
pub const VERBOSE: &str = "KTSTR_VERBOSE";
/// Cargo profile of schedulers under test, where no session says so by its `--profile`.
pub const SCHEDULER_PROFILE: &str = "KTSTR_SCHEDULER_PROFILE";
/// A failed cell of the verifier sweep shows the verifier's log as it is, as by a session's `--raw`; a switch, see
/// [`is_on`].
pub const VERIFIER_RAW: &str = "KTSTR_VERIFIER_RAW";
/// How many seconds the tests may take: those that cover most in that time are listed, see [`crate::budget`].
pub const BUDGET_SECS: &str = "KTSTR_BUDGET_SECS";
/// Set in the guest by the kernel command line: there, the test binary is init.
pub const GUEST: &str = "KTSTR_GUEST";

/// Variables whose value is a path. Sessions pass them on as [absolute paths](paths), as each test runs in
/// its own directory.
const PATHS: &[&str] = &[CACHE_DIR, LOCK_DIR, SIDECAR_DIR, SCHEDULER];

/// A variable with a `~` that cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}={}: `~` cannot be expanded ({why}); write the whole path", value.display())]
pub struct PathError {
    /// The variable.
    pub name: &'static str,
    /// What it is set to.
    pub value: PathBuf,
    /// Why not.
    pub why: &'static str,
}

/// A budget that is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: `{value}` is not a number of seconds; give 1 or more", name = BUDGET_SECS)]
pub struct BudgetError {
    /// What it is set to.
    pub value: String,
}

/// The time in `KTSTR_BUDGET_SECS`; `None` if it is unset or empty.
pub fn budget(host: &Host) -> Result<Option<Duration>, BudgetError> {
    let Some(value) = host.non_empty_var(BUDGET_SECS) else {
        return Ok(None);
    };
    // Four bytes of seconds are a hundred years.
    let seconds = value.to_str().and_then(|text| text.parse::<u32>().ok());
    match seconds {
        Some(seconds) if seconds > 0 => Ok(Some(Duration::from_secs(seconds.into()))),
        _ => Err(BudgetError {
            value: value.to_string_lossy().into_owned(),
        }),
    }
}

/// Checks every variable that holds a path. Call it before the other functions of this module, which take a `~` that
/// cannot be expanded literally.
pub fn check_paths(host: &Host) -> Result<(), PathError> {
    let checked = PATHS.iter().map(|name| read_path(host, name).map(drop));
    checked.collect()
}

/// The absolute values of all path variables that are set, for the environment of a child with another working
/// directory.
pub fn paths(host: &Host) -> Vec<(&'static str, PathBuf)> {
    let set = PATHS
        .iter()
        .filter_map(|name| Some((*name, path(host, name)?)));
    set.collect()
}

/// The absolute path in the variable `name`, with `~` and `~/` expanded; `None` if it is unset or empty.
pub fn path(host: &Host, name: &'static str) -> Option<PathBuf> {
    match read_path(host, name) {
        Ok(path) => path,
        Err(error) => Some(host.absolute(error.value)),
    }
}

fn read_path(host: &Host, name: &'static str) -> Result<Option<PathBuf>, PathError> {
    let Some(value) = host.non_empty_var(name) else {
        return Ok(None);
    };
    let Some(rest) = value.as_bytes().strip_prefix(b"~") else {
        return Ok(Some(host.absolute(value)));
    };
    let error = |why| PathError {
        name,
        value: value.clone().into(),
        why,
    };
    let below = match rest {
        [] => rest,
        [b'/', below @ ..] => below,
        _ => return Err(error("homes of other users are not looked up")),
    };
    let home = host
        .non_empty_var("HOME")
        .ok_or_else(|| error("HOME is not set"))?;
    let below = Path::new(OsStr::from_bytes(below));
    // With a second leading slash, `join` would replace the home directory.
    let below = below.strip_prefix("/").unwrap_or(below);
    Ok(Some(host.absolute(PathBuf::from(home).join(below))))
}

/// The cache directory, absolute: `KTSTR_CACHE_DIR`, else `$XDG_CACHE_HOME/ktstr`, else `~/.cache/ktstr`; `None` if the
/// environment sets none of them.
pub fn cache_root(host: &Host) -> Option<PathBuf> {
    let set = |name: &str| host.non_empty_var(name).map(PathBuf::from);
    path(host, CACHE_DIR)
        // The XDG base directory specification: relative values are to be ignored.
        .or_else(|| {
            set("XDG_CACHE_HOME")
                .filter(|dir| dir.is_absolute())
                .map(|dir| dir.join("ktstr"))
        })
        .or_else(|| set("HOME").map(|home| host.absolute(home.join(".cache/ktstr"))))
}

/// The directory of the CPU, LLC and emulator locks, absolute: `KTSTR_LOCK_DIR`, else `/tmp`.
pub fn lock_dir(host: &Host) -> PathBuf {
    path(host, LOCK_DIR).unwrap_or_else(|| PathBuf::from("/tmp"))
}

/// Whether the switch variable `name` is on: set to something other than the empty string and `0`.
pub fn is_on(host: &Host, name: &str) -> bool {
    host.non_empty_var(name).is_some_and(|value| value != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Host {
        Host {
            dir: std::env::current_dir().unwrap(),
            ..Host::default().with_vars(pairs.iter().copied())
        }
    }

    #[test]
    fn cache_root_falls_through() {
        let root = |pairs: &[(&str, &str)]| {
            cache_root(&with(pairs)).map(|path| path.display().to_string())
        };
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
    fn a_budget_is_a_number_of_seconds() {
        let of = |value: &str| budget(&with(&[("KTSTR_BUDGET_SECS", value)]));
        assert_eq!(budget(&with(&[])), Ok(None));
        assert_eq!(of(""), Ok(None));
        assert_eq!(of("90"), Ok(Some(Duration::from_secs(90))));
        for bad in ["0", "-1", "1.5", "ten", "1m", "99999999999"] {
            let error = of(bad).unwrap_err().to_string();
            let expected = format!("KTSTR_BUDGET_SECS: `{bad}` is not a number of seconds");
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    /// The names of variables that stand as constants in `text`.
    fn constants(text: &str) -> Vec<String> {
        let name = |line: &str| {
            let (declared, value) = line.split_once(": &str = \"")?;
            let name = value.split('"').next()?;
            let is_variable = declared.contains("const ") && name.starts_with("KTSTR_");
            is_variable.then(|| name.to_owned())
        };
        text.lines().filter_map(name).collect()
    }

    fn sources(dir: &std::path::Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }

    #[test]
    fn every_variable_is_named_here_and_once() {
        let names = constants(include_str!("env.rs"));
        assert!(names.len() > 20, "{names:?}");
        let workspace = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut files = Vec::new();
        for package in [
            "ktstr-core",
            "ktstr-kernel",
            "ktstr-vmm",
            "ktstr-harness",
            "cargo-ktstr",
        ] {
            sources(&workspace.join(package).join("src"), &mut files);
        }
        files.retain(|path| !path.ends_with("ktstr-core/src/env.rs"));
        for path in files {
            let others = constants(&std::fs::read_to_string(&path).unwrap());
            assert!(others.is_empty(), "{} names {others:?}", path.display());
        }
    }

    #[test]
    fn paths_are_absolute_whatever_was_written() {
        let here = std::env::current_dir().unwrap();
        let parent = here.parent().unwrap();
        for (value, expected) in [
            ("/c/../d", Some(PathBuf::from("/c/../d"))),
            ("c", Some(here.join("c"))),
            ("./c/.", Some(here.join("c"))),
            (".", Some(here.clone())),
            ("../c", Some(parent.join("c"))),
            (".././a/../c", Some(parent.join("a/../c"))),
            ("~", Some("/h".into())),
            ("~/c", Some("/h/c".into())),
            ("~//c", Some("/h/c".into())),
            ("./~/c", Some(here.join("~/c"))),
            ("", None),
        ] {
            for name in PATHS {
                let host = with(&[("HOME", "/h"), (name, value)]);
                assert_eq!(path(&host, name), expected, "{value}");
                let all: Vec<_> = expected.iter().map(|path| (*name, path.clone())).collect();
                assert_eq!(paths(&host), all, "{value}");
                assert_eq!(check_paths(&host), Ok(()), "{value}");
            }
        }
        assert_eq!(
            cache_root(&with(&[("KTSTR_CACHE_DIR", "../c")])),
            Some(parent.join("c"))
        );
        assert_eq!(
            cache_root(&with(&[("HOME", "h")])),
            Some(here.join("h/.cache/ktstr"))
        );
        assert_eq!(lock_dir(&with(&[("KTSTR_LOCK_DIR", "l")])), here.join("l"));
    }

    #[test]
    fn a_tilde_that_names_no_directory_is_refused_with_the_variable() {
        for (pairs, expected) in [
            (
                &[("KTSTR_LOCK_DIR", "~me/x"), ("HOME", "/h")][..],
                "KTSTR_LOCK_DIR=~me/x: `~` cannot be expanded (homes of other users are not looked up); write the whole path",
            ),
            (
                &[("KTSTR_CACHE_DIR", "~/x"), ("HOME", "")],
                "KTSTR_CACHE_DIR=~/x: `~` cannot be expanded (HOME is not set); write the whole path",
            ),
        ] {
            assert_eq!(check_paths(&with(pairs)).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn switches_and_lock_dir() {
        assert!(is_on(&with(&[("A", "1")]), "A"));
        assert!(!is_on(&with(&[("A", "0")]), "A"));
        assert!(!is_on(&with(&[("A", "")]), "A"));
        assert!(!is_on(&with(&[]), "A"));
        assert_eq!(lock_dir(&with(&[])), PathBuf::from("/tmp"));
    }
}
