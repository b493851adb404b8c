//! Runs a test body as a child of init and reports how it ended.

use std::any::Any;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ktstr_core::Outcome;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::pipe;
use rustix::process::{Pid, PidfdFlags, WaitOptions, WaitStatus, pidfd_open, waitpid};
use serde::{Deserialize, Serialize};

use super::around::Around;
use super::beside::Beside;
use super::map_write::MapWrites;
use super::scheduler::Loaded;
use super::sys;
use crate::protocol::{Ending, GuestMessage, OUTPUT_LIMIT};
use crate::workload::sched_ext;
use crate::{Ctx, TestCase};

/// Largest result that a body may report, in bytes.
const RESULT_LIMIT: usize = 8 << 20;

/// How often the scheduler's state is polled: its program may outlive it.
const SCHEDULER_POLL: Duration = Duration::from_millis(100);

/// How often to look for processes that the body left to init.
const ORPHAN_POLL: Duration = Duration::from_secs(1);

/// Orphans that are waited for at a time: the body is watched as well.
const MOST_ORPHANS: usize = 256;

/// How a body ended.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) ending: Ending,
    /// Whether its thread was under a sched_ext scheduler at the end; `None` where that is not known.
    pub(super) under_sched_ext: Option<bool>,
}

impl From<Ending> for Ended {
    fn from(ending: Ending) -> Self {
        Self {
            ending,
            under_sched_ext: None,
        }
    }
}

/// Exit code of a child that wrote its ending; with any other code it did not.
const WROTE_ENDING: i32 = 0;

/// Runs the body of `test` and watches it for at most `limit`; output goes to `send` as it comes.
///
/// The body is killed early when `scheduler` is no longer enabled, as it would measure another scheduler.
pub(super) fn run<E: From<io::Error>>(
    test: &TestCase,
    ctx: &Ctx,
    limit: Duration,
    scheduler: Option<&mut Loaded>,
    mut beside: Beside<'_>,
    around: &Around<'_>,
    send: &mut dyn FnMut(GuestMessage) -> Result<(), E>,
) -> Result<Ended, E> {
    if let Err(why) = beside.writes.write_due(Duration::ZERO) {
        return Ok(Ending::MapWrite(why).into());
    }
    let (ending_read, ending_write) = pipe().map_err(io::Error::from)?;
    let (output_read, output_write) = pipe().map_err(io::Error::from)?;
    let asks_for_it = scheduler.as_ref().is_some_and(|loaded| loaded.is_partial());
    send(GuestMessage::Started)?;
    let child = match sys::fork() {
        Ok(sys::Forked::Child) => {
            (around.in_body)();
            drop((ending_read, output_read));
            if asks_for_it {
                // Child processes inherit the policy. Whether the scheduler took the task is checked when the body
                // ends.
                let _ = sys::run_under_sched_ext(std::process::id());
            }
            run_body_in_child(test, ctx, File::from(ending_write), &output_write)
        }
        Ok(sys::Forked::Parent(child)) => child,
        Err(error) => return Ok(Ending::NotStarted(format!("fork: {error}")).into()),
    };
    drop((ending_write, output_write));
    let mut child = Child {
        pid: child,
        ending: BoundedPipe::new(ending_read, RESULT_LIMIT)?,
        output: BoundedPipe::new(output_read, OUTPUT_LIMIT)?,
    };
    let end = child.until_it_ends(limit, scheduler, &mut beside, around, send)?;
    child.output.forward(send)?;
    Ok(match end {
        End::Limit => Ending::TimedOut.into(),
        End::SchedulerGone => Ending::SchedulerGone.into(),
        End::MapWrite(why) => Ending::MapWrite(why).into(),
        End::Interrupted => Ending::NotStarted("the run was interrupted".to_owned()).into(),
        End::Ended(status) => match status.terminating_signal() {
            Some(signal) => Ending::Killed { signal }.into(),
            None => match (
                status.exit_status(),
                serde_json::from_slice::<Ended>(&child.ending.bytes),
            ) {
                (Some(WROTE_ENDING), Ok(ended)) => with_writes_left(ended, beside.writes),
                (code, _) => Ending::Exited(code.unwrap_or(-1)).into(),
            },
        },
    })
}

/// The child's side: never returns to init's code.
fn run_body_in_child(test: &TestCase, ctx: &Ctx, mut to_init: File, output: &OwnedFd) -> ! {
    // A session of its own separates the body and its workers from init.
    let _ = rustix::process::setsid();
    name_thread(test.name);
    let redirected =
        rustix::stdio::dup2_stdout(output).and_then(|()| rustix::stdio::dup2_stderr(output));
    let ending = match redirected {
        Ok(()) => run_caught(test, ctx),
        Err(errno) => Ending::NotStarted(format!("redirecting output: {errno}")),
    };
    let _ = io::stdout().flush();
    let ended = Ended {
        ending,
        under_sched_ext: sched_ext::is_over_this_task(),
    };
    let written = serde_json::to_vec(&ended)
        .map_err(io::Error::from)
        .and_then(|bytes| to_init.write_all(&bytes));
    sys::exit_now(if written.is_ok() { WROTE_ENDING } else { 1 })
}

