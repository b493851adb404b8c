//! Which cases run again, under the names that they have now.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use ktstr_core::KernelLabel;
use ktstr_core::host::Host;
use ktstr_vmm::CancelToken;

use super::names::names;
use super::{Replay, ReplayCase, ReplayError, ReplayKernel, args, filter};
use crate::nextest::narrowed;
use crate::session::{KernelRequest, SavedSession};
use crate::{
    Binary, KernelChoice, Listing, Session, SessionError, SessionObserver, SessionOptions,
    SessionReport,
};

/// What a replay does otherwise than its session did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplayOptions {
    /// The kernels to run on; those that the session ran on where none are named.
    pub kernels: KernelRequest,
    /// The cargo profile of schedulers under test.
    pub scheduler_profile: Option<String>,
    /// The profile of `.config/nextest.toml`.
    pub nextest_profile: Option<String>,
    /// Arguments for nextest. An option among them replaces the session's of that name; filters narrow the replay.
    pub nextest_args: Vec<OsString>,
}

impl ReplayOptions {
    /// Whether the replay runs on other kernels than its session.
    pub fn has_kernels(&self) -> bool {
        !self.kernels.identifiers.is_empty()
    }
}

/// A case under the name that it has in a replay.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplayCaseName {
    /// Nextest's identifier of its test binary, where it is known.
    pub binary_id: Option<String>,
    /// Its full name.
    pub case: String,
}

/// A replay that can run.
#[derive(Debug)]
pub struct ReplayPlan {
    /// The cases that run.
    pub cases: Vec<ReplayCaseName>,
    /// The cases that do not exist any more.
    pub missing: Vec<ReplayCaseName>,
    /// The failures whose kernel is gone, with that.
    pub without_kernel: Vec<(ReplayCase, KernelLabel)>,
    /// Whether cases have other names than they had, as there are other kernels.
    pub is_renamed: bool,
    /// The nextest filter expression of the cases that run.
    pub filter: String,
    session: Session,
}

impl Replay {
    /// A session with the options of the one that is replayed and those of `options`, which win. It has no kernels yet: where
    /// `options` name some, [`KernelChoice::Requested`] has them resolved.
    ///
    /// `host` gets the variables that the other session had and it has not; not from an archive.
    pub fn session(&self, host: Host, dir: impl Into<PathBuf>, options: &ReplayOptions) -> Session {
        let now = &options.nextest_args;
        let Some(saved) = self.options() else {
            return Session::new(host, dir).with_options(SessionOptions {
                kernels: options.kernels.clone(),
                scheduler_profile: options.scheduler_profile.clone(),
                nextest_profile: options.nextest_profile.clone(),
                nextest_args: now.clone(),
                ..SessionOptions::default()
            });
        };
        let has_profile = args::has(now, "--profile");
        let without: &[&str] = match options.nextest_profile {
            Some(_) => &["--profile"],
            None => &[],
        };
        let saved_profile = saved.nextest_profile.clone().filter(|_| !has_profile);
        let builds_otherwise = ["--release", "--cargo-profile"]
            .iter()
            .any(|name| args::has(now, name));
        let scheduler_profile = options.scheduler_profile.clone();
        let scheduler_profile = scheduler_profile.or_else(|| saved.scheduler_profile.clone());
        let before = self.trusted_args(saved);
        Session::new(self.with_variables(host, saved), dir)
            .raw_verifier_log(saved.raw_verifier_log)
            .with_options(SessionOptions {
                kernels: requested(&options.kernels, saved),
                release: saved.release && !builds_otherwise,
                scheduler_profile,
                nextest_profile: options.nextest_profile.clone().or(saved_profile),
                nextest_args: args::merged(&before, now, without),
                ..saved.options()
            })
    }

    /// The same session with the kernels that `options` name, which are resolved, or with those of `kernels` that are there;
    /// prepared.
    pub fn prepare(
        &self,
        session: Session,
        options: &ReplayOptions,
        kernels: Vec<ReplayKernel>,
        observer: &dyn SessionObserver,
    ) -> Result<Session, SessionError> {
        if options.has_kernels() {
            return session.prepare(KernelChoice::Requested, observer);
        }
        let there = kernels.into_iter().filter_map(|it| it.kernel.ok());
        session
            .kernels(there.collect())
            .prepare(KernelChoice::Given, observer)
    }

    /// Arguments for nextest that the session had and a replay does not take over, as the records are not the project's
    /// own: those that name programs and files, or have cargo run some.
    pub fn refused_args(&self) -> Vec<OsString> {
        match self.options() {
            Some(saved) if !self.is_own => args::trusted(&saved.nextest_args).1,
            _ => Vec::new(),
        }
    }

    /// Variables that the session had, and `host` has not or has otherwise.
    pub fn other_variables(&self, host: &Host) -> Vec<(String, String)> {
        let saved = self.options().into_iter();
        let variables = saved.flat_map(|saved| &saved.variables);
        let is_other = |(name, value): &(&String, &String)| {
            host.var(name).as_deref() != Some(OsStr::new(value.as_str()))
        };
        let owned = |(name, value): (&String, &String)| (name.clone(), value.clone());
        variables.filter(is_other).map(owned).collect()
    }

