//! Running tests under nextest on kernels that are ready.

use std::env::var_os;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use ktstr_core::env;
use ktstr_kernel::ResolvedKernel;
use ktstr_vmm::Backend;

use super::foreground;
use super::listing::Listing;
use super::summary::{RunSummary, build_selection};
use crate::dispatch::{
    NamedKernel, PROJECT_COMMIT, SCHEDULER_PROFILE, format_kernel_list, own_epoch,
};
use crate::project::Commit;

/// One run of a project's tests.
///
/// Everything is decided before it starts: kernels are resolved, so no test waits for a build and no
/// matrix stops halfway for a kernel that is missing.
#[derive(Debug, Clone)]
pub struct Session {
    dir: PathBuf,
    kernels: Vec<ResolvedKernel>,
    release: bool,
    nextest_profile: Option<String>,
    scheduler_profile: Option<String>,
    no_skip_mode: bool,
    no_perf_mode: bool,
    backend: Option<Backend>,
    variables: Vec<(OsString, OsString)>,
    cpu_cap: Option<u32>,
    nextest_args: Vec<OsString>,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionReport {
    /// Exit code for the caller's own process: nextest's.
    pub exit_code: u8,
    /// What was written, by run directory.
    pub runs: Vec<RunSummary>,
}

/// A session that could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// Cargo could not be started.
    #[error("{program}: {source}; install Rust's cargo or set CARGO to it")]
    Cargo {
        /// What was run.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is no nextest.
    #[error("cargo nextest is not installed; run: cargo install --locked cargo-nextest")]
    NoNextest,
    /// Nextest could not list the tests.
    #[error("`cargo nextest list` ended with exit code {exit_code}; it said why")]
    List {
        /// Its exit code.
        exit_code: u8,
    },
    /// The directory belongs to no cargo project.
    #[error("{dir}: no Cargo.toml there or above; run this in a cargo project")]
    NoProject {
        /// The directory.
        dir: PathBuf,
    },
    /// Two kernels are called the same.
    #[error("--kernel: `{label}` names two kernels ({first} and {second}); give one of them")]
    SameLabel {
        /// Their label.
        label: String,
        /// Image of the one.
        first: PathBuf,
        /// Image of the other.
        second: PathBuf,
    },
}

impl Session {
    /// A session of the cargo project that `dir` is in, with the kernel left to discovery.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            kernels: Vec::new(),
            release: false,
            nextest_profile: None,
            scheduler_profile: None,
            no_skip_mode: false,
            no_perf_mode: false,
            backend: None,
            variables: Vec::new(),
            cpu_cap: None,
            nextest_args: Vec::new(),
        }
    }

    /// The kernels to test on; with two or more, each is a case of every test.
    #[must_use]
    pub fn kernels(mut self, kernels: Vec<ResolvedKernel>) -> Self {
        self.kernels = kernels;
        self
    }

    /// Builds the tests in release mode, with its stricter thresholds.
    #[must_use]
    pub fn release(mut self, release: bool) -> Self {
        self.release = release;
        self
    }

    /// The profile of `.config/nextest.toml` to run by.
    #[must_use]
    pub fn nextest_profile(mut self, profile: Option<String>) -> Self {
        self.nextest_profile = profile;
        self
    }

    /// The cargo profile that schedulers under test are built with; `release` where nothing is said.
    #[must_use]
    pub fn scheduler_profile(mut self, profile: Option<String>) -> Self {
        self.scheduler_profile = profile;
        self
    }

    /// Turns skips into failures.
    #[must_use]
    pub fn no_skip_mode(mut self, on: bool) -> Self {
        self.no_skip_mode = on;
        self
    }

    /// What runs the machines; each test looks for itself where nothing is said.
    #[must_use]
    pub fn backend(mut self, backend: Option<Backend>) -> Self {
        self.backend = backend;
        self
    }

    /// Turns performance mode off.
    #[must_use]
    pub fn no_perf_mode(mut self, on: bool) -> Self {
        self.no_perf_mode = on;
        self
    }

    /// Sets an environment variable of the tests.
    #[must_use]
    pub fn variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Gives each machine that is not in performance mode `cap` host CPUs.
    #[must_use]
    pub fn cpu_cap(mut self, cap: Option<u32>) -> Self {
        self.cpu_cap = cap;
        self
    }

    /// Arguments for `cargo nextest run` itself.
    #[must_use]
    pub fn nextest_args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.nextest_args = args.into_iter().map(Into::into).collect();
        self
    }

    /// Looks whether there is nextest and a cargo project, without starting anything: worth knowing before
    /// kernels are built.
    pub fn check(&self) -> Result<(), SessionError> {
        if !nextest_is_there() {
            return Err(SessionError::NoNextest);
        }
        if self.has_project() {
            Ok(())
        } else {
            let dir = self.dir.clone();
            Err(SessionError::NoProject { dir })
        }
    }

    /// Runs the tests; their output goes where this process's goes.
    pub fn run(&self) -> Result<SessionReport, SessionError> {
        self.check()?;
        let cargo = var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let epoch = epoch();
        let mut command = self.run_command(&cargo, &epoch)?;
        let status = foreground::run(&mut command).map_err(|source| cargo_error(&cargo, source))?;
        let only = env::path(|name| var_os(name), env::SIDECAR_DIR);
        // Asked for afterwards: it takes its time, and tests can already run meanwhile. A project that
        // cargo cannot read has no results; nextest has said why.
        let runs = self.target_dir(&cargo).map_or_else(Vec::new, |target| {
            RunSummary::of_epoch(&target.join("ktstr"), only.as_deref(), &epoch)
        });
        Ok(SessionReport {
            exit_code: exit_code(status),
            runs,
        })
    }

    /// Every case that there is, ignored ones too, by the binaries that have them. Builds the tests where need be.
    pub fn list(&self) -> Result<Listing, SessionError> {
        self.check()?;
        let cargo = var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = self.command(&cargo, "list", &epoch())?;
        command.args(["--message-format", "json", "--run-ignored", "all"]);
        command.args(build_selection(&self.nextest_args));
        let output = command
            .stderr(Stdio::inherit())
            .output()
            .map_err(|source| cargo_error(&cargo, source))?;
        if !output.status.success() {
            return Err(SessionError::List {
                exit_code: exit_code(output.status),
            });
        }
        Ok(Listing::parse(&output.stdout))
    }

    fn run_command(&self, cargo: &OsStr, epoch: &str) -> Result<Command, SessionError> {
        let mut command = self.command(cargo, "run", epoch)?;
        command.args(&self.nextest_args);
        Ok(command)
    }

    /// Nextest's `verb` with all that is the session's, but its arguments.
    fn command(&self, cargo: &OsStr, verb: &str, epoch: &str) -> Result<Command, SessionError> {
        let mut command = Command::new(cargo);
        command
            .args(["nextest", verb])
            .current_dir(&self.dir)
            .stdin(Stdio::null());
        if self.release {
            command.arg("--release");
        }
        if let Some(profile) = &self.nextest_profile {
            command.args(["--profile", profile]);
        }
        // Each test runs in the directory of its package.
        command.envs(env::paths(|name| var_os(name)));
        command.env(env::RUN_EPOCH, epoch);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let commit = Commit::of(&self.dir).map(|commit| commit.to_string());
        command.env(PROJECT_COMMIT, commit.unwrap_or_default());
        if let Some(backend) = self.backend {
            command.env(env::BACKEND, backend.name());
        }
        if let Some(profile) = &self.scheduler_profile {
            command.env(SCHEDULER_PROFILE, profile);
        }
        if let Some(cap) = self.cpu_cap {
            command.env(env::CPU_CAP, cap.to_string());
        }
        let switches = [
            (self.no_skip_mode, env::NO_SKIP_MODE),
            (self.no_perf_mode, env::NO_PERF_MODE),
        ];
        for (_, name) in switches.iter().filter(|(on, _)| *on) {
            command.env(name, "1");
        }
        let named = self.named_kernels()?;
        if let [first, ..] = named.as_slice() {
            command.env(env::KERNEL, &first.image);
            command.env(env::KERNEL_LIST, format_kernel_list(&named));
        }
        Ok(command)
    }

    fn named_kernels(&self) -> Result<Vec<NamedKernel>, SessionError> {
        let mut named: Vec<NamedKernel> = Vec::new();
        for kernel in &self.kernels {
            let new = NamedKernel {
                label: kernel.label.clone(),
                image: kernel.image.clone(),
            };
            match named.iter().find(|other| other.label == new.label) {
                // Asked for twice, by whatever names.
                Some(other) if other.image == new.image => {}
                Some(other) => {
                    let (first, second) = (other.image.clone(), new.image);
                    return Err(SessionError::SameLabel {
                        label: new.label.to_string(),
                        first,
                        second,
                    });
                }
                None => named.push(new),
            }
        }
        Ok(named)
    }

    /// The value of `--manifest-path` among the arguments for nextest.
    fn manifest_path(&self) -> Option<OsString> {
        let mut args = self.nextest_args.iter();
        while let Some(arg) = args.next() {
            let text = arg.to_str()?;
            if text == "--manifest-path" {
                return args.next().cloned();
            }
            if let Some(path) = text.strip_prefix("--manifest-path=") {
                return Some(path.into());
            }
        }
        None
    }

    fn has_project(&self) -> bool {
        let dir = std::path::absolute(&self.dir).unwrap_or_else(|_| self.dir.clone());
        let found = dir.ancestors().any(|dir| dir.join("Cargo.toml").is_file());
        found || self.manifest_path().is_some()
    }

    /// Where the project's run directories are, `target/ktstr`: asks cargo. `None` where no project is.
    pub fn runs_dir(&self) -> Option<PathBuf> {
        let cargo = var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let target = self.has_project().then(|| self.target_dir(&cargo))?;
        Some(target?.join("ktstr"))
    }

    fn target_dir(&self, cargo: &OsStr) -> Option<PathBuf> {
        let mut command = Command::new(cargo);
        command.args(["metadata", "--no-deps", "--format-version", "1"]);
        if let Some(path) = self.manifest_path() {
            command.arg("--manifest-path").arg(path);
        }
        let output = command
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .output()
            .ok()?;
        let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        metadata
            .get("target_directory")?
            .as_str()
            .map(PathBuf::from)
    }
}

/// Whether cargo would find nextest: in `PATH`, or where `cargo install` puts programs.
fn nextest_is_there() -> bool {
    let path = var_os("PATH").unwrap_or_default();
    let cargo_home = var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(var_os("HOME")?).join(".cargo")));
    let installed = cargo_home.map(|home| home.join("bin"));
    std::env::split_paths(&path)
        .chain(installed)
        .any(|dir| dir.join("cargo-nextest").is_file())
}

/// The epoch that the session's processes share: an outer one's where there is one.
fn epoch() -> String {
    let outer = var_os(env::RUN_EPOCH).and_then(|value| value.into_string().ok());
    outer
        .filter(|epoch| !epoch.is_empty())
        .unwrap_or_else(own_epoch)
}

fn cargo_error(cargo: &OsStr, source: io::Error) -> SessionError {
    SessionError::Cargo {
        program: Path::new(cargo).display().to_string(),
        source,
    }
}

/// The exit code of a process, as a shell gives it: 128 and the signal for one that was killed.
fn exit_code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
