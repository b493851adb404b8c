//! Finds out what a host has for running tests, what is missing, and what to do about it.
//!
//! ```no_run
//! use ktstr_core::host::Host;
//! use ktstr_driver::doctor::{Request, State, examine};
//! use ktstr_driver::kernel_cache;
//!
//! let host = Host::of_this_process();
//! let report = examine(&Request {
//!     host: &host,
//!     cache: &kernel_cache(&host)?,
//!     dir: ".".as_ref(),
//!     is_root: false,
//! });
//! for check in report.checks.iter().filter(|check| check.state == State::Missing) {
//!     println!("{}: {}", check.name, check.detail);
//! }
//! # Ok::<(), ktstr_driver::SessionError>(())
//! ```

#[cfg(test)]
#[path = "../../../ktstr-kernel/tests/support/bz_image.rs"]
mod bz_image;
mod checks;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use ktstr_core::host::Host;
use ktstr_core::host::files::is_program;
use ktstr_kernel::{Cache, tools};
use serde::Serialize;

use crate::{process, programs};

/// What [`examine`] looks at.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Root directory, search path and environment, as tests would have them.
    pub host: &'a Host,
    /// The kernel cache.
    pub cache: &'a Cache,
    /// Directory that tests would be run from.
    pub dir: &'a Path,
    /// Whether packages can be installed without sudo.
    pub is_root: bool,
}

/// What a host has for running tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether tests can run here: no check is [`State::Missing`].
    pub ready: bool,
    /// The checks, the most important first.
    pub checks: Vec<Check>,
    /// How to install every missing package: a command on Debian and Ubuntu, the names elsewhere.
    pub install: Option<Fix>,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked, in a word or two, such as `build tools`.
    pub name: &'static str,
    /// Whether tests can run with it.
    pub state: State,
    /// What was found, in one line.
    pub detail: String,
    /// What to do, where something can be done.
    pub fix: Option<Fix>,
    #[serde(skip)]
    needs: Vec<Need>,
}

/// What to do about a [`Check`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fix {
    /// Run this command in a shell.
    Command(String),
    /// Do this by hand.
    Advice(String),
    /// Build a kernel from this source: a tarball of the distribution's, or where people keep a source tree.
    BuildKernel {
        /// A kernel identifier.
        source: String,
    },
    /// Remove the broken entries of the kernel cache.
    RemoveCorruptKernels,
}

/// What a [`Check`] found, and what that means for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Present and usable.
    Ok,
    /// Missing or broken, and tests cannot run without it.
    Missing,
    /// Tests run, but something else does not work.
    Limited,
    /// For information: tests do not need it.
    Info,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::Limited => "limited",
            Self::Info => "info",
        })
    }
}

/// A package to install: its name in words, and Debian's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Need {
    name: &'static str,
    debian: &'static str,
}

/// Looks at the host. An empty file is written to the cache and removed, to see whether that can be; nothing else is.
pub fn examine(request: &Request<'_>) -> Report {
    let build_tools = checks::build_tools(request);
    let kernel = checks::kernel(request, build_tools.state != State::Missing);
    // One of the two suffices: a kernel, or what it takes to build one.
    let build_tools = match kernel.state {
        State::Ok if build_tools.state == State::Missing => Check {
            state: State::Limited,
            ..build_tools
        },
        _ => build_tools,
    };
    let checks = vec![
        checks::qemu(request),
        checks::cargo(request),
        checks::nextest(request),
        checks::cache(request),
        build_tools,
        kernel,
        checks::cached_kernels(request),
        checks::kvm(request),
        checks::hugepages(request),
        checks::cgroup2(request),
        checks::clang(request),
        checks::coverage(request),
    ];
    let needed = checks.iter().filter(|check| check.state != State::Info);
    let mut needs: Vec<Need> = Vec::new();
    for need in needed.flat_map(|check| &check.needs) {
        if !needs.iter().any(|other| other.debian == need.debian) {
            needs.push(*need);
        }
    }
    Report {
        ready: checks.iter().all(|check| check.state != State::Missing),
        install: (!needs.is_empty()).then(|| request.install(&needs)),
        checks,
    }
}

/// The version of cargo-nextest, or one clause saying why there is none. Without cargo it is looked for where cargo
/// would.
fn nextest_version(request: &Request<'_>) -> Result<String, String> {
    let (program, what) = if let Ok(cargo) = request.cargo() {
        (cargo, "cargo nextest")
    } else {
        let none = || "no cargo-nextest in PATH; it runs the tests".to_owned();
        let found = crate::cargo::find_nextest(request.host);
        (found.ok_or_else(none)?, "cargo-nextest nextest")
    };
    let mut command = process::command(request.host, program);
    command.args(["nextest", "--version"]);
    programs::first_line(&mut command, programs::PATIENCE)
        .map_err(|why| format!("`{what} --version`: {why}"))
}

/// The newest kernel source tarball of the distribution, in `/usr/src` of `root` (Debian: `linux-source-*`).
pub fn distribution_source(root: &Path) -> Option<PathBuf> {
    let dir = fs::read_dir(root.join("usr/src")).ok()?;
    let tarball = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let version = name.strip_prefix("linux-source-")?;
        let read = [".tar.xz", ".tar.gz", ".tar.zst"];
        let version = read.iter().find_map(|end| version.strip_suffix(end))?;
        // 6.12 is newer than 6.9.
        let numbers: Vec<u32> = version.split('.').filter_map(|n| n.parse().ok()).collect();
        Some((numbers, entry.path()))
    };
    dir.filter_map(|entry| tarball(entry.ok()?))
        .max()
        .map(|(_, path)| path)
}

impl Request<'_> {
    /// Cargo, or one clause saying that there is none.
    fn cargo(&self) -> Result<PathBuf, String> {
        match self.host.var("CARGO").map(PathBuf::from) {
            Some(cargo) if cargo.components().count() > 1 => {
                let is_there = is_program(&cargo);
                let none = || format!("CARGO is {}, which is not a program", cargo.display());
                is_there.then(|| cargo.clone()).ok_or_else(none)
            }
            named => {
                let name = named.unwrap_or_else(|| "cargo".into());
                programs::find(&name.to_string_lossy(), &self.host.path)
                    .ok_or_else(|| format!("no {} in PATH", name.display()))
            }
        }
    }

    /// What installs `needs`.
    fn install(&self, needs: &[Need]) -> Fix {
        let names: Vec<&str> = needs.iter().map(|need| need.name).collect();
        self.install_by_names(&names.join(", "), needs.iter().map(|need| need.debian))
    }

    /// What installs a thing called `name`, which is Debian's `package`.
    fn install_by_name(&self, name: &str, package: &str) -> Fix {
        self.install_by_names(name, [package])
    }

    fn install_by_names<'p>(
        &self,
        names: &str,
        packages: impl IntoIterator<Item = &'p str>,
    ) -> Fix {
        if programs::find("apt-get", &self.host.path).is_none() {
            return Fix::Advice(format!("install by this system's package manager: {names}"));
        }
        let command = tools::install_command(packages);
        Fix::Command(if self.is_root {
            command
        } else {
            format!("sudo {command}")
        })
    }
}