/// Names this thread, as the kernel shows tasks, by the first 15 bytes of `name`.
pub(super) fn name_thread(name: &str) {
    let short: Vec<u8> = name.bytes().take(15).collect();
    if let Ok(short) = std::ffi::CString::new(short) {
        // The test also runs without a name.
        let _ = rustix::thread::set_name(&short);
    }
}

/// Calls the body and catches a panic.
pub(crate) fn run_caught(test: &TestCase, ctx: &Ctx) -> Ending {
    let last_panic = Arc::new(Mutex::new(None));
    let note = Arc::clone(&last_panic);
    let print = Arc::new(panic::take_hook());
    let before = Arc::clone(&print);
    panic::set_hook(Box::new(move |info| {
        let place = info
            .location()
            .map(|at| format!(" at {at}"))
            .unwrap_or_default();
        let text = panic_text(info.payload());
        *note.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{text}{place}"));
        print(info);
    }));
    let returned = panic::catch_unwind(AssertUnwindSafe(|| (test.body)(ctx)));
    // This drops our hook and its reference to the previous one, unless a thread of the body panics at this moment.
    drop(panic::take_hook());
    match Arc::try_unwrap(before) {
        Ok(before) => panic::set_hook(before),
        Err(before) => panic::set_hook(Box::new(move |info| before(info))),
    }
    match returned {
        Ok(Ok(result)) => Ending::Returned(result.finite()),
        Ok(Err(error)) => Ending::Error(chain(error.as_ref())),
        Err(_) => {
            let text = last_panic
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            Ending::Panicked(text.unwrap_or_else(|| "(no message)".to_owned()))
        }
    }
}

/// What `panic!` was given: a literal or a formatted text.
pub(crate) fn panic_text(payload: &dyn Any) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("(a panic without text)")
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        // Many errors repeat their source in their own text.
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        cause = error.source();
    }
    text
}

/// What init watches while the body runs.
struct Child {
    pid: Pid,
    ending: BoundedPipe,
    output: BoundedPipe,
}

impl Child {
    fn kill<E: From<io::Error>>(&self, end: End) -> Result<End, E> {
        sys::kill(self.pid);
        reap(self.pid)?;
        Ok(end)
    }

    /// Waits for processes that have ended and that the body left to init: nobody else does. The body itself and the
    /// program of the scheduler are waited for where they are watched.
    fn reap_orphans(&self, scheduler: Option<&Loaded>) {
        let program = scheduler.and_then(Loaded::pid);
        let is_watched = |child: Pid| child == self.pid || program == Some(child.as_raw_pid());
        for _ in 0..MOST_ORPHANS {
            match sys::ended_child() {
                Some(child) if !is_watched(child) => {
                    let _ = reap(child);
                }
                _ => return,
            }
        }
    }

    /// Waits for the child to end; kills it at the limit, or when the scheduler is gone.
    fn until_it_ends<E: From<io::Error>>(
        &mut self,
        limit: Duration,
        mut scheduler: Option<&mut Loaded>,
        beside: &mut Beside<'_>,
        around: &Around<'_>,
        send: &mut dyn FnMut(GuestMessage) -> Result<(), E>,
    ) -> Result<End, E> {
        let begin = Instant::now();
        let deadline = begin + limit;
        let pidfd = pidfd_open(self.pid, PidfdFlags::empty()).map_err(io::Error::from)?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                if scheduler.is_some() {
                    Loaded::request_dump();
                }
                return self.kill(End::Limit);
            }
            if let Err(why) = beside.pass(begin.elapsed()) {
                return self.kill(End::MapWrite(why));
            }
            let left = match scheduler {
                Some(_) => left.min(SCHEDULER_POLL),
                None => left,
            };
            let left = left.min(beside.due_in(begin.elapsed())).min(ORPHAN_POLL);
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            let mut fds = vec![PollFd::new(&pidfd, PollFlags::IN)];
            // A closed pipe would be ready for ever.
            let open = [&self.ending, &self.output];
            fds.extend(
                open.iter()
                    .filter_map(|s| s.pipe.as_ref())
                    .map(|p| PollFd::new(p, PollFlags::IN)),
            );
            if let Some(scheduler) = &scheduler {
                let watched = scheduler.signals().into_iter();
                fds.extend(watched.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            }
            fds.extend(
                [beside.signal(), around.interrupt]
                    .into_iter()
                    .flatten()
                    .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)),
            );
            match poll(&mut fds, Some(&timeout)) {
                // A signal that this process watches for: its descriptor tells.
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(io::Error::from(errno).into()),
            }
            let exited = !fds[0].revents().is_empty();
            drop(fds);
            self.ending.fill()?;
            self.output.fill()?;
            self.output.forward(send)?;
            if exited {
                return Ok(End::Ended(reap(self.pid)?));
            }
            self.reap_orphans(scheduler.as_deref());
            if around.is_interrupted() {
                return self.kill(End::Interrupted);
            }
            if let Some(scheduler) = &mut scheduler
                && scheduler.is_gone()
            {
                return self.kill(End::SchedulerGone);
            }
        }
    }
}

