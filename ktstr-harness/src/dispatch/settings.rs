//! The settings of a test process, read from its environment once.

use std::env::{current_dir, current_exe};
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ktstr_core::env::{self, BudgetError};
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

/// The settings of a test process.
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
    /// Show the console of guests while they run.
    pub(super) show_console: bool,
    /// Show the verifier's log as it is, with every iteration of its loops.
    pub(super) raw_verifier_log: bool,
    /// How long the tests may take that this binary lists.
    pub(super) budget: Option<Duration>,
    /// How many tests run at a time.
    pub(super) test_threads: usize,
    /// Nextest's name for this binary; none before nextest 0.9.138.
    pub(super) binary_id: Option<String>,
}

/// An environment that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The list of kernels does not parse.
    #[error("{name}: {why}; unset it, or let `cargo ktstr test --kernel` set it", name = env::KERNEL_LIST)]
    KernelList {
        /// What is wrong with it.
        why: String,
    },
    /// A budget that is no time.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// A cap that is not a number of CPUs.
    #[error("{name}: `{value}` is not a number of CPUs; give 1 or more", name = env::CPU_CAP)]
    CpuCap {
        /// What it was set to.
        value: String,
    },
    /// The file in which the session tells what it decided cannot be read.
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
        env::check_paths(&host)?;
        let process = |what| move |source| SettingsError::Process { what, source };
        let binary = current_exe().map_err(process("path of this binary"))?;
        let dir = current_dir().map_err(process("current directory"))?;
        let session = host
            .non_empty_var(env::SESSION)
            .map(|path| SessionInfo::read(path.as_ref()))
            .transpose()
            .map_err(|why| SettingsError::Session { why })?;
        let runs_dir = match &session {
            Some(session) => session.runs_dir.clone(),
            None => target_dir_of(&binary)
                .unwrap_or_else(|| dir.join("target"))
                .join("ktstr"),
        };
        let kernels = match &session {
            Some(session) if !session.kernels.is_empty() => session.kernels.clone(),
            _ => parse_kernel_list(&host.var(env::KERNEL_LIST).unwrap_or_default())
                .map_err(|why| SettingsError::KernelList { why })?,
        };
        let raw_verifier_log = session.as_ref().is_some_and(|it| it.raw_verifier_log);
        Ok(Self {
            kernels,
            sidecar_dir: env::path(&host, env::SIDECAR_DIR),
            show_console: env::is_on(&host, env::VERBOSE),
            raw_verifier_log: raw_verifier_log || env::is_on(&host, env::VERIFIER_RAW),
            binary_id: text(&host, "NEXTEST_BINARY_ID"),
            budget: env::budget(&host)?,
            test_threads: test_threads(&host),
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
        self.settings.origin.commit = match &self.session {
            Some(session) => session.commit.clone(),
            None => Commit::of(&self.settings.host, &self.settings.dir),
        };
        self
    }
}

