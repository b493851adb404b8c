//! Running tests under nextest on kernels that are ready.

use std::env::var_os;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::SystemTime;

use ktstr_core::env;
use ktstr_core::record::Sidecar;
use ktstr_core::timestamp::rfc3339;
use ktstr_kernel::ResolvedKernel;
use ktstr_vmm::{Backend, Choice};

use super::builder::Builder;
use super::listing::{Listing, ListingError};
use super::options::{self, build_selection};
use super::summary::{RunSummary, Tally};
use super::{foreground, records};
use ktstr_core::host::Commit;
use ktstr_harness::cases::NamedKernel;
use ktstr_harness::dispatch::{PROJECT_COMMIT, SCHEDULER_PROFILE, SessionInfo, format_kernel_list};
use ktstr_harness::runner::build::Builds;
use ktstr_harness::runner::own_epoch;

/// Nextest's exit code where tests failed.
const TESTS_FAILED: u8 = 100;

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
    /// Whether the back end was tried, so that no test needs to.
    backend_works: bool,
    variables: Vec<(OsString, OsString)>,
    cpu_cap: Option<u32>,
    nextest_args: Vec<OsString>,
    /// The target directory, once cargo was asked: `None` in it where cargo knows no project.
    target: OnceLock<Option<PathBuf>>,
    /// The commit of the project, once git was asked.
    commit: OnceLock<Option<Commit>>,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionReport {
    /// Exit code for the caller's own process: nextest's, but for [`SessionReport::overruled`].
    pub exit_code: u8,
    /// Nextest ended well, and there is a record of this session that is a failure: so it is with nextest 0.9.143 and
    /// iterations of `--stress-count`. The exit code is that of failed tests then.
    pub overruled: bool,
    /// The signal that ended nextest, where it did not end by itself: tests that ran have no record then.
    pub signal: Option<i32>,
    /// What was written, by run directory.
    pub runs: Vec<RunSummary>,
}

