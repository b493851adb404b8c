//! A shell, or one command, whose streams go to the host and come from there.
//!
//! Init waits for everything at once: what the host sends, what the processes write, children that end, the scheduler.
//! Its sends block, but the host always reads: what is under way is bounded by the streams' windows. The shell's status
//! is sent when all that was written until its end has been; what other processes write later is not.

mod process;

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use ktstr_vmm::Frame;
use ktstr_vmm::channel::GuestChannel;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionread, retry_on_intr};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, waitpid};

use self::process::{Ends, Process};
use super::around::Around;
use super::scheduler::Loaded;
use super::{klog, sys};
use crate::protocol::flow::{
    Allowance, Backlog, LONGEST_PART, Passed, Stream, StreamFrame, WINDOW,
};
use crate::protocol::{
    BODY_MARK, GuestMessage, KERNEL_LOG_LIMIT, SchedulerEnd, SchedulerReport, ShellExit, ShellSpec,
    to_frame,
};

/// How often the scheduler's state is polled: its program may outlive it.
const SCHEDULER_POLL: Duration = Duration::from_millis(100);

/// Frames that are taken at a time while others have something to do.
const FRAMES: usize = 32;

/// What the machine is called.
const HOST_NAME: &[u8] = b"ktstr";

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Runs the shell that `spec` describes, and reports its status.
pub(super) fn serve(
    spec: &ShellSpec,
    kernel_release: &str,
    channel: &mut GuestChannel,
) -> Result<()> {
    // Nobody depends on it.
    let _ = rustix::system::sethostname(HOST_NAME);
    let endings = sys::child_endings()?;
    klog::write(BODY_MARK);
    let mut scheduler = None;
    if let Some(wanted) = &spec.scheduler {
        super::run::rise_above_schedulers();
        match Loaded::start(wanted, &Around::guest(spec.topology.cpus())) {
            Ok(loaded) => scheduler = Some(loaded),
            Err(report) => {
                channel.send(&scheduler_ended(*report))?;
                // A command that needs it would tell of another one. A person can look.
                if spec.command.is_some() || spec.terminal.is_none() {
                    let why = "its scheduler is not running".to_owned();
                    return end(channel, ShellExit::NotStarted(why));
                }
            }
        }
    }
    let prompt = format!("{kernel_release} {}:$PWD# ", spec.topology);
    let asks = scheduler.as_ref().is_some_and(Loaded::is_partial);
    let (process, ends) = match Process::start(spec, &prompt, asks) {
        Ok(started) => started,
        Err(why) => return end(channel, ShellExit::NotStarted(why)),
    };
    channel.send(&to_frame(&GuestMessage::Started))?;
    let mut shell = Shell::new(process, ends, scheduler, endings);
    let status = shell.until_it_ends(channel)?;
    end(channel, status)
}

fn end(channel: &mut GuestChannel, exit: ShellExit) -> Result<()> {
    channel.send(&to_frame(&GuestMessage::ShellEnded(exit)))?;
    super::wait_for_host_close(channel);
    Ok(())
}

fn scheduler_ended(report: SchedulerReport) -> Frame {
    to_frame(&GuestMessage::SchedulerEnded(Box::new(SchedulerEnd {
        report,
        kernel_log: klog::tail(KERNEL_LOG_LIMIT),
    })))
}

/// A shell that runs.
struct Shell {
    process: Process,
    input: Feed,
    output: Vec<Tap>,
    scheduler: Option<Loaded>,
    /// Readable when a child has ended.
    endings: OwnedFd,
    /// How the shell's process ended, once it has.
    status: Option<WaitStatus>,
}

/// Input on its way to the shell.
struct Feed {
    /// `None` once it is closed.
    pipe: Option<OwnedFd>,
    backlog: Backlog,
    /// Whether the host has no more.
    is_last: bool,
}

/// Output on its way to the host.
struct Tap {
    stream: Stream,
    /// `None` once nothing more comes.
    pipe: Option<OwnedFd>,
    allowance: Allowance,
    /// Bytes that may still be read, once the shell has ended.
    left: Option<usize>,
}

