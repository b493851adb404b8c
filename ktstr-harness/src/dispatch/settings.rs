//! What a test process reads from its surroundings, once.

use std::env::{current_dir, current_exe, var_os};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ktstr_core::host::HostContext;
use ktstr_core::record::{RunSource, Sidecar};
use ktstr_core::timestamp::rfc3339;
use ktstr_core::{Verdict, env};

use ktstr_vmm::{Backend, ParseBackendError};

use super::SessionInfo;
use super::cases::{NamedKernel, parse_kernel_list};
use super::target::{NextestRun, TestTarget};
use crate::project::{Moved, target_dir_of};
use ktstr_core::host::Commit;

/// Variables that mean the same in the guest as on the host.
const GUEST_VARIABLES: &[&str] = &["RUST_BACKTRACE", "RUST_LOG"];

pub use env::{PROJECT_COMMIT, SCHEDULER_PROFILE, VERIFIER_RAW};

/// Variables of features that this version does not have: to be told, not to be passed over.
const NOT_BUILT: &[&str] = &[env::BUDGET_SECS];

/// Surroundings of a test process.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Kernels that a session resolved; empty leaves the choice to discovery.
    pub kernels: Vec<NamedKernel>,
    /// Skips are failures.
    pub no_skip_mode: bool,
    /// No test runs in performance mode.
    pub no_perf_mode: bool,
    /// How many host CPUs each machine gets that is not in performance mode.
    pub cpu_cap: Option<usize>,
    /// Show the guest console as it comes.
    pub verbose: bool,
    /// Root of everything cached; `None` where the environment names none. [`Settings::cache`] says so.
    pub cache_root: Option<PathBuf>,
    /// Where host capacity is reserved.
    pub lock_dir: PathBuf,
    /// Where sidecars go when it is not below `runs_dir`.
    pub sidecar_dir: Option<PathBuf>,
    /// `target/ktstr`.
    pub runs_dir: PathBuf,
    /// What a session decided for all of its tests, where there is one.
    pub session: Option<SessionInfo>,
    /// Names the run whose processes share what is built: a session's, nextest's, or this process alone.
    pub run_id: String,
    /// Where the sources are now, that this binary was built from.
    pub dirs: Moved,
    /// The run that sidecars belong to.
    pub epoch: String,
    /// The test target that this binary is.
    pub target: TestTarget,
    /// What nextest says of this process; `None` where it did not start it.
    pub nextest: Option<NextestRun>,
    /// Who asked for the run.
    pub run_source: RunSource,
    /// Commit of the project under test, where a session told it.
    pub told_commit: Option<String>,
    /// Search path for programs.
    pub path: OsString,
    /// This binary: it is also the guest's init.
    pub binary: PathBuf,
    /// Directory that relative include files are below.
    pub dir: PathBuf,
    /// The back end to run machines on; what works here where nothing is said.
    pub backend: Option<Backend>,
    /// The scheduler's program instead of a cargo package.
    pub scheduler: Option<PathBuf>,
    /// Cargo profile that scheduler packages are built with.
    pub scheduler_profile: String,
    /// Show the verifier's log as it is, with every iteration of its loops.
    pub raw_verifier_log: bool,
    /// Variables handed to the guest.
    pub guest_env: Vec<(String, String)>,
    /// The machine we are on.
    pub host: HostContext,
}

