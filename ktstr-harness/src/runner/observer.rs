//! What can be watched of a run.

use ktstr_vmm::Backend;

/// Watches a run. Any closure that takes a [`RunEvent`] is an observer.
///
/// Events come on the thread that runs, in the order in which things happen. The run waits until `event` returns, so it
/// should return soon.
pub trait RunObserver {
    /// Something happened.
    fn event(&mut self, event: RunEvent<'_>);
}

impl<F: FnMut(RunEvent<'_>)> RunObserver for F {
    fn event(&mut self, event: RunEvent<'_>) {
        self(event);
    }
}

/// One step of a run, in the order in which they come. What a guest says is not checked: it may hold any characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunEvent<'e> {
    /// A line about the run that no event of its own tells: what was chosen where nobody chose, such as the kernel, or
    /// what the host did not grant. It may come at any time.
    Note(&'e str),
    /// The scheduler's cargo package did not build; all that cargo wrote to standard error.
    SchedulerBuildFailed(&'e str),
    /// Other machines have the host CPUs that this one needs: the run waits for them. Once per machine, and only where
    /// it has to wait.
    WaitingForHostCpus,
    /// Host CPUs are reserved, and the machine starts.
    MachineStarting {
        /// What carries it.
        backend: Backend,
        /// Whether it is in performance mode.
        performance_mode: bool,
    },
    /// The console of the machine showed these bytes. It may come at any time until the machine ends.
    Console(&'e [u8]),
    /// The guest is up and was told what to do.
    GuestReady {
        /// Release of its kernel.
        kernel_release: &'e str,
    },
    /// The scheduler is enabled, where there is one, and the body of the test, or a shell, is about to run.
    BodyStarted,
    /// The body, or a process that it started, wrote this to standard output or standard error. Bounded; the second run
    /// of a test has none.
    BodyOutput(&'e str),
    /// What the scheduler's program wrote, in one piece or, in a cell of the verifier sweep, in several. Bounded.
    SchedulerLog(&'e str),
    /// The scheduler beside a shell could not be started, or is gone: what is known of that, in a line. The shell goes on.
    SchedulerGone(&'e str),
    /// The guest reported how it ended; its machine is ended now.
    Reported,
    /// The scheduler died, and the test runs once more with probes to see why: the events of a machine come again.
    SecondRun,
}