impl Shell {
    fn new(process: Process, ends: Ends, scheduler: Option<Loaded>, endings: OwnedFd) -> Self {
        let tap = |(stream, pipe)| Tap {
            stream,
            pipe: Some(pipe),
            allowance: Allowance::default(),
            left: None,
        };
        Self {
            process,
            input: Feed {
                pipe: Some(ends.input),
                backlog: Backlog::default(),
                is_last: false,
            },
            output: ends.output.into_iter().map(tap).collect(),
            scheduler,
            endings,
            status: None,
        }
    }

    fn until_it_ends(&mut self, channel: &mut GuestChannel) -> Result<ShellExit> {
        let mut buffer = vec![0; LONGEST_PART];
        loop {
            self.wait(channel)?;
            for _ in 0..FRAMES {
                let Some(frame) = channel.try_recv()? else {
                    break;
                };
                self.hear(&frame)?;
            }
            self.feed(channel)?;
            // Before the output: what was written until the end is all there then.
            self.reap();
            for tap in &mut self.output {
                tap.forward(&mut buffer, channel)?;
            }
            self.watch_scheduler(channel)?;
            if let Some(status) = self.status
                && self.output.iter().all(|tap| tap.pipe.is_none())
            {
                return Ok(match status.terminating_signal() {
                    Some(signal) => ShellExit::Killed { signal },
                    None => ShellExit::Exited(status.exit_status().unwrap_or(-1)),
                });
            }
        }
    }

