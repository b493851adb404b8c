//! What a test of a project will be judged by.

use ktstr_harness::dispatch::CaseThresholds;
use ktstr_vmm::CancelToken;

use crate::find_test::FindTestError;
use crate::{Session, SessionObserver};

impl Session {
    /// The merged thresholds of every case that `test` names: library defaults, its scheduler's, its own.
    ///
    /// `test` is a function, the path of one (`module::function`), or a case's name: `ktstr/…`, `host/…`, `gauntlet/…`,
    /// also with the label of a kernel behind it.
    ///
    /// Builds the tests first where need be; in release mode, if the session says so, default thresholds are stricter.
    /// The [arguments for nextest](Session::nextest_args) are those of `cargo nextest list` here.
    ///
    /// ```no_run
    /// use ktstr_core::host::Host;
    /// use ktstr_driver::{Session, Silent};
    /// use ktstr_vmm::CancelToken;
    ///
    /// let session = Session::new(Host::of_this_process(), ".").release(true);
    /// for case in session.thresholds("steady", &Silent, &CancelToken::new()?)? {
    ///     for row in case.thresholds.iter().filter(|row| row.limit.is_some()) {
    ///         println!("{}: {} {:?}", case.case, row.name, row.limit);
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn thresholds(
        &self,
        test: &str,
        observer: &dyn SessionObserver,
        cancel: &CancelToken,
    ) -> Result<Vec<CaseThresholds>, FindTestError> {
        let told = self.ask_about(test, observer, cancel)?;
        Ok(told.into_iter().map(|(_, case)| case).collect())
    }
}
