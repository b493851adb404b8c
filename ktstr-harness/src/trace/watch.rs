//! How a test watches the scheduler.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use super::error::TraceError;
use super::function::Function;
use super::report::Report;
use super::rule::Rule;
use super::session::{Plan, Session};
use crate::guest::{CGROUP_ROOT, TRACING, run_above_schedulers};
use crate::{Checks, Ctx};

/// What is to be watched of the kernel's scheduler, and what must hold of it.
///
/// Switches and wake-ups are always watched. Work conservation and wake-to-run time are judged by their limits; rules and
/// functions of the kernel can be added.
///
/// ```no_run
/// use std::time::Duration;
/// use ktstr_harness::prelude::*;
/// use ktstr_harness::trace::{Rule, Watch, What};
///
/// fn slices_are_never_empty(ctx: &Ctx) -> Result<AssertResult> {
///     let watching = Watch::scheduler()
///         .max_wasted(Duration::from_millis(50))
///         .with_function(Watch::function("enqueue_task_scx").field("p->scx.slice"))
///         .rule(Rule::never("empty_slice", |event| {
///             matches!(event.what, What::Call(call) if call.values()[0] == 0)
///         }))
///         .start(ctx)?;
///     let mut result = execute_defs(ctx, &[ctx.cgroup_def("workers")])?;
///     result.merge(watching.finish()?.into_result());
///     Ok(result)
/// }
/// ```
#[derive(Debug, Default)]
pub struct Watch {
    plan: Plan,
    limits: Checks,
}

/// A watch that has begun. Dropping it ends it, and nothing of it is left in the kernel.
#[derive(Debug)]
pub struct Watching {
    thread: Option<JoinHandle<Result<Report, TraceError>>>,
    /// A byte in it ends the thread. Workers have it as well, so that closing it says nothing.
    stop: OwnedFd,
}

impl Watch {
    /// A watch of all switches and wake-ups.
    #[must_use]
    pub fn scheduler() -> Self {
        Self::default()
    }

    /// A function of the kernel, to be given to [`Watch::with_function`].
    pub fn function(name: impl Into<String>) -> Function {
        Function::new(name)
    }

    /// Watches the calls of a function too.
    #[must_use]
    pub fn with_function(mut self, function: Function) -> Self {
        self.plan.functions.push(function);
        self
    }

    /// Watches `sched_migrate_task` too.
    #[must_use]
    pub fn with_migrations(mut self) -> Self {
        self.plan.migrations = true;
        self
    }

    /// Adds a rule.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.plan.rules.push(rule);
        self
    }

    /// The longest time that a CPU may be idle while a task waits that may use it: the check `max_wasted_ms`.
    #[must_use]
    pub fn max_wasted(mut self, limit: Duration) -> Self {
        self.limits.max_wasted_ms = Some(limit.as_secs_f64() * 1e3);
        self
    }

    /// The longest time that a task may take from its wake-up until it runs: the check `max_wake_to_run_ms`.
    #[must_use]
    pub fn max_wake_to_run(mut self, limit: Duration) -> Self {
        self.limits.max_wake_to_run_ms = Some(limit.as_secs_f64() * 1e3);
        self
    }

    /// Begins, in a thread with a real-time priority, where the kernel allows that.
    ///
    /// All that happens from its return on is seen. The error says what the kernel lacks, or refuses.
    pub fn start(self, ctx: &Ctx) -> Result<Watching, TraceError> {
        let cpus = ctx.cpus.all();
        let (stopped, stop) = pipe_with(PipeFlags::CLOEXEC).map_err(thread_error)?;
        let (begun, begin) = std::sync::mpsc::channel();
        let Self { plan, limits } = self;
        let work = move || {
            // Else a scheduler that starves it makes it lose events, which it tells.
            let _ = run_above_schedulers();
            let started = Session::start(Path::new(TRACING), Path::new(CGROUP_ROOT), plan, &cpus);
            let session = started.map(|session| (begun.send(Ok(())), session).1);
            let session = match session {
                Ok(session) => session,
                Err(error) => {
                    let words = error.to_string();
                    let _ = begun.send(Err(error));
                    return Err(TraceError::Layout(words));
                }
            };
            let mut report = until_stopped(session, &stopped)?;
            report.limits = limits;
            Ok(report)
        };
        let thread = std::thread::Builder::new().name("ktstr-watch".to_owned());
        let thread = thread.spawn(work).map_err(TraceError::Thread)?;
        let watching = Watching {
            thread: Some(thread),
            stop,
        };
        match begin.recv() {
            Ok(Ok(())) => Ok(watching),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(TraceError::Thread(io::Error::other("it panicked"))),
        }
    }
}

impl Watching {
    /// Ends it, and tells what it saw. The error is that of the trace, which the kernel did not let be read to its end.
    pub fn finish(mut self) -> Result<Report, TraceError> {
        self.end()
            .unwrap_or_else(|| Err(TraceError::Thread(io::Error::other("it panicked"))))
    }

    fn end(&mut self) -> Option<Result<Report, TraceError>> {
        // The pipe is empty: it has room.
        let _ = rustix::io::write(&self.stop, b"x");
        self.thread.take()?.join().ok()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// Looks at the events whenever that is due.
fn until_stopped(mut session: Session, stopped: &OwnedFd) -> Result<Report, TraceError> {
    loop {
        let wait = Timespec::try_from(session.due_in()).unwrap_or_default();
        let ready = session.ready();
        let mut fds = [
            PollFd::from_borrowed_fd(ready, PollFlags::IN),
            PollFd::new(stopped, PollFlags::IN),
        ];
        // A signal only makes it look early.
        let _ = poll(&mut fds, Some(&wait));
        if !fds[1].revents().is_empty() {
            return session.finish();
        }
        session.pass();
    }
}

fn thread_error(errno: rustix::io::Errno) -> TraceError {
    TraceError::Thread(errno.into())
}
