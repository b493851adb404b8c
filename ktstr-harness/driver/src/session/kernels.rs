//! The kernels that a session was asked to run on.

use ktstr_kernel::{BaseConfig, Event, KernelSpec, Progress, ResolvedKernel};

use super::{Session, SessionEvent, SessionObserver};
use crate::kernels::{self, KernelOptions, KernelsError};

/// What was asked for where kernels were resolved: a session keeps it for a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelRequest {
    /// The identifiers as they were typed; none where the kernel was found.
    pub identifiers: Vec<String>,
    /// Configuration of a source that has none of its own.
    pub base_config: Option<BaseConfig>,
    /// Whether ranges include end-of-life series.
    pub include_eol: bool,
}

impl Session {
    /// The same session with the kernels of its [request](Session::kernel_request), which are downloaded and built where that
    /// is needed: see [`kernels::resolve`]. Where the request names none, the session stays as it is.
    ///
    /// `observer` gets [`SessionEvent::Kernel`] and [`SessionEvent::KernelReady`].
    pub fn resolve_kernels(self, observer: &dyn SessionObserver) -> Result<Self, KernelsError> {
        let request = &self.kernel_request;
        if request.identifiers.is_empty() {
            return Ok(self);
        }
        let options = KernelOptions {
            base_config: request.base_config,
            include_eol: request.include_eol,
            ..KernelOptions::default()
        };
        let mut ready = |spec: &KernelSpec, kernel: &ResolvedKernel| {
            observer.event(SessionEvent::KernelReady { spec, kernel });
        };
        let kernels = kernels::resolve(
            &self.host,
            &request.identifiers,
            options,
            &KernelProgress(observer),
            &mut ready,
        )?;
        Ok(self.kernels(kernels))
    }
}

/// Passes the events of kernels on as those of a session.
struct KernelProgress<'o>(&'o dyn SessionObserver);

impl Progress for KernelProgress<'_> {
    fn event(&self, event: Event<'_>) {
        self.0.event(SessionEvent::Kernel(event));
    }
}
