//! What happens in a session, as events.

use std::io;
use std::path::Path;
use std::process::ExitStatus;

use ktstr_harness::runner::build::Package;
use ktstr_kernel::discover::Found;
use ktstr_kernel::{Event, KernelSpec, ResolvedKernel};
use ktstr_vmm::{BackendSelection, MachineError};

use crate::{Budget, RunSummary};

/// Takes the events of a session. They come from several threads, one line of output each: be quick.
///
/// Every closure of that shape is one:
///
/// ```
/// use ktstr_driver::{SessionEvent, SessionObserver};
///
/// let watch = |event: SessionEvent<'_>| {
///     if let SessionEvent::NextestOutput { line, .. } = event {
///         eprintln!("{}", String::from_utf8_lossy(line));
///     }
/// };
/// let _: &dyn SessionObserver = &watch;
/// ```
pub trait SessionObserver: Sync {
    /// Something happened.
    fn event(&self, event: SessionEvent<'_>);
}

impl<F: Fn(SessionEvent<'_>) + Sync> SessionObserver for F {
    fn event(&self, event: SessionEvent<'_>) {
        self(event);
    }
}

/// Takes no notice.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl SessionObserver for Silent {
    fn event(&self, _: SessionEvent<'_>) {}
}

/// Which of a program's streams a line is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error: cargo's and nextest's reports.
    Stderr,
}

/// Something that happened in a session, in about this order.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum SessionEvent<'a> {
    /// The machines run on this backend.
    BackendSelected(&'a BackendSelection),
    /// No backend works here, and none was asked for: every test that needs a machine will say so.
    NoBackend(&'a MachineError),
    /// This kernel was found where none was given.
    KernelFound(&'a Found),
    /// A kernel that was asked for is being resolved: downloaded, configured, built.
    Kernel(Event<'a>),
    /// A kernel that was asked for is ready.
    KernelReady {
        /// What was asked for.
        spec: &'a KernelSpec,
        /// What it is.
        kernel: &'a ResolvedKernel,
    },
    /// The tests were selected that run within the session's budget.
    BudgetSpent(&'a Budget),
    /// Nextest is asked which tests there are, for which it may build them.
    ListStarted,
    /// Nextest runs as this process.
    NextestStarted {
        /// Its number.
        pid: u32,
    },
    /// A scheduler under test is being built, while nextest lists the tests.
    SchedulerBuildStarted {
        /// The cargo package.
        package: &'a Package,
    },
    /// Cargo said a line about the build of a scheduler.
    SchedulerBuildOutput {
        /// The cargo package.
        package: &'a Package,
        /// The line, without its end.
        line: &'a [u8],
    },
    /// The report of coverage will not have the lines of a scheduler's program.
    SchedulerNotMeasured {
        /// The cargo package.
        package: &'a Package,
        /// Where its program cannot be put for the report to find it.
        place: &'a Path,
        /// Why.
        error: &'a io::Error,
    },
    /// The build of a scheduler is over.
    SchedulerBuildEnded {
        /// The cargo package.
        package: &'a Package,
        /// The program, or one line on why there is none: the tests that need it fail with it.
        program: Result<&'a Path, &'a str>,
    },
    /// Nextest said a line; not where its output is [inherited](crate::NextestStreams).
    NextestOutput {
        /// Where.
        stream: OutputStream,
        /// The line, without its end.
        line: &'a [u8],
    },
    /// Nextest ended.
    NextestEnded {
        /// How.
        status: ExitStatus,
    },
    /// The report of coverage does not have what a guest reached, or a part of it.
    NotCovered {
        /// Of which test and why, in one line.
        note: &'a str,
    },
    /// The records of the tests were read.
    RecordsFound {
        /// By run directory.
        runs: &'a [RunSummary],
    },
}
