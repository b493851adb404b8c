//! Runs the tests of a project: what `cargo ktstr` does, as calls that take plain values and return plain values or typed
//! errors.
//!
//! ```no_run
//! use ktstr_core::host::Host;
//! use ktstr_driver::{KernelChoice, Session, SessionEvent};
//! use ktstr_vmm::CancelToken;
//!
//! let watch = |event: SessionEvent<'_>| {
//!     if let SessionEvent::NextestOutput { line, .. } = event {
//!         println!("{}", String::from_utf8_lossy(line));
//!     }
//! };
//! let cancel = CancelToken::new()?;
//! let report = Session::new(Host::of_this_process(), ".")
//!     .nextest_args(["-E", "test(steady)"])
//!     .prepare(KernelChoice::Discover, &watch)?
//!     .run(&watch, &cancel)?;
//! println!("exit code {}: {}", report.exit_code, report.tally());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Nothing here prints, reads this process's environment or changes what belongs to the whole process, but for a session
//! that is told to: [`NextestStreams::Foreground`]. The environment comes in as a [`Host`](ktstr_core::host::Host), which
//! is also what child processes get.
//!
//! The parts, in the order in which one meets them:
//!
//! - [`doctor`] tells what a host has for running tests, and what it lacks.
//! - [`kernels`] resolves, builds and lists kernels with the cache, mirror and tool chain that the environment names.
//! - [`Session`] runs a project's tests under nextest. It tells a [`SessionObserver`] what happens, as
//!   [`SessionEvent`]s, and is cancelled by a [`CancelToken`](ktstr_vmm::CancelToken). What a user decides about it is
//!   [`SessionOptions`]. Its kernels are asked for, given or found: [`KernelChoice`].
//! - [`SessionReport`] tells how it ended, with the records by run directory ([`RunSummary`]), counted ([`Tally`]).
//!   [`FailureArtifacts`](ktstr_harness::runner::FailureArtifacts) reads back what a failed case left, [`replay_args`] runs it again.
//! - [`replay`] finds the failures of the newest session and runs them again, on the same kernels and with the same
//!   options ([`SavedSession`]).
//! - [`baseline`] finds the commit that changes are counted from.
//! - [`affected`] tells which schedulers and tests the changes since that commit concern.
//! - [`Session::thresholds`] tells what a test is judged by ([`CaseThresholds`]).
//! - [`Session::machines`] tells what machine a test runs on ([`TestMachine`]).
//! - [`Session::export`] writes a file that runs a test without a machine.
//! - [`coverage`] has a session measure which lines its tests reach, in their machines too.
//! - [`verifier`] sweeps the declared schedulers over kernels and topologies.
//! - [`perf_delta`] compares the figures of performance tests at two commits.
//! - [`stats`] tells what past runs left: what deserves a look, and which runs, values and hosts there are.
//! - [`shell`] runs a shell, or a command, in a machine.
//! - [`LocksReport`] tells who holds the locks by which sessions share this host.
//!
//! `ktstr-render` makes text of these reports, for a terminal.

pub mod affected;
mod ask;
pub mod baseline;
mod bounded;
mod cargo;
pub mod coverage;
pub mod doctor;
mod export;
mod find_test;
mod git;
pub mod kernels;
mod locks;
mod machines;
mod nextest;
pub mod perf_delta;
mod process;
mod programs;
mod records;
pub mod replay;
mod session;
pub mod shell;
pub mod stats;
mod tally;
mod thresholds;
pub mod verifier;

pub use ask::AskError;
pub use export::{ExportError, ExportOptions, Exported};
pub use find_test::FindTestError;
pub use git::GitError;
pub use kernels::kernel_cache;
pub use ktstr_harness::dispatch::{
    CaseMachine, CaseScheduler, CaseThresholds, ProgramSource, SchedulerUse, Threshold,
};
pub use ktstr_harness::runner::build::Package;
pub use locks::{LocksReport, lock_places};
pub use machines::TestMachine;
pub use nextest::{Binary, Listing, ListingError};
pub use records::RunSummary;
pub use replay::{replay_args, replay_filter};
pub use session::{
    Budget, KernelChoice, KernelRequest, NextestStreams, OutputStream, SavedKernel, SavedSession,
    SavedSessionError, Session, SessionError, SessionEvent, SessionObserver, SessionOptions,
    SessionReport, Silent,
};
pub use tally::Tally;
