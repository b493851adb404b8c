//! What a test process reads from its environment, once.

use std::env::{current_dir, current_exe};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use ktstr_core::env;
use ktstr_core::host::{Commit, Host, HostContext};
use ktstr_core::record::RunSource;
use ktstr_vmm::ParseBackendError;

use super::SessionInfo;
use super::kernel_list::parse_kernel_list;
use crate::cases::NamedKernel;
use crate::relocation::{Relocation, target_dir_of};
use crate::remedy;
use crate::runner::build::Builds;
use crate::runner::{NextestRun, RunOrigin, Settings, TestTarget, own_epoch};

/// Variables that mean the same in the guest as on the host.
const GUEST_VARIABLES: &[&str] = &["RUST_BACKTRACE", "RUST_LOG"];

pub use env::{PROJECT_COMMIT, SCHEDULER_PROFILE, VERIFIER_RAW};

/// Variables of features that this version does not have: to be told, not to be passed over.
const NOT_BUILT: &[&str] = &[env::BUDGET_SECS];

/// The surroundings of a test process.
#[derive(Debug, Clone)]
pub(super) struct Process {
    /// For its runs.
    pub(super) settings: Settings,
    /// Kernels that a session resolved; empty leaves the choice to discovery.
    pub(super) kernels: Vec<NamedKernel>,
    /// What a session decided for all of its tests, where there is one.
    pub(super) session: Option<SessionInfo>,
    /// Where sidecars go when it is not below `runs_dir`.
    pub(super) sidecar_dir: Option<PathBuf>,
    /// `target/ktstr`.
    pub(super) runs_dir: PathBuf,
    /// Show the console of guests as it comes.
    pub(super) show_console: bool,
    /// Show the verifier's log as it is, with every iteration of its loops.
    pub(super) raw_verifier_log: bool,
    /// Nextest's name for this binary; none before nextest 0.9.138.
    pub(super) binary_id: Option<String>,
    /// Commit of the project under test, where a session told it; an empty text where there is none.
    told_commit: Option<String>,
}

/// An environment that cannot be used.
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
    /// A cap that is not a number of CPUs.
    #[error("{name}: `{value}` is not a number of CPUs; give 1 or more", name = env::CPU_CAP)]
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
    /// Reads the environment of `host`: what `cargo ktstr` and users set. Asks git for the commit of the project where no
    /// session told it. This process's program is the guests' init, and relative paths are below its directory.
    pub fn read(host: Host) -> Result<Self, SettingsError> {
        Ok(Process::read(host)?.with_commit().settings)
    }
}

impl Process {
    /// Reads the environment of `host`.
    pub(super) fn read(host: Host) -> Result<Self, SettingsError> {
        let is_set = |name: &&&str| host.non_empty_var(name).is_some();
        if let Some(name) = NOT_BUILT.iter().find(is_set) {
            return Err(SettingsError::NotBuilt { name });
        }
        env::check_paths(&host)?;
        let process = |what| move |source| SettingsError::Process { what, source };
        let binary = current_exe().map_err(process("path of this binary"))?;
        let dir = current_dir().map_err(process("current directory"))?;
        let session = text(&host, env::SESSION)
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
        let kernels = parse_kernel_list(&host.var(env::KERNEL_LIST).unwrap_or_default())
            .map_err(|why| SettingsError::KernelList { why })?;
        Ok(Self {
            kernels,
            sidecar_dir: env::path(&host, env::SIDECAR_DIR),
            show_console: env::is_on(&host, env::VERBOSE),
            raw_verifier_log: env::is_on(&host, VERIFIER_RAW),
            binary_id: text(&host, "NEXTEST_BINARY_ID"),
            told_commit: text(&host, PROJECT_COMMIT),
            settings: settings(host, binary, dir, &runs_dir, session.as_ref())?,
            session,
            runs_dir,
        })
    }

    /// For the test target `target`, where it is known: its sources may have moved since it was compiled.
    pub(super) fn of_target(mut self, target: TestTarget) -> Self {
        self.settings.relocation =
            Relocation::find(target.manifest_dir.as_deref(), &self.settings.host);
        if target != TestTarget::default() {
            self.settings.origin.target = target;
        }
        self
    }

    /// With the commit of the project under test. Asks git, which takes its time, unless a session did.
    pub(super) fn with_commit(mut self) -> Self {
        self.settings.origin.commit = match &self.told_commit {
            Some(told) => Commit::parse(told),
            None => Commit::of(&self.settings.host, &self.settings.dir),
        };
        self
    }
}

fn text(host: &Host, name: &str) -> Option<String> {
    host.var(name).and_then(|value| value.into_string().ok())
}

fn settings(
    host: Host,
    binary: PathBuf,
    dir: PathBuf,
    runs_dir: &Path,
    session: Option<&SessionInfo>,
) -> Result<Settings, SettingsError> {
    let text = |name: &str| text(&host, name);
    let is_on = |name: &str| env::is_on(&host, name);
    let run_id = session
        .map(|session| session.id.clone())
        .or_else(|| text("NEXTEST_RUN_ID"))
        .unwrap_or_else(own_epoch);
    let origin = RunOrigin {
        epoch: text(env::RUN_EPOCH)
            .or_else(|| text("NEXTEST_RUN_ID"))
            .unwrap_or_else(own_epoch),
        target: TestTarget::guess(&binary, text("CARGO_PKG_NAME")),
        nextest: NextestRun::read(&host),
        run_source: if is_on(env::CI) {
            RunSource::Ci
        } else {
            RunSource::Local
        },
        commit: None,
        host: HostContext::read(&host.root),
    };
    Ok(Settings {
        binary,
        dir,
        cache_root: env::cache_root(&host),
        lock_dir: env::lock_dir(&host),
        builds: Builds::new(runs_dir, run_id),
        relocation: Relocation::default(),
        backend: host
            .non_empty_var(env::BACKEND)
            .map(|name| name.to_string_lossy().parse())
            .transpose()?,
        tried_backend: session.and_then(|session| session.backend),
        no_skip_mode: is_on(env::NO_SKIP_MODE),
        no_perf_mode: is_on(env::NO_PERF_MODE),
        cpu_cap: cpu_cap(host.non_empty_var(env::CPU_CAP))?,
        verbose: is_on(env::VERBOSE),
        scheduler: env::path(&host, env::SCHEDULER),
        scheduler_profile: text(SCHEDULER_PROFILE)
            .filter(|profile| !profile.is_empty())
            .unwrap_or_else(|| "release".to_owned()),
        guest_env: GUEST_VARIABLES
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), text(name)?)))
            .collect(),
        origin,
        host,
        words: remedy::of_refusal,
    })
}

/// A number of CPUs, where the variable is set.
fn cpu_cap(value: Option<OsString>) -> Result<Option<usize>, SettingsError> {
    let Some(value) = value else {
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
