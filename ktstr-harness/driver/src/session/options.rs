//! How a session is to run, as plain data.

use std::ffi::OsString;

use ktstr_vmm::Backend;

use super::{KernelRequest, Session};

/// What a user decides about a session: what `cargo ktstr test` takes. The default decides nothing.
///
/// It is what a front end reads from its own options, what [`SavedSession`](crate::SavedSession) gives back of a session
/// that ran, and what a command that runs a session again is worded from.
///
/// ```
/// use ktstr_core::host::Host;
/// use ktstr_driver::{KernelRequest, Session, SessionOptions};
///
/// let options = SessionOptions {
///     kernels: KernelRequest {
///         identifiers: vec!["6.12..6.14".to_owned()],
///         ..KernelRequest::default()
///     },
///     nextest_args: vec!["-p".into(), "mine".into()],
///     ..SessionOptions::default()
/// };
/// let session = Session::new(Host::default(), ".").with_options(options.clone());
/// assert_eq!(session.options(), options);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionOptions {
    /// The kernels to test on, see [`Session::kernel_request`].
    pub kernels: KernelRequest,
    /// See [`Session::release`].
    pub release: bool,
    /// See [`Session::scheduler_profile`].
    pub scheduler_profile: Option<String>,
    /// See [`Session::nextest_profile`].
    pub nextest_profile: Option<String>,
    /// See [`Session::no_skip_mode`].
    pub no_skip_mode: bool,
    /// See [`Session::no_perf_mode`].
    pub no_perf_mode: bool,
    /// See [`Session::backend`].
    pub backend: Option<Backend>,
    /// See [`Session::cpu_cap`].
    pub cpu_cap: Option<u32>,
    /// See [`Session::nextest_args`].
    pub nextest_args: Vec<OsString>,
}

impl Session {
    /// The same session with all of these options.
    #[must_use]
    pub fn with_options(self, options: SessionOptions) -> Self {
        self.release(options.release)
            .nextest_profile(options.nextest_profile)
            .scheduler_profile(options.scheduler_profile)
            .no_skip_mode(options.no_skip_mode)
            .no_perf_mode(options.no_perf_mode)
            .cpu_cap(options.cpu_cap)
            .backend(options.backend)
            .nextest_args(options.nextest_args)
            .kernel_request(options.kernels)
    }

    /// Its options, as they were given: the backend is the one that was asked for, not one that was found.
    pub fn options(&self) -> SessionOptions {
        SessionOptions {
            kernels: self.kernel_request.clone(),
            release: self.release,
            scheduler_profile: self.scheduler_profile.clone(),
            nextest_profile: self.nextest_profile.clone(),
            no_skip_mode: self.no_skip_mode,
            no_perf_mode: self.no_perf_mode,
            backend: self.requested_backend,
            cpu_cap: self.cpu_cap,
            nextest_args: self.nextest_args.clone(),
        }
    }
}
