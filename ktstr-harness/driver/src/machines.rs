//! The machine of a test of a project.

use std::path::PathBuf;

use ktstr_harness::dispatch::CaseMachine;
use ktstr_vmm::CancelToken;

use crate::find_test::FindTestError;
use crate::{Session, SessionObserver};

/// A case of a test, and what has it.
#[derive(Debug, Clone, PartialEq)]
pub struct TestMachine {
    /// The test binary.
    pub binary: PathBuf,
    /// The directory that nextest runs it in.
    pub dir: PathBuf,
    /// The case, and its machine.
    pub machine: CaseMachine,
}

impl Session {
    /// The machine of every case that `test` names, as [`Session::thresholds`] finds them: shape, memory, kernel
    /// arguments, include files, scheduler. Several test binaries may have a test of one name.
    ///
    /// Builds the tests first where need be, but no scheduler.
    ///
    /// ```no_run
    /// use ktstr_core::host::Host;
    /// use ktstr_driver::{Session, Silent};
    /// use ktstr_vmm::CancelToken;
    ///
    /// let session = Session::new(Host::of_this_process(), ".");
    /// for found in session.machines("steady", &Silent, &CancelToken::new()?)? {
    ///     println!("{}: {:?}", found.machine.case, found.machine.topology);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn machines(
        &self,
        test: &str,
        observer: &dyn SessionObserver,
        cancel: &CancelToken,
    ) -> Result<Vec<TestMachine>, FindTestError> {
        let told = self.ask_about(test, observer, cancel)?;
        let found = told.into_iter().map(|(binary, machine)| TestMachine {
            binary: binary.path,
            dir: binary.dir,
            machine,
        });
        Ok(found.collect())
    }
}
