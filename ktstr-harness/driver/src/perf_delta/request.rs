//! A comparison as it is asked for: by records or by runs.

use std::path::PathBuf;

use ktstr_vmm::CancelToken;

use super::{Commits, NoiseAdjusted, NoiseEvent, PerfDelta, PerfDeltaError, Rules};
use crate::baseline::BaselineRequest;
use crate::{KernelChoice, Session, SessionEvent};

/// What to compare with `HEAD`, and how. The default compares the records of the project with those at the merge base with
/// `main`.
///
/// ```no_run
/// use ktstr_core::host::Host;
/// use ktstr_driver::Session;
/// use ktstr_driver::perf_delta::{NoiseEvent, PerfDeltaRequest, Rules};
/// use ktstr_vmm::CancelToken;
///
/// let request = PerfDeltaRequest { noise_adjust: Some(5), ..PerfDeltaRequest::default() };
/// let session = Session::new(Host::of_this_process(), ".");
/// let watch = |event: NoiseEvent<'_>| println!("{event:?}");
/// let report = request.run(session, &Rules::default(), &watch, &CancelToken::new()?)?;
/// if let Some(report) = report {
///     println!("{} regressions", report.regressions);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PerfDeltaRequest {
    /// The commit to compare with.
    pub baseline: BaselineRequest,
    /// Runs both commits so many times, see [`NoiseAdjusted`]; compares [records](Session::compare_records) where it is
    /// `None`.
    pub noise_adjust: Option<usize>,
    /// Runs only tests that the changes since the baseline affect; for runs.
    pub relevant: bool,
    /// Directory of the records, see [`Session::compare_records`]; for records.
    pub dir: Option<PathBuf>,
    /// Leaves out tests whose name does not contain this.
    pub name_contains: Option<String>,
}

impl PerfDeltaRequest {
    /// Compares the two commits, by `rules`. Runs are those of `session`, which is prepared with the kernels that were asked
    /// for: see [`KernelChoice::Requested`]. `None` where the changes affect no test, so that nothing runs.
    pub fn run(
        &self,
        session: Session,
        rules: &Rules,
        observer: &(dyn Fn(NoiseEvent<'_>) + Sync),
        cancel: &CancelToken,
    ) -> Result<Option<PerfDelta>, PerfDeltaError> {
        let commits = Commits::of(session.host(), session.dir(), &self.baseline)?;
        let Some(runs) = self.noise_adjust else {
            let (dir, narrow) = (self.dir.as_deref(), self.name_contains.as_deref());
            let report = session.compare_records(dir, &commits, narrow, rules)?;
            return Ok(Some(report));
        };
        let watch = |event: SessionEvent<'_>| observer(NoiseEvent::Session(event));
        let mut session = session.prepare(KernelChoice::Requested, &watch)?;
        if self.relevant {
            let affected = session.affected(&self.baseline, &watch, cancel)?;
            let Some(narrowed) = session.narrowed_to(&affected.tests) else {
                observer(NoiseEvent::NothingAffected);
                return Ok(None);
            };
            session = narrowed;
        }
        let report = NoiseAdjusted::new(session, commits, runs)
            .narrow(self.name_contains.clone())
            .run(rules, observer, cancel)?;
        Ok(Some(report))
    }
}
