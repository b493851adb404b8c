//! The host's side of the conversation with a guest that runs a shell.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use ktstr_vmm::{CancelToken, Flow, Frame, Interest, Observer, Outbox};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};

use super::escape::Escape;
use super::outlet::{Outlet, Stopped};
use super::{ShellEnd, ShellStreams};
use crate::protocol::flow::{Allowance, LONGEST_PART, Stream, StreamFrame};
use crate::protocol::{GuestMessage, GuestRequest, SchedulerEnd, from_frame, to_frame};
use crate::runner::cancel;
use crate::runner::diagnosis::Diagnosis;
use crate::runner::observer::{RunEvent, RunObserver};
use crate::runner::result::RunError;

/// Parts of the input that are read at a time while others have something to do.
const PARTS: usize = 8;

/// What is queued to the guest before more input is read, in bytes.
const QUEUE: usize = 128 << 10;

/// The exchange with one guest, from "ready" to the end of its shell.
pub(super) struct ShellSession<'r> {
    request: &'r GuestRequest,
    at_terminal: bool,
    streams: ShellStreams<'r>,
    pub(super) observer: &'r mut dyn RunObserver,
    start: Instant,
    started: bool,
    /// How much input may be sent; `None` once there is no more, or nobody reads it.
    input: Option<Allowance>,
    /// Bytes that are on their way to the guest.
    queued: usize,
    escape: Escape,
    output: Outlet<'r>,
    error: Outlet<'r>,
    console: Option<Outlet<'r>>,
    buffer: Vec<u8>,
    /// When the guest was ready, from the start.
    pub(super) ready: Option<Duration>,
    /// When the end was known, from the start.
    pub(super) ended: Option<Duration>,
    /// Release of the guest's kernel.
    pub(super) kernel_release: Option<String>,
    /// How it ended, where that was heard of the guest or seen here.
    pub(super) end: Option<ShellEnd>,
    /// How the guest broke the protocol.
    pub(super) garbled: Option<String>,
}

impl<'r> ShellSession<'r> {
    /// A session that will have the guest do `request`, a shell.
    pub(super) fn new(
        request: &'r GuestRequest,
        streams: ShellStreams<'r>,
        observer: &'r mut dyn RunObserver,
    ) -> Self {
        let at_terminal = match request {
            GuestRequest::Shell(spec) => spec.terminal.is_some(),
            GuestRequest::Run(_) | GuestRequest::Verify(_) => false,
        };
        Self {
            request,
            at_terminal,
            observer,
            start: Instant::now(),
            started: false,
            input: Some(Allowance::default()),
            queued: 0,
            escape: Escape::default(),
            output: Outlet::new(Stream::Output, streams.output),
            error: Outlet::new(Stream::Error, streams.error),
            console: streams.console.map(|fd| Outlet::new(Stream::Error, fd)),
            streams,
            buffer: vec![0; LONGEST_PART],
            ready: None,
            ended: None,
            kernel_release: None,
            end: None,
            garbled: None,
        }
    }

    fn hear(&mut self, message: GuestMessage, outbox: &mut Outbox) -> Flow {
        match message {
            GuestMessage::Ready { kernel_release } if self.ready.is_none() => {
                self.ready = Some(self.start.elapsed());
                outbox.send(&to_frame(self.request));
                let kernel_release = self.kernel_release.insert(kernel_release);
                self.observer.event(RunEvent::GuestReady { kernel_release });
                Flow::Continue
            }
            GuestMessage::Started if self.ready.is_some() && !self.started => {
                self.started = true;
                self.observer.event(RunEvent::BodyStarted);
                // What came meanwhile.
                self.pass_control(outbox);
                Flow::Continue
            }
            GuestMessage::SchedulerEnded(end) if self.ready.is_some() => {
                self.tell_scheduler_end(&end);
                Flow::Continue
            }
            GuestMessage::ShellEnded(exit) if self.ready.is_some() => {
                self.observer.event(RunEvent::Reported);
                self.stop(ShellEnd::Exited(exit))
            }
            _ => self.give_up("the guest sent a message out of turn".to_owned()),
        }
    }