/// How many tests run at a time: nextest's own setting where it is a number, else one per CPU. Without nextest, one.
fn test_threads(host: &Host) -> usize {
    if host.var("NEXTEST").is_none() {
        return 1;
    }
    let set = text(host, "NEXTEST_TEST_THREADS").and_then(|number| number.parse().ok());
    let cpus = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    set.unwrap_or_else(cpus)
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
        epoch: session
            .map(|session| session.epoch.clone())
            .or_else(|| text(env::RUN_EPOCH))
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
        backend: match session.and_then(|session| session.backend) {
            Some(backend) => Some(backend),
            None => host
                .non_empty_var(env::BACKEND)
                .map(|name| name.to_string_lossy().parse())
                .transpose()?,
        },
        tried_backend: session.and_then(|it| it.backend.filter(|_| it.backend_works)),
        no_skip_mode: session.is_some_and(|it| it.no_skip_mode) || is_on(env::NO_SKIP_MODE),
        no_perf_mode: session.is_some_and(|it| it.no_perf_mode) || is_on(env::NO_PERF_MODE),
        cpu_cap: match session.and_then(|session| session.cpu_cap) {
            Some(cap) => usize::try_from(cap.get()).ok(),
            None => cpu_cap(host.non_empty_var(env::CPU_CAP))?,
        },
        verbose: is_on(env::VERBOSE),
        scheduler: env::path(&host, env::SCHEDULER),
        scheduler_profile: session
            .and_then(|session| session.scheduler_profile.clone())
            .or_else(|| text(env::SCHEDULER_PROFILE).filter(|profile| !profile.is_empty()))
            .unwrap_or_else(|| "release".to_owned()),
        coverage: session.and_then(|session| session.coverage.clone()),
        records_dir: None,
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

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use ktstr_vmm::Backend;

    use super::super::kernel_list::tests::kernel;
    use super::super::session::tests::least;
    use super::*;

    fn session() -> SessionInfo {
        SessionInfo {
            id: "1".to_owned(),
            epoch: "theirs".to_owned(),
            runs_dir: "/runs".into(),
            ..least()
        }
    }

    /// What a user sets by hand.
    fn host() -> Host {
        Host::default().with_vars([
            (env::KERNEL_LIST, "kernel_6_12=/k/6.12"),
            (env::BACKEND, "qemu"),
            (env::CPU_CAP, "2"),
            (env::RUN_EPOCH, "mine"),
            (env::SCHEDULER_PROFILE, "dev"),
            (env::NO_PERF_MODE, "1"),
            (env::VERIFIER_RAW, "1"),
        ])
    }

    /// What a test of that session reads.
    fn read(session: &SessionInfo, host: Host) -> Process {
        let dir = tempfile::tempdir().unwrap();
        let file = session.write(dir.path()).unwrap();
        Process::read(host.with_vars([(env::SESSION, file)])).unwrap()
    }

    #[test]
    fn variables_count_where_no_session_says_otherwise() {
        for process in [Process::read(host()).unwrap(), read(&session(), host())] {
            assert_eq!(process.kernels, [kernel("6.12")]);
            assert!(process.raw_verifier_log);
            let settings = process.settings;
            assert_eq!(settings.backend, Some(Backend::Qemu));
            assert_eq!((settings.tried_backend, settings.cpu_cap), (None, Some(2)));
            assert_eq!(settings.scheduler_profile, "dev");
            assert_eq!(
                (settings.no_perf_mode, settings.no_skip_mode),
                (true, false)
            );
        }
        assert_eq!(Process::read(host()).unwrap().settings.origin.epoch, "mine");
        let plain = Process::read(Host::default()).unwrap().settings;
        assert_eq!((plain.backend, plain.cpu_cap), (None, None));
        assert_eq!(plain.scheduler_profile, "release");
    }

    #[test]
    fn what_a_session_says_wins_over_variables() {
        let session = SessionInfo {
            kernels: vec![kernel("6.14"), kernel("6.15")],
            commit: Commit::parse("abc1234"),
            backend: Some(Backend::Kvm),
            backend_works: true,
            scheduler_profile: Some("release-lto".to_owned()),
            no_skip_mode: true,
            cpu_cap: NonZeroU32::new(3),
            ..session()
        };
        let process = read(&session, host()).with_commit();
        assert_eq!(process.kernels, session.kernels);
        assert_eq!(process.runs_dir, session.runs_dir);
        let settings = process.settings;
        assert_eq!(settings.backend, Some(Backend::Kvm));
        assert_eq!(
            (settings.tried_backend, settings.cpu_cap),
            (Some(Backend::Kvm), Some(3))
        );
        assert_eq!(settings.scheduler_profile, "release-lto");
        assert!(settings.no_perf_mode && settings.no_skip_mode);
        let origin = settings.origin;
        assert_eq!(
            (origin.epoch.as_str(), origin.commit),
            ("theirs", session.commit)
        );
    }

    #[test]
    fn a_file_that_is_not_a_sessions_is_refused_with_the_way_out() {
        let host = Host::default().with_vars([(env::SESSION, "/dev/null")]);
        let error = Process::read(host).unwrap_err().to_string();
        assert!(
            error.starts_with("KTSTR_SESSION: /dev/null: not a regular file; "),
            "{error}"
        );
        assert!(error.contains("unset it"), "{error}");
    }
}
