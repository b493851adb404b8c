//! Runs a project's tests under nextest, on kernels that are ready.

mod budget;
mod command;
mod error;
mod event;
mod file;
mod foreground;
mod kernels;
mod options;
mod prepare;
mod report;
mod run;
mod saved;
mod schedulers;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use ktstr_core::env;
use ktstr_core::host::{Commit, Host};
use ktstr_kernel::ResolvedKernel;
use ktstr_vmm::{Backend, BackendSelection};

pub use budget::Budget;
pub use error::SessionError;
pub use event::{OutputStream, SessionEvent, SessionObserver, Silent};
pub use kernels::KernelRequest;
pub use options::SessionOptions;
pub use prepare::KernelChoice;
pub use report::SessionReport;
pub use saved::{SavedKernel, SavedSession, SavedSessionError};

use crate::coverage::Measurement;
use crate::nextest::build_selection;

/// One run of a project's tests.
///
/// Everything is decided before the first test starts: kernels are resolved, so that no test waits for a build and no
/// matrix stops halfway for a kernel that is missing. [`Session::prepare`] looks for all that is needed and resolves the
/// [kernels that were asked for](Session::kernel_request), [`Session::kernels`] takes what the caller resolved,
/// [`Session::run`] runs.
#[derive(Debug, Clone)]
pub struct Session {
    host: Host,
    dir: PathBuf,
    kernels: Vec<ResolvedKernel>,
    kernel_request: KernelRequest,
    release: bool,
    nextest_profile: Option<String>,
    scheduler_profile: Option<String>,
    no_skip_mode: bool,
    no_perf_mode: bool,
    backend: Option<Backend>,
    /// The backend that was asked for, by the caller and not by the environment.
    requested_backend: Option<Backend>,
    /// Whether the backend was tried, so that no test needs to.
    backend_works: bool,
    raw_verifier_log: bool,
    variables: Vec<(OsString, OsString)>,
    cpu_cap: Option<u32>,
    budget: Option<Duration>,
    nextest_args: Vec<OsString>,
    streams: NextestStreams,
    /// How coverage is measured, where it is.
    coverage: Option<Measurement>,
    /// The target directory, once cargo was asked; `None` inside where cargo knows no project.
    target: OnceLock<Option<PathBuf>>,
    /// The commit of the project, once git was asked.
    commit: OnceLock<Option<Commit>>,
}

/// Where nextest's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NextestStreams {
    /// To the observer, line by line: [`SessionEvent::NextestOutput`].
    #[default]
    Events,
    /// Where this process's goes: nextest sees the terminal, if there is one, and shows its progress bar.
    Inherited,
    /// As [`NextestStreams::Inherited`], and nextest is the program that a person works with: it stays in this process's
    /// group, so that a terminal's Ctrl-C reaches it, and a SIGINT, SIGQUIT or SIGTERM that is sent to this process is
    /// passed on to it.
    ///
    /// Signal handlers belong to the whole process. While nextest runs, these three signals do not end this process, and
    /// only one session can run so at a time: this is for a program whose one purpose is the session, such as
    /// `cargo ktstr test`.
    Foreground,
}