    fn tell_scheduler_end(&mut self, end: &SchedulerEnd) {
        let diagnosis = Diagnosis::of(&end.kernel_log, Some(&end.report));
        if !end.report.log.is_empty() {
            self.observer.event(RunEvent::SchedulerLog(&end.report.log));
        }
        let note = super::scheduler_note(&end.report, &diagnosis);
        self.observer.event(RunEvent::SchedulerGone(&note));
    }

    fn hear_stream(&mut self, frame: StreamFrame<'_>, outbox: &mut Outbox) -> Flow {
        match frame {
            StreamFrame::Data(stream @ (Stream::Output | Stream::Error), bytes) if self.started => {
                let outlet = match stream {
                    Stream::Error => &mut self.error,
                    _ => &mut self.output,
                };
                // What was sent before the guest knew that nobody reads.
                if !outlet.is_open {
                    return Flow::Continue;
                }
                if !outlet.backlog.take(bytes) {
                    return self.give_up("the guest sent more output than it may".to_owned());
                }
                self.flush(outbox)
            }
            StreamFrame::Grant(Stream::Input, count) => {
                if let Some(allowance) = &mut self.input {
                    allowance.grant(count);
                }
                Flow::Continue
            }
            StreamFrame::Closed(Stream::Input) => {
                self.input = None;
                Flow::Continue
            }
            _ => self.give_up("the guest sent a part of a stream out of turn".to_owned()),
        }
    }

    /// Writes what the caller's descriptors take, and grants the guest as much.
    fn flush(&mut self, outbox: &mut Outbox) -> Flow {
        let at_terminal = self.at_terminal;
        let mut end = None;
        for outlet in [&mut self.output, &mut self.error] {
            let flushed = outlet.flush();
            let stream = outlet.stream;
            if let Some(more) = outlet.backlog.grant() {
                outbox.send(&StreamFrame::Grant(stream, more).to_frame());
            }
            match flushed {
                Ok(()) => {}
                Err(Stopped::Gone | Stopped::Failed(Errno::IO)) if at_terminal => {
                    end = Some(ShellEnd::HungUp);
                }
                Err(Stopped::Gone) => outbox.send(&StreamFrame::Closed(stream).to_frame()),
                Err(Stopped::Failed(errno)) => end = Some(failed(stream, errno)),
            }
        }
        if let Some(end) = end {
            return self.stop(end);
        }
        if let Some(console) = &mut self.console {
            // Nothing depends on its reader.
            let _ = console.flush();
            let _ = console.backlog.grant();
        }
        Flow::Continue
    }

    /// Sends input, as much as the guest takes.
    fn read_input(&mut self, outbox: &mut Outbox) -> Flow {
        for _ in 0..PARTS {
            let Some(allowance) = self.input.as_mut().filter(|_| self.started) else {
                break;
            };
            let most = allowance.next();
            if most == 0 || outbox.pending() > QUEUE || !is_readable(self.streams.input) {
                break;
            }
            let buffer = &mut self.buffer[..most];
            match retry_on_intr(|| rustix::io::read(self.streams.input, &mut *buffer)) {
                // A terminal at its end has hung up: what a person types as the end is a character in raw mode.
                Ok(0) | Err(Errno::IO) if self.at_terminal => return self.stop(ShellEnd::HungUp),
                Ok(0) => {
                    self.input = None;
                    outbox.send(&StreamFrame::End(Stream::Input).to_frame());
                }
                Ok(count) => {
                    allowance.spend(count);
                    let typed = &self.buffer[..count];
                    outbox.send(&StreamFrame::Data(Stream::Input, typed).to_frame());
                    if self.at_terminal && self.escape.is_in(typed, Instant::now()) {
                        return self.stop(ShellEnd::Escaped);
                    }
                }
                Err(Errno::AGAIN) => break,
                Err(errno) => return self.stop(failed(Stream::Input, errno)),
            }
        }
        self.queued = outbox.pending();
        Flow::Continue
    }