    /// Waits until there is something to do.
    fn wait(&self, channel: &GuestChannel) -> Result<()> {
        let mut fds = vec![
            PollFd::new(channel, PollFlags::IN),
            PollFd::new(&self.endings, PollFlags::IN),
        ];
        if let Some(pipe) = &self.input.pipe {
            // Without any, only that its reader is gone is told.
            let mut events = PollFlags::empty();
            events.set(PollFlags::OUT, !self.input.backlog.is_empty());
            fds.push(PollFd::new(pipe, events));
        }
        let may_send = self.output.iter().filter(|tap| tap.allowance.next() > 0);
        let pipes = may_send.filter_map(|tap| tap.pipe.as_ref());
        fds.extend(pipes.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        let mut timeout = None;
        if let Some(scheduler) = &self.scheduler {
            let watched = scheduler.signals().into_iter();
            fds.extend(watched.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            timeout = Some(Timespec::try_from(SCHEDULER_POLL)?);
        }
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Does what a frame of the host says.
    fn hear(&mut self, frame: &Frame) -> Result<()> {
        let Some(frame) = StreamFrame::of_frame(frame) else {
            return Err("the host sent a message that a shell does not expect".into());
        };
        match frame? {
            StreamFrame::Data(Stream::Input, bytes) => {
                if self.input.pipe.is_some() && !self.input.backlog.take(bytes) {
                    return Err("the host sent more input than it may".into());
                }
            }
            StreamFrame::End(Stream::Input) => self.input.is_last = true,
            StreamFrame::Grant(stream, count) => {
                if let Some(tap) = self.tap(stream) {
                    tap.allowance.grant(count);
                }
            }
            StreamFrame::Closed(stream) => {
                // Who writes to it is told by SIGPIPE, as everywhere.
                if let Some(tap) = self.tap(stream) {
                    tap.pipe = None;
                }
            }
            StreamFrame::Resize(size) => self.process.resize(size),
            StreamFrame::Signal(signal) => {
                if let Some(signal) = Signal::from_named_raw(signal) {
                    self.process.signal(signal);
                }
            }
            StreamFrame::Data(..) | StreamFrame::End(_) => {}
        }
        Ok(())
    }

    fn tap(&mut self, stream: Stream) -> Option<&mut Tap> {
        self.output.iter_mut().find(|tap| tap.stream == stream)
    }

    /// Passes input on.
    fn feed(&mut self, channel: &mut GuestChannel) -> Result<()> {
        let Some(pipe) = &self.input.pipe else {
            return Ok(());
        };
        let write = |bytes: &[u8]| Ok(rustix::io::write(pipe, bytes)?);
        let passed = self.input.backlog.pass(write);
        let is_gone = match passed {
            Passed::Open => !self.process.is_at_terminal() && has_no_reader(pipe),
            Passed::Gone | Passed::Failed(_) => true,
        };
        if let Some(more) = self.input.backlog.grant() {
            channel.send(&StreamFrame::Grant(Stream::Input, more).to_frame())?;
        }
        if is_gone {
            self.input.backlog.clear();
            self.input.pipe = None;
            channel.send(&StreamFrame::Closed(Stream::Input).to_frame())?;
        } else if self.input.is_last && self.input.backlog.is_empty() {
            self.input.pipe = None;
        }
        Ok(())
    }

    /// Waits for children that have ended: the shell, and those that nobody else waits for.
    fn reap(&mut self) {
        let mut bytes = [0; 64];
        while retry_on_intr(|| rustix::io::read(&self.endings, &mut bytes)).is_ok_and(|n| n > 0) {}
        while let Some(child) = sys::ended_child() {
            if child == self.process.pid {
                self.status = wait_for(child);
                for tap in &mut self.output {
                    tap.left = Some(tap.waiting());
                }
            } else if self.is_schedulers(child) {
                // Its end is seen there; the program is waited for by the first look.
                let _ = self.scheduler.as_mut().map(Loaded::is_gone);
            } else {
                wait_for(child);
            }
        }
    }

    fn is_schedulers(&self, child: Pid) -> bool {
        let program = self.scheduler.as_ref().and_then(Loaded::pid);
        program == Some(child.as_raw_nonzero().get())
    }

    /// Reports a scheduler that is gone. The shell goes on.
    fn watch_scheduler(&mut self, channel: &mut GuestChannel) -> Result<()> {
        if self.scheduler.as_mut().is_some_and(Loaded::is_gone)
            && let Some(scheduler) = self.scheduler.take()
        {
            channel.send(&scheduler_ended(scheduler.stop(true)))?;
        }
        Ok(())
    }
}

impl Tap {
    /// How many bytes were written to it and not read.
    fn waiting(&self) -> usize {
        let count = self.pipe.as_ref().map(ioctl_fionread);
        match (self.stream, count) {
            (_, Some(Ok(count))) if count > 0 => usize::try_from(count).unwrap_or(WINDOW),
            // A terminal counts only what has gone through its line discipline: a read tells.
            _ => WINDOW,
        }
    }

    /// Sends what was written, as much as the host takes. After the end of the shell, it closes the pipe when all that
    /// the shell can have written was sent.
    fn forward(&mut self, buffer: &mut [u8], channel: &mut GuestChannel) -> Result<()> {
        loop {
            let Some(pipe) = &self.pipe else {
                return Ok(());
            };
            let most = self.allowance.next().min(self.left.unwrap_or(usize::MAX));
            if self.left == Some(0) {
                self.pipe = None;
                return Ok(());
            }
            if most == 0 {
                return Ok(());
            }
            match retry_on_intr(|| rustix::io::read(pipe, &mut buffer[..most])) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    self.allowance.spend(count);
                    self.left = self.left.map(|left| left.saturating_sub(count));
                    channel.send(&StreamFrame::Data(self.stream, &buffer[..count]).to_frame())?;
                    // While the shell runs others have their turn.
                    if self.left.is_none() {
                        return Ok(());
                    }
                }
                Err(Errno::AGAIN) => {
                    if self.left.is_some() {
                        self.pipe = None;
                    }
                    return Ok(());
                }
                // Of a terminal whose last process is gone.
                Err(_) => self.pipe = None,
            }
        }
    }
}

/// Whether nobody can read from the other end of `pipe`.
fn has_no_reader(pipe: &OwnedFd) -> bool {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut fds = [PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::empty())];
    let polled = retry_on_intr(|| poll(&mut fds, Some(&now)));
    polled.is_ok() && fds[0].revents().contains(PollFlags::ERR)
}

fn wait_for(child: Pid) -> Option<WaitStatus> {
    let waited = retry_on_intr(|| waitpid(Some(child), WaitOptions::empty()));
    waited.ok().flatten().map(|(_, status)| status)
}