    /// Whether the records are those of the project. Options of other places are taken over only where they are harmless.
    pub fn is_own(&self) -> bool {
        self.is_own
    }

    /// Looks which of the failures can run in `session`, which has its kernels; builds the tests where need be.
    ///
    /// A failure runs on the kernel that it ran on. With `other_kernels`, it runs on all kernels of the session.
    pub fn plan(
        &self,
        session: Session,
        other_kernels: bool,
        observer: &dyn SessionObserver,
        cancel: &CancelToken,
    ) -> Result<ReplayPlan, ReplayError> {
        let mut labels: Vec<&KernelLabel> = Vec::new();
        for kernel in session.resolved_kernels() {
            if !labels.contains(&&kernel.label) {
                labels.push(&kernel.label);
            }
        }
        let mut wanted = BTreeSet::new();
        let mut without_kernel = Vec::new();
        let mut is_renamed = false;
        for failure in &self.failures {
            let names = names(
                &failure.case,
                failure.kernel.as_ref(),
                &labels,
                other_kernels,
            );
            match names {
                Ok(names) => {
                    is_renamed |= names != [failure.case.as_str()];
                    wanted.extend(names.into_iter().map(|case| ReplayCaseName {
                        binary_id: failure.binary_id.clone(),
                        case,
                    }));
                }
                Err(label) => without_kernel.push((failure.clone(), label)),
            }
        }
        if wanted.is_empty() {
            let gone: BTreeSet<_> = without_kernel.into_iter().map(|(_, label)| label).collect();
            return Err(ReplayError::KernelsGone(gone.into_iter().collect()));
        }
        let listing = session.list(observer, cancel)?;
        let (cases, missing): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|case| case.is_in(&listing));
        let named = cases
            .iter()
            .map(|case| (case.binary_id.as_deref(), case.case.as_str()));
        let Some(filter) = filter::expression(named) else {
            let missing = missing.iter().map(ToString::to_string).collect();
            return Err(ReplayError::TestsGone(missing));
        };
        let args = exact(session.args(), &filter);
        Ok(ReplayPlan {
            session: session.nextest_args(args),
            cases,
            missing,
            without_kernel,
            is_renamed,
            filter,
        })
    }

    fn trusted_args(&self, saved: &SavedSession) -> Vec<OsString> {
        if self.is_own {
            saved.nextest_args.clone()
        } else {
            args::trusted(&saved.nextest_args).0
        }
    }

    fn with_variables(&self, host: Host, saved: &SavedSession) -> Host {
        if !self.is_own {
            return host;
        }
        let unset = saved.variables.iter();
        let unset = unset.filter(|(name, _)| host.non_empty_var(name).is_none());
        let unset: Vec<_> = unset
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        host.with_vars(unset)
    }
}

impl ReplayPlan {
    /// Runs the cases.
    pub fn run(
        &self,
        observer: &dyn SessionObserver,
        cancel: &CancelToken,
    ) -> Result<SessionReport, SessionError> {
        self.session.run(observer, cancel)
    }

    /// The arguments for nextest.
    pub fn nextest_args(&self) -> &[OsString] {
        self.session.args()
    }

    /// The options that the cases run with.
    pub fn options(&self) -> SessionOptions {
        self.session.options()
    }
}

impl ReplayCaseName {
    fn is_in(&self, listing: &Listing) -> bool {
        let has_it = |binary: &Binary| binary.cases.contains(&self.case);
        if let Some(id) = &self.binary_id {
            return listing.binaries.get(id).is_some_and(has_it);
        }
        listing.binaries.values().any(has_it)
    }
}

/// `p::t ktstr/a`, as nextest lists it.
impl std::fmt::Display for ReplayCaseName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(binary) = &self.binary_id {
            write!(f, "{binary} ")?;
        }
        f.write_str(&self.case)
    }
}

/// The kernels of `saved`, but for what `now` says otherwise.
fn requested(now: &KernelRequest, saved: &SavedSession) -> KernelRequest {
    let identifiers = if now.identifiers.is_empty() {
        &saved.identifiers
    } else {
        &now.identifiers
    };
    KernelRequest {
        identifiers: identifiers.clone(),
        base_config: now.base_config.or(saved.base_config),
        include_eol: now.include_eol || saved.include_eol,
    }
}

/// `args` for the cases that `filter` selects, whether a run leaves them out by default or not.
fn exact(args: &[OsString], filter: &str) -> Vec<OsString> {
    let mut exact: Vec<OsString> = Vec::new();
    if !args::has(args, "--run-ignored") {
        exact.extend(["--run-ignored", "all"].map(Into::into));
    }
    if !args::has(args, "--ignore-default-filter") {
        exact.push("--ignore-default-filter".into());
    }
    exact.extend(narrowed(args, filter));
    exact
}