    fn pass_control(&mut self, outbox: &mut Outbox) {
        let waiting = self.streams.control.take();
        if let Some(size) = waiting.size {
            outbox.send(&StreamFrame::Resize(size).to_frame());
        }
        for signal in waiting.signals {
            outbox.send(&StreamFrame::Signal(signal).to_frame());
        }
    }

    fn stop(&mut self, end: ShellEnd) -> Flow {
        self.ended = Some(self.start.elapsed());
        self.end = Some(end);
        Flow::Stop
    }

    fn give_up(&mut self, why: String) -> Flow {
        self.garbled = Some(why);
        Flow::Stop
    }

    /// Writes what the guest wrote before its end, for as long as that takes, or until `cancel` is cancelled.
    pub(super) fn finish(&mut self, cancel: &CancelToken) -> Result<(), RunError> {
        let is_nobody_there = matches!(self.end, Some(ShellEnd::HungUp | ShellEnd::Escaped));
        let console = self.console.as_mut();
        for outlet in [&mut self.output, &mut self.error]
            .into_iter()
            .chain(console)
        {
            while !is_nobody_there && !outlet.backlog.is_empty() {
                match outlet.flush() {
                    Ok(()) | Err(Stopped::Gone) => {}
                    Err(Stopped::Failed(errno)) => {
                        let end = failed(outlet.stream, errno);
                        self.end = Some(end);
                    }
                }
                if let Some(interest) = outlet.interest() {
                    let mut fds = [
                        PollFd::new(cancel, PollFlags::IN),
                        PollFd::from_borrowed_fd(interest.fd, PollFlags::OUT),
                    ];
                    let _ = poll(&mut fds, None);
                    cancel::check(cancel)?;
                }
            }
        }
        Ok(())
    }
}

fn failed(stream: Stream, errno: Errno) -> ShellEnd {
    ShellEnd::StreamFailed {
        stream: match stream {
            Stream::Input => "standard input",
            Stream::Output => "standard output",
            Stream::Error => "standard error",
        },
        source: errno,
    }
}

fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    retry_on_intr(|| poll(&mut fds, Some(&now))).is_ok_and(|ready| ready > 0)
}

impl Observer for ShellSession<'_> {
    fn console(&mut self, bytes: &[u8]) {
        self.observer.event(RunEvent::Console(bytes));
        if let Some(console) = &mut self.console
            && console.is_open
        {
            // Only a terminal in raw mode needs them. What does not fit is dropped: the kernel does not wait for a reader.
            let _ = if self.at_terminal {
                console.backlog.take(bytes)
            } else {
                let text: Vec<u8> = bytes.iter().copied().filter(|it| *it != b'\r').collect();
                console.backlog.take(&text)
            };
            let _ = console.flush();
            let _ = console.backlog.grant();
        }
    }

    fn frame(&mut self, frame: Frame, outbox: &mut Outbox) -> Flow {
        let flow = match StreamFrame::of_frame(&frame) {
            Some(Ok(stream)) => self.hear_stream(stream, outbox),
            Some(Err(error)) => self.give_up(error.to_string()),
            None => match from_frame(&frame) {
                Ok(message) => self.hear(message, outbox),
                Err(error) => self.give_up(error.to_string()),
            },
        };
        self.queued = outbox.pending();
        flow
    }

    fn interests(&self) -> Vec<Interest<'_>> {
        let readable = |fd| Interest {
            fd,
            readable: true,
            writable: false,
        };
        let mut interests = Vec::new();
        if self.started {
            interests.push(readable(self.streams.control.as_fd()));
            let may_send = self.input.as_ref().is_some_and(|input| input.next() > 0);
            if may_send && self.queued <= QUEUE {
                interests.push(readable(self.streams.input));
            }
        }
        let outlets = [Some(&self.output), Some(&self.error), self.console.as_ref()];
        interests.extend(outlets.into_iter().flatten().filter_map(Outlet::interest));
        interests
    }

    fn ready(&mut self, outbox: &mut Outbox) -> Flow {
        self.pass_control(outbox);
        match self.flush(outbox) {
            Flow::Continue => self.read_input(outbox),
            Flow::Stop => Flow::Stop,
        }
    }
}

#[cfg(test)]
mod tests;