/// Surroundings that make no sense.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The session's list of kernels does not parse.
    #[error("{name}: {why}; unset it, or let `cargo ktstr test --kernel` set it", name = env::KERNEL_LIST)]
    KernelList {
        /// What is wrong with it.
        why: String,
    },
    /// A variable asks for something that is not there yet.
    #[error("{name} is set, and what it asks for is planned and not built yet; unset it")]
    NotBuilt {
        /// The variable.
        name: &'static str,
    },
    /// A cap that is no number of CPUs.
    #[error("{name}: `{value}` is no number of CPUs; give 1 or more", name = env::CPU_CAP)]
    CpuCap {
        /// What it was set to.
        value: String,
    },
    /// What the session told cannot be read.
    #[error("{name}: {why}; `cargo ktstr` sets it, unset it or use the `cargo ktstr` of this ktstr's version", name = env::SESSION)]
    Session {
        /// What is wrong with it.
        why: String,
    },
    /// No such back end.
    #[error("{name}: {0}", name = env::BACKEND)]
    Backend(#[from] ParseBackendError),
    /// A variable's `~` names no directory.
    #[error(transparent)]
    Path(#[from] env::PathError),
    /// No place for caches.
    #[error("no cache directory: set KTSTR_CACHE_DIR, XDG_CACHE_HOME or HOME")]
    NoCache,
    /// The process cannot find itself.
    #[error("{what}: {source}")]
    Process {
        /// What was looked for.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Settings {
    /// Reads the environment.
    pub fn read() -> Result<Self, SettingsError> {
        let text = |name: &str| var_os(name).and_then(|value| value.into_string().ok());
        let is_set = |name: &&&str| var_os(name).is_some_and(|value| !value.is_empty());
        if let Some(name) = NOT_BUILT.iter().find(is_set) {
            return Err(SettingsError::NotBuilt { name });
        }
        env::check_paths(|name| var_os(name))?;
        let process = |what| move |source| SettingsError::Process { what, source };
        let binary = current_exe().map_err(process("path of this binary"))?;
        let dir = current_dir().map_err(process("current directory"))?;
        let session = text(env::SESSION)
            .filter(|json| !json.is_empty())
            .map(|json| SessionInfo::parse(&json))
            .transpose()
            .map_err(|why| SettingsError::Session { why })?;
        let runs_dir = match &session {
            Some(session) => session.runs_dir.clone(),
            None => target_dir_of(&binary)
                .unwrap_or_else(|| dir.join("target"))
                .join("ktstr"),
        };
        let run_id = session.as_ref().map(|session| session.id.clone());
        let run_id = run_id
            .or_else(|| text("NEXTEST_RUN_ID"))
            .unwrap_or_else(own_epoch);
        let kernels = var_os(env::KERNEL_LIST).unwrap_or_default();
        let set = |name: &str| var_os(name).filter(|value| !value.is_empty());
        let is_on = |name| env::is_on(|name| var_os(name), name);
        Ok(Self {
            kernels: parse_kernel_list(&kernels)
                .map_err(|why| SettingsError::KernelList { why })?,
            no_skip_mode: is_on(env::NO_SKIP_MODE),
            no_perf_mode: is_on(env::NO_PERF_MODE),
            cpu_cap: cpu_cap(var_os(env::CPU_CAP))?,
            verbose: is_on(env::VERBOSE),
            cache_root: env::cache_root(|name| var_os(name)),
            lock_dir: env::lock_dir(|name| var_os(name)),
            sidecar_dir: env::path(|name| var_os(name), env::SIDECAR_DIR),
            runs_dir,
            session,
            run_id,
            dirs: Moved::default(),
            epoch: text(env::RUN_EPOCH)
                .or_else(|| text("NEXTEST_RUN_ID"))
                .unwrap_or_else(own_epoch),
            target: TestTarget::guess(&binary, text("CARGO_PKG_NAME")),
            nextest: NextestRun::read(text),
            run_source: if is_on(env::CI) {
                RunSource::Ci
            } else {
                RunSource::Local
            },
            told_commit: text(PROJECT_COMMIT),
            path: var_os("PATH").unwrap_or_default(),
            binary,
            dir,
            backend: set(env::BACKEND)
                .map(|name| name.to_string_lossy().parse())
                .transpose()?,
            scheduler: env::path(|name| var_os(name), env::SCHEDULER),
            scheduler_profile: text(SCHEDULER_PROFILE)
                .filter(|profile| !profile.is_empty())
                .unwrap_or_else(|| "release".to_owned()),
            raw_verifier_log: is_on(VERIFIER_RAW),
            guest_env: GUEST_VARIABLES
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), text(name)?)))
                .collect(),
            host: HostContext::read(Path::new("/")),
        })
    }

    /// The record of a case that began at `started` and ends now, with nothing but its verdict and these surroundings.
    pub(crate) fn record(
        &self,
        test: &str,
        case: &str,
        verdict: Verdict,
        started: SystemTime,
    ) -> Sidecar {
        let nextest = self.nextest.as_ref().filter(|run| run.is_of(case));
        Sidecar {
            epoch: self.epoch.clone(),
            package: self.target.package.clone(),
            target: self.target.name.clone(),
            source: self.target.source.clone(),
            binary_id: nextest.and_then(|run| run.binary_id.clone()),
            attempt: nextest.map_or(1, |run| run.attempt),
            stress: nextest.and_then(|run| run.stress),
            host: self.host.clone(),
            project_commit: self.commit().map(|commit| commit.to_string()),
            run_source: self.run_source,
            started: rfc3339(started),
            finished: rfc3339(SystemTime::now()),
            ..Sidecar::new(test, case, verdict)
        }
    }

    /// Root of everything cached.
    pub fn cache(&self) -> Result<&Path, SettingsError> {
        self.cache_root.as_deref().ok_or(SettingsError::NoCache)
    }

    /// With the commit known from here on, so that git is asked once.
    #[must_use]
    pub(crate) fn with_commit(mut self) -> Self {
        let commit = self.commit().map(|commit| commit.to_string());
        self.told_commit = Some(commit.unwrap_or_default());
        self
    }

    /// Commit of the project under test. Asks git, which takes its time, unless a session did.
    pub fn commit(&self) -> Option<Commit> {
        match &self.told_commit {
            Some(told) => Commit::parse(told),
            None => Commit::of(&self.dir),
        }
    }
}

/// A number of CPUs, where the variable is set.
fn cpu_cap(value: Option<OsString>) -> Result<Option<usize>, SettingsError> {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let cap = value.to_str().and_then(|text| text.parse().ok());
    match cap.filter(|cap| *cap > 0) {
        Some(cap) => Ok(Some(cap)),
        None => Err(SettingsError::CpuCap {
            value: value.to_string_lossy().into_owned(),
        }),
    }
}

/// An epoch for a process that no session and no nextest started.
pub fn own_epoch() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    ktstr_core::record::new_epoch(since.as_nanos(), std::process::id())
}