/// How the wait for a body ended.
enum End {
    Ended(WaitStatus),
    Limit,
    SchedulerGone,
    /// A write into the scheduler's maps failed.
    MapWrite(String),
    Interrupted,
}

/// What became of a body, where writes into maps were still to come.
fn with_writes_left(mut ended: Ended, writes: &MapWrites) -> Ended {
    if let Ending::Returned(result) = &mut ended.ending
        && result.verdict.outcome() != Outcome::Skip
        && let Some(left) = writes.left()
    {
        result
            .verdict
            .record(Outcome::Inconclusive, "bpf_map_write", left);
    }
    ended
}

fn reap(child: Pid) -> io::Result<WaitStatus> {
    loop {
        match waitpid(Some(child), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(status),
            Ok(None) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The readable end of a pipe from the body, with a bound on what is kept.
struct BoundedPipe {
    /// `None` once every writer is gone.
    pipe: Option<File>,
    bytes: Vec<u8>,
    /// Bytes that may still be kept.
    room: usize,
    cut: Cut,
}

/// Whether something was dropped, and whether that was reported.
#[derive(PartialEq)]
enum Cut {
    Nothing,
    Unsaid,
    Said,
}

impl BoundedPipe {
    fn new(pipe: OwnedFd, limit: usize) -> io::Result<Self> {
        fcntl_setfl(&pipe, OFlags::NONBLOCK)?;
        Ok(Self {
            pipe: Some(File::from(pipe)),
            bytes: Vec::new(),
            room: limit,
            cut: Cut::Nothing,
        })
    }

    /// Reads what is available; what is beyond the bound is dropped, so that no writer blocks.
    fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16 << 10];
        // Bounded: a body that writes without end must not keep init from its deadline.
        for _ in 0..16 {
            let Some(pipe) = &mut self.pipe else { break };
            match pipe.read(&mut chunk) {
                Ok(0) => self.pipe = None,
                Ok(length) => {
                    let kept = length.min(self.room);
                    self.bytes.extend_from_slice(&chunk[..kept]);
                    self.room -= kept;
                    if kept < length && self.cut == Cut::Nothing {
                        self.cut = Cut::Unsaid;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends what was read as output.
    fn forward<E: From<io::Error>>(
        &mut self,
        send: &mut dyn FnMut(GuestMessage) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.bytes.is_empty() {
            send(GuestMessage::Output(
                String::from_utf8_lossy(&self.bytes).into_owned(),
            ))?;
            self.bytes.clear();
        }
        if self.cut == Cut::Unsaid {
            self.cut = Cut::Said;
            let note = format!(
                "\nktstr: output beyond {} KiB is dropped\n",
                OUTPUT_LIMIT >> 10
            );
            send(GuestMessage::Output(note))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;
    use crate::test::Location;
    use crate::{AssertResult, Checks};

    #[test]
    fn the_panic_hook_of_the_process_is_put_back() {
        static PRINTED: AtomicUsize = AtomicUsize::new(0);
        let location = Location {
            file: "t.rs",
            line: 1,
        };
        let test = TestCase::new("t", location, |_| -> crate::Result<AssertResult> {
            panic!("in the body")
        });
        let ctx = Ctx {
            cpus: test.topology.into(),
            duration: Duration::ZERO,
            checks: Checks::NONE,
            cgroup_root: PathBuf::new(),
            include_dir: PathBuf::new(),
            payload: None,
            workloads: &[],
        };
        let original = panic::take_hook();
        panic::set_hook(Box::new(|_| {
            PRINTED.fetch_add(1, Relaxed);
        }));
        for _ in 0..3 {
            let ending = run_caught(&test, &ctx);
            let told =
                matches!(&ending, Ending::Panicked(text) if text.starts_with("in the body at "));
            assert!(told, "{ending:?}");
        }
        // The hook itself is called, once, and no text of ours is kept alive behind it.
        let hook = panic::take_hook();
        assert_eq!(
            size_of_val(&*hook),
            0,
            "a hook that captures something is not the one before"
        );
        panic::set_hook(original);
        assert_eq!(PRINTED.load(Relaxed), 3);
    }
}
