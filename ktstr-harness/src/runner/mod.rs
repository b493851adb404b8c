//! Runs one case: from a plan of a machine and a request to a result.
//!
//! In the order in which one meets them: [`Settings`] say what the surroundings are, a [`Case`] or
//! a [`Cell`] what is to run, [`Runner::run_case`] and [`Runner::run_cell`] run it. They tell a
//! [`RunObserver`] what happens as [`RunEvent`]s, stop when a [`CancelToken`] says so, and give a [`CaseResult`]: the
//! record, and the artifacts of a failure. Below them is [`Runner::run`], which boots the machine of a
//! [`MachinePlan`], hands its guest a [`GuestRequest`] and tells how it ended.
//!
//! [`Runner::run_shell`] runs a shell or a command in such a machine, with [`ShellStreams`] of the caller's.
//!
//! Nothing here reads the environment, prints, or writes records: that is for whoever calls, such as
//! [`dispatch`](crate::dispatch).
//!
//! ```no_run
//! use ktstr_core::host::Host;
//! use ktstr_harness::cases::Case;
//! use ktstr_harness::registry;
//! use ktstr_harness::runner::{RunEvent, Runner, Settings};
//! use ktstr_vmm::CancelToken;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // In the machine this program is init, and does not come back from here.
//! ktstr_harness::dispatch::enter_guest();
//!
//! let host = Host::of_this_process();
//! let settings = Settings::new(host, std::env::current_exe()?, ".");
//! let runner = Runner::new(settings);
//! for test in registry::tests()? {
//!     let case = Case::base(test, None);
//!     let mut observer = |event: RunEvent<'_>| {
//!         if let RunEvent::GuestReady { kernel_release } = event {
//!             println!("{} runs on {kernel_release}", case.name);
//!         }
//!     };
//!     let result = runner.run_case(&case, &mut observer, &CancelToken::new()?);
//!     println!("{}: {}", case.name, result.sidecar.verdict.outcome());
//! }
//! # Ok(())
//! # }
//! ```

pub mod build;
mod cancel;
mod case_run;
mod cell_run;
mod coverage;
mod diagnosis;
mod facts;
mod guest_session;
pub mod include;
pub mod judge;
mod kernel_verdict;
mod observer;
mod origin;
mod outcome;
mod payload_program;
mod placement;
mod plan;
mod post_vm;
mod prepare;
mod prepared_run;
mod program;
mod refusal;
pub mod render;
mod repro;
mod result;
mod scheduler_program;
mod settings;
mod shell;
mod timeline;
mod traced;
pub mod verifier_log;

use ktstr_core::Verdict;
use ktstr_vmm::CancelToken;

use crate::cases::{Case, Cell};
use crate::protocol::{GuestRequest, ShellSpec};
use facts::RunFacts;
use prepared_run::PreparedRun;

pub use crate::relocation::Relocation;
pub(crate) use case_run::{bare_metal_result, run_spec};
pub use coverage::{Coverage, profile};
pub use diagnosis::Diagnosis;
pub use observer::{RunEvent, RunObserver};
pub use origin::{NextestRun, RunOrigin, TestTarget};
pub use outcome::{GuestOutcome, MachineEnd, RunTimes};
pub(crate) use payload_program::{binary_of_program, include_files, package_of_program};
pub use plan::MachinePlan;
pub use post_vm::{FinishedRun, PostVm};
pub(crate) use prepare::discover_kernel;
pub use program::why_no_program;
pub use refusal::{Refusal, ReserveError};
pub use repro::AutoRepro;
pub use result::{ArtifactsError, CaseResult, FailureArtifacts, RunError};
pub(crate) use scheduler_program::{package, spec_of_test};
pub use settings::{NoCacheRoot, Settings, own_epoch};
pub use shell::{ShellControl, ShellEnd, ShellOutcome, ShellStreams};

/// Runs cases and machines. It keeps nothing between runs: several threads may run by one, each with its own machine.
#[derive(Debug, Clone)]
pub struct Runner {
    settings: Settings,
}

impl Runner {
    /// A runner with these surroundings.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// Its surroundings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Runs a test and judges it; a second time, with probes, where its scheduler died.
    ///
    /// Whatever goes wrong on the way is part of the result's verdict. A test that runs on the host
    /// ([`Variant::Host`](crate::cases::Variant::Host)) is a call of its body on this thread: it cannot be cancelled,
    /// and its output is not captured.
    pub fn run_case(
        &self,
        case: &Case,
        observer: &mut dyn RunObserver,
        cancel: &CancelToken,
    ) -> CaseResult {
        case_run::run(case, &self.settings, observer, cancel)
    }

    /// Runs a cell of the verifier sweep: loads its scheduler, and tells how far it came.
    pub fn run_cell(
        &self,
        cell: &Cell,
        observer: &mut dyn RunObserver,
        cancel: &CancelToken,
    ) -> CaseResult {
        cell_run::run(cell, &self.settings, observer, cancel)
    }

    /// Boots the machine of `plan`, has its guest do `request`, and tells how it ended. Nothing of the machine is left
    /// when it returns. A run that `cancel` ends is [`RunError::Cancelled`], whether its machine was up already or not.
    ///
    /// Tests, their second runs and cells of the verifier sweep are all such runs. This one judges nothing.
    pub fn run(
        &self,
        plan: &MachinePlan,
        request: &GuestRequest,
        observer: &mut dyn RunObserver,
        cancel: &CancelToken,
    ) -> Result<GuestOutcome, RunError> {
        if let GuestRequest::Shell(_) = request {
            let why = "a shell has streams; run it with Runner::run_shell";
            return Err(Verdict::fail("request", why).into());
        }
        let mut facts = RunFacts::default();
        PreparedRun::new(plan, &self.settings, &mut facts, observer, cancel)?
            .run(request, &mut facts, observer, cancel)
    }

    /// Boots the machine of `plan`, runs a shell or a command in it, and tells how it ended: as if it ran here, with these
    /// streams. Nothing of the machine is left when it returns.
    ///
    /// Output is written as it comes, all of it until the end of the shell, and no more is held than a reader leaves: what
    /// the guest may send is bounded, in both directions. It has no deadline but that of its boot; `cancel` ends it, as
    /// [`RunError::Cancelled`].
    pub fn run_shell(
        &self,
        plan: &MachinePlan,
        spec: ShellSpec,
        streams: ShellStreams<'_>,
        observer: &mut dyn RunObserver,
        cancel: &CancelToken,
    ) -> Result<ShellOutcome, RunError> {
        shell::run(plan, spec, streams, &self.settings, observer, cancel)
    }
}