impl Session {
    /// A session of the cargo project that `dir` is in, with the kernel left to discovery.
    ///
    /// `host` has the environment that cargo, nextest and the tests get, and says where programs are looked for.
    pub fn new(host: Host, dir: impl Into<PathBuf>) -> Self {
        Self {
            host,
            dir: dir.into(),
            kernels: Vec::new(),
            kernel_request: KernelRequest::default(),
            release: false,
            nextest_profile: None,
            scheduler_profile: None,
            no_skip_mode: false,
            no_perf_mode: false,
            backend: None,
            requested_backend: None,
            backend_works: false,
            raw_verifier_log: false,
            variables: Vec::new(),
            cpu_cap: None,
            budget: None,
            nextest_args: Vec::new(),
            streams: NextestStreams::default(),
            coverage: None,
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

    /// What the kernels are resolved from, by [`Session::prepare`] or [`Session::resolve_kernels`], or were by the caller. A
    /// [replay](crate::replay) is told.
    #[must_use]
    pub fn kernel_request(mut self, request: KernelRequest) -> Self {
        self.kernel_request = request;
        self
    }

    /// Builds the tests in release mode, with its stricter thresholds.
    #[must_use]
    pub fn release(mut self, release: bool) -> Self {
        self.release = release;
        self
    }

    /// The profile of `.config/nextest.toml` to run the tests with.
    #[must_use]
    pub fn nextest_profile(mut self, profile: Option<String>) -> Self {
        self.nextest_profile = profile;
        self
    }

    /// The cargo profile that schedulers under test are built with; `release` by default.
    #[must_use]
    pub fn scheduler_profile(mut self, profile: Option<String>) -> Self {
        self.scheduler_profile = profile;
        self
    }

    /// Counts a skipped test as failed.
    #[must_use]
    pub fn no_skip_mode(mut self, on: bool) -> Self {
        self.no_skip_mode = on;
        self
    }

    /// The backend that machines run on. By default, [`Session::prepare`] takes `KTSTR_BACKEND` or what works
    /// here; without that, each test looks for itself.
    #[must_use]
    pub fn backend(mut self, backend: Option<Backend>) -> Self {
        self.backend = backend;
        self.requested_backend = backend;
        self.backend_works = false;
        self
    }

    /// The backend that was found to work on this host: no test tries it again.
    #[must_use]
    pub fn selection(mut self, selection: &BackendSelection) -> Self {
        self.backend = Some(selection.backend());
        self.backend_works = true;
        self
    }

    /// Runs performance-mode tests without performance mode.
    #[must_use]
    pub fn no_perf_mode(mut self, on: bool) -> Self {
        self.no_perf_mode = on;
        self
    }

    /// Has failed cells of the verifier sweep show the verifier's log as it is.
    pub(crate) fn raw_verifier_log(mut self, raw: bool) -> Self {
        self.raw_verifier_log = raw;
        self
    }

    /// Sets an environment variable of the tests.
    #[must_use]
    pub fn variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Runs each machine that is not in performance mode on `cap` host CPUs; by default, on one more than it has.
    #[must_use]
    pub fn cpu_cap(mut self, cap: Option<u32>) -> Self {
        self.cpu_cap = cap;
        self
    }

    /// How long the tests may take. Of those that would run, the ones run that cover most in that time, by what earlier
    /// sessions measured; test binaries that are not ktstr's run all of theirs. By default, [`Session::prepare`] takes
    /// `KTSTR_BUDGET_SECS`.
    #[must_use]
    pub fn budget(mut self, budget: Option<Duration>) -> Self {
        self.budget = budget;
        self
    }

    /// Where nextest's output goes.
    #[must_use]
    pub fn streams(mut self, streams: NextestStreams) -> Self {
        self.streams = streams;
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

    /// The same session of the project in `dir`, in the environment of `host`.
    pub(crate) fn moved(&self, host: Host, dir: PathBuf) -> Self {
        Self {
            host,
            dir,
            target: OnceLock::new(),
            commit: OnceLock::new(),
            ..self.clone()
        }
    }

    /// The same session in the environment of `host`.
    #[must_use]
    pub fn with_host(self, host: Host) -> Self {
        Self { host, ..self }
    }

    /// The same session, which measures coverage.
    pub(crate) fn measured(self, measurement: Measurement) -> Self {
        Self {
            coverage: Some(measurement),
            ..self
        }
    }

    /// How its tests are built and run, but for kernels and nextest's arguments: sessions of one manner measure the same.
    pub(crate) fn manner(&self) -> Vec<String> {
        vec![
            format!("release {}", self.release),
            format!("nextest-profile {:?}", self.nextest_profile),
            format!("profile {:?}", self.scheduler_profile),
            format!("no-perf-mode {}", self.no_perf_mode),
            format!("backend {:?}", self.backend),
            format!("cpu-cap {:?}", self.cpu_cap),
        ]
    }

    /// Whether the tests are built in release mode.
    pub(crate) fn is_release(&self) -> bool {
        self.release
    }

    /// The environment of what builds, and of test programs that the session asks something.
    pub(crate) fn build_host(&self) -> Host {
        let measurement = self.coverage.as_ref();
        measurement.map_or_else(|| self.host.clone(), |it| it.host(&self.host))
    }

    /// Whether no test runs in performance mode.
    pub(crate) fn is_without_perf_mode(&self) -> bool {
        self.no_perf_mode || env::is_on(&self.host, env::NO_PERF_MODE)
    }

    /// The environment and search path of its child processes.
    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn args(&self) -> &[OsString] {
        &self.nextest_args
    }

    pub(crate) fn resolved_kernels(&self) -> &[ResolvedKernel] {
        &self.kernels
    }
}
