//! What runs need to know of their surroundings: plain values.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ktstr_core::host::Host;
use ktstr_core::{Verdict, env};
use ktstr_vmm::Backend;

use super::build::Builds;
use super::coverage::Coverage;
use super::origin::RunOrigin;
use super::refusal::Refusal;
use crate::relocation::Relocation;

/// The surroundings of runs. Nothing here is looked up later: what is not said has the value of [`Settings::new`].
///
/// `Settings::read` fills it from the environment variables that `cargo ktstr` and users set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where QEMU and cargo are searched for, the environment that cargo gets, and what names a kernel for cases that
    /// name none: `KTSTR_TEST_KERNEL` or `KTSTR_KERNEL`, else the newest cached kernel, a tree nearby or the host's
    /// kernel is taken.
    pub host: Host,
    /// The program that becomes the guest's init. It calls [`enter_guest`](crate::dispatch::enter_guest) first of all,
    /// and the tests that are to run are linked into it: mostly it is the program that runs, too.
    pub binary: PathBuf,
    /// Directory that relative paths are below: include files of tests, [`Settings::scheduler`].
    pub dir: PathBuf,
    /// Root of everything cached. Without one every run fails that needs an initramfs or a cached kernel.
    pub cache_root: Option<PathBuf>,
    /// Where host CPUs are reserved. All who run machines on a host use the same directory.
    pub lock_dir: PathBuf,
    /// Where the processes of one run find what others of them have built.
    pub builds: Builds,
    /// Where the sources are now that tests and schedulers were compiled from.
    pub relocation: Relocation,
    /// The back end to run machines on; without one, what works on this host.
    pub backend: Option<Backend>,
    /// The back end that is known to work on this host: it is not tried again.
    pub tried_backend: Option<Backend>,
    /// Whether skips are failures.
    pub no_skip_mode: bool,
    /// Whether no test runs in performance mode.
    pub no_perf_mode: bool,
    /// How many host CPUs each machine gets that is not in performance mode.
    pub cpu_cap: Option<usize>,
    /// Whether the guest's kernel writes all of its messages to the console.
    pub verbose: bool,
    /// The scheduler's program, instead of building the cargo package that a test names.
    pub scheduler: Option<PathBuf>,
    /// Cargo profile that scheduler packages are built with.
    pub scheduler_profile: String,
    /// What is done where code coverage is measured: the test binary and schedulers are built for that. `None` elsewhere.
    pub coverage: Option<Coverage>,
    /// The directory that whoever runs tests keeps their records in, for their `post_vm` to know.
    pub records_dir: Option<PathBuf>,
    /// Variables for the body of a test and for the scheduler's program.
    pub guest_env: Vec<(String, String)>,
    /// What records say of where the run comes from.
    pub origin: RunOrigin,
    /// Words what a run needs and cannot have: a command names the options that help. Its own text is the default.
    pub words: fn(Refusal<'_>) -> String,
}

/// There is no root for caches.
#[derive(Debug, thiserror::Error)]
#[error("no cache directory: set KTSTR_CACHE_DIR, XDG_CACHE_HOME or HOME")]
pub struct NoCacheRoot;

impl Settings {
    /// Settings for runs on `host` whose guests are `binary`, for a project in `dir`.
    ///
    /// Caches and the reservations of host CPUs are where the environment of `host` [says](ktstr_core::env), the back end
    /// is the one that works, and what is known of schedulers' builds is below `dir/target/ktstr`; they have the profile
    /// `release`. No other variable means anything here: `Settings::read` looks at all that users may set.
    pub fn new(host: Host, binary: impl Into<PathBuf>, dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        let run_id = own_epoch();
        Self {
            binary: binary.into(),
            builds: Builds::new(dir.join("target").join("ktstr"), run_id.clone()),
            dir,
            cache_root: env::cache_root(&host),
            lock_dir: env::lock_dir(&host),
            relocation: Relocation::default(),
            backend: None,
            tried_backend: None,
            no_skip_mode: false,
            no_perf_mode: false,
            cpu_cap: None,
            verbose: false,
            scheduler: None,
            scheduler_profile: "release".to_owned(),
            coverage: None,
            records_dir: None,
            guest_env: Vec::new(),
            origin: RunOrigin::new(run_id),
            host,
            words: |refusal| refusal.to_string(),
        }
    }

    /// `verdict` with skips as these settings take them.
    pub(super) fn with_skip_mode(&self, verdict: Verdict) -> Verdict {
        if self.no_skip_mode {
            verdict.without_skips()
        } else {
            verdict
        }
    }

    /// Root of everything cached.
    pub fn cache(&self) -> Result<&Path, NoCacheRoot> {
        self.cache_root.as_deref().ok_or(NoCacheRoot)
    }
}

/// An epoch for a process that neither a session nor nextest started.
pub fn own_epoch() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    ktstr_core::record::new_epoch(since.as_nanos(), std::process::id())
}