impl SessionReport {
    /// How many cases ended how.
    pub fn tally(&self) -> Tally {
        Tally::of(self.runs.iter())
    }
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
    /// Nextest lists tests in another way.
    #[error(transparent)]
    Listing(#[from] ListingError),
    /// Records could not be written.
    #[error(
        "{dir}: {source}; records of the tests go there: free space, or set KTSTR_SIDECAR_DIR to a directory that can be written"
    )]
    Records {
        /// The directory for them.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The tests cannot be told where records go.
    #[error("{dir}: its name is not UTF-8; use a target directory whose name is")]
    RunsDir {
        /// The directory.
        dir: PathBuf,
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
            backend_works: false,
            variables: Vec::new(),
            cpu_cap: None,
            nextest_args: Vec::new(),
            target: OnceLock::new(),
            commit: OnceLock::new(),
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
        self.backend_works = false;
        self
    }

    /// What runs the machines, as it was found on this host: no test tries it again.
    #[must_use]
    pub fn choice(mut self, choice: &Choice) -> Self {
        self.backend = Some(choice.backend);
        self.backend_works = true;
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
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        if build_selection(&args) != build_selection(&self.nextest_args) {
            self.target = OnceLock::new();
        }
        self.nextest_args = args;
        self
    }

    /// Looks whether there are nextest, a cargo project and a place for records, without starting a build: worth knowing
    /// before kernels are built.
    pub fn check(&self) -> Result<(), SessionError> {
        if !nextest_is_there() {
            return Err(SessionError::NoNextest);
        }
        if !self.has_project() && !self.has_tests() {
            let dir = self.dir.clone();
            return Err(SessionError::NoProject { dir });
        }
        // Git is asked meanwhile: cargo and git take the time that matters before tests start.
        let runs_dir = thread::scope(|scope| {
            scope.spawn(|| self.commit());
            self.runs_dir_or_here()
        });
        let dir = sidecar_dir().unwrap_or(runs_dir);
        records::check(&dir).map_err(|source| SessionError::Records { dir, source })
    }

    /// Runs the tests; their output goes where this process's goes.
    ///
    /// Schedulers that are cargo packages are built before the first test starts, each once, and only those of tests
    /// that run.
    pub fn run(&self) -> Result<SessionReport, SessionError> {
        self.check()?;
        let cargo = cargo();
        let epoch = epoch();
        let begin = rfc3339(SystemTime::now());
        let runs_dir = self.runs_dir_or_here();
        let id = own_epoch();
        let builder = self.builder(&id, &runs_dir);
        let info = SessionInfo {
            builder: builder.as_ref().map(|builder| builder.name().to_owned()),
            backend: self.backend.filter(|_| self.backend_works),
            runs_dir: runs_dir.clone(),
            id,
        };
        let Ok(json) = info.to_json() else {
            return Err(SessionError::RunsDir { dir: runs_dir });
        };
        let mut list = self.list_command(&cargo, &epoch)?;
        list.args(options::listing(&self.nextest_args));
        let mut command = self.command(&cargo, "run", &epoch)?;
        command.args(&self.nextest_args).env(env::SESSION, json);
        let status = thread::scope(|scope| {
            if let Some(builder) = &builder {
                scope.spawn(|| builder.serve(&mut list));
            }
            let status = foreground::run(&mut command);
            if let Some(builder) = &builder {
                builder.stop();
            }
            status
        })
        .map_err(|source| cargo_error(&cargo, source))?;
        let runs = RunSummary::of_epoch(&runs_dir, sidecar_dir().as_deref(), &epoch);
        // Sessions may share an epoch; earlier ones said what they had to say.
        let is_new = |record: &Sidecar| record.started >= begin;
        let has_failed = runs.iter().flat_map(RunSummary::to_replay).any(is_new);
        let overruled = status.success() && has_failed;
        Ok(SessionReport {
            exit_code: if overruled {
                TESTS_FAILED
            } else {
                exit_code(status)
            },
            overruled,
            signal: status.signal(),
            runs,
        })
    }

    /// What builds schedulers; none where tests have to, each for itself.
    fn builder(&self, id: &str, runs_dir: &Path) -> Option<Builder> {
        let has = |option| options::value(&self.nextest_args, option).is_some();
        // Asking nextest would unpack the archive once more.
        if has("--archive-file") {
            return None;
        }
        let wanted = [
            "--locked",
            "--offline",
            "--frozen",
            "--config",
            "--target-dir",
        ];
        let args = options::for_cargo(&self.nextest_args, &wanted);
        Builder::new(format!("ktstr-{id}"), Builds::new(runs_dir, id), args).ok()
    }

    /// Every case that there is, ignored ones too, by the binaries that have them. Builds the tests where need be.
    pub fn list(&self) -> Result<Listing, SessionError> {
        self.check()?;
        let cargo = cargo();
        let mut command = self.list_command(&cargo, &epoch())?;
        command.args(["--run-ignored", "all"]);
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
        Ok(Listing::parse(&output.stdout)?)
    }

    fn list_command(&self, cargo: &OsStr, epoch: &str) -> Result<Command, SessionError> {
        let mut command = self.command(cargo, "list", epoch)?;
        command.args(["--message-format", "json"]);
        // An outer session has nothing to do with it.
        command.env_remove(env::SESSION);
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
        let commit = self.commit().map(ToString::to_string);
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

    fn commit(&self) -> Option<&Commit> {
        let commit = self.commit.get_or_init(|| Commit::of(&self.dir));
        commit.as_ref()
    }

    fn has_project(&self) -> bool {
        let dir = std::path::absolute(&self.dir).unwrap_or_else(|_| self.dir.clone());
        let found = dir.ancestors().any(|dir| dir.join("Cargo.toml").is_file());
        found || options::value(&self.nextest_args, "--manifest-path").is_some()
    }

    /// Whether there are tests without a project: those of an archive, or of a build that is described.
    fn has_tests(&self) -> bool {
        ["--archive-file", "--cargo-metadata"]
            .iter()
            .any(|option| options::value(&self.nextest_args, option).is_some())
    }

    /// Where the project's run directories are, `target/ktstr`: asks cargo, once. `None` where no project is.
    pub fn runs_dir(&self) -> Option<PathBuf> {
        let target = self.target.get_or_init(|| {
            let told = options::value(&self.nextest_args, "--target-dir");
            match told {
                Some(dir) => Some(absolute(&self.dir.join(dir))),
                None if self.has_project() => self.target_dir(),
                None => None,
            }
        });
        Some(target.as_ref()?.join("ktstr"))
    }

    /// Where run directories are that no project has: those of an archive, whose own place may not last.
    fn runs_dir_or_here(&self) -> PathBuf {
        self.runs_dir()
            .unwrap_or_else(|| absolute(&self.dir).join("target/ktstr"))
    }

    fn target_dir(&self) -> Option<PathBuf> {
        let mut command = Command::new(cargo());
        command.args(["metadata", "--no-deps", "--format-version", "1"]);
        let wanted = ["--manifest-path", "--config", "-Z"];
        command.args(options::for_cargo(&self.nextest_args, &wanted));
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

fn cargo() -> OsString {
    var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn absolute(dir: &Path) -> PathBuf {
    std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned())
}

/// Where records go instead, if somebody says so.
fn sidecar_dir() -> Option<PathBuf> {
    env::path(|name| var_os(name), env::SIDECAR_DIR)
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
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
