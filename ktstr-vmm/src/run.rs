//! The loop that runs a machine, the same for every backend.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::os::fd::AsFd;

use crate::cancel::CancelToken;
use crate::channel::FrameDecoder;
use crate::console::BoundedLog;
use crate::error::MachineError;
use crate::exit::{Diagnostic, ExitReason, GuestActivity, KernelPanic, MachineExit, Timings};
use crate::hypervisor::{Hypervisor, MachineEnd, RunningMachine};
use crate::observer::{Flow, Observer, Outbox};
use crate::spec::MachineSpec;
use crate::stream::{self, Got};
use crate::watch::{GuestDeath, Watch};

/// Bytes of one read. Deadlines are checked between reads, so a guest that floods its output gains no time.
const CHUNK: usize = 64 << 10;

pub(crate) fn run(
    spec: &MachineSpec,
    hypervisor: &dyn Hypervisor,
    cancel: &CancelToken,
    observer: &mut dyn Observer,
) -> Result<MachineExit, MachineError> {
    let start = Instant::now();
    let mut vm = hypervisor.start(spec)?;
    let mut run = Run {
        start,
        observer,
        console: BoundedLog::console(),
        watch: Watch::new(),
        last_console: None,
        last_frame: None,
        console_open: true,
        channel_open: true,
        decoder: FrameDecoder::new(),
        outbox: Outbox::default(),
        timings: Timings {
            started: start.elapsed(),
            ..Timings::default()
        },
        buffer: vec![0; CHUNK],
    };
    let mut reason = run.until_end(spec, vm.as_mut(), cancel)?;
    run.timings.decided = start.elapsed();
    let backend_version = vm.version();
    let mut diagnostics = vm.end();
    run.timings.end = start.elapsed();
    let alarms = run.watch.false_alarms();
    diagnostics.extend(alarms.iter().map(|words| Diagnostic::panic_words(words)));
    let console = run.console.into_bytes();
    if let ExitReason::BootDeadline(activity) | ExitReason::Deadline(activity) = &mut reason {
        activity.last_lines = GuestActivity::last_lines(&console);
    }
    Ok(MachineExit {
        reason,
        console,
        timings: run.timings,
        diagnostics,
        backend_version,
    })
}

struct Run<'o> {
    start: Instant,
    observer: &'o mut dyn Observer,
    console: BoundedLog,
    watch: Watch,
    /// When the console last printed something, and when the last frame came.
    last_console: Option<Duration>,
    last_frame: Option<Duration>,
    console_open: bool,
    channel_open: bool,
    decoder: FrameDecoder,
    outbox: Outbox,
    timings: Timings,
    buffer: Vec<u8>,
}

/// What is ready after a wait.
#[derive(Debug, Clone, Copy, Default)]
struct Ready {
    cancel: bool,
    console: bool,
    channel: bool,
    signals: bool,
    observer: bool,
}

/// The result of reading the channel.
enum ChannelRead {
    /// Some bytes; there may be more.
    Some,
    /// Nothing for now, or ever again.
    Nothing,
    /// What ends the run.
    End(ExitReason),
}

impl Run<'_> {
    fn until_end(
        &mut self,
        spec: &MachineSpec,
        vm: &mut dyn RunningMachine,
        cancel: &CancelToken,
    ) -> Result<ExitReason, MachineError> {
        loop {
            let elapsed = self.start.elapsed();
            let booting = self.timings.first_frame.is_none();
            if elapsed >= spec.deadline {
                return Ok(self.too_late(elapsed, ExitReason::Deadline));
            }
            if booting && elapsed >= spec.boot_deadline {
                return Ok(self.too_late(elapsed, ExitReason::BootDeadline));
            }
            let deadline = if booting {
                spec.boot_deadline.min(spec.deadline)
            } else {
                spec.deadline
            };
            let limit = deadline.min(self.watch.next_look());
            let ready = self.wait(vm, cancel, limit.saturating_sub(elapsed))?;
            if ready.cancel {
                return Ok(ExitReason::Cancelled);
            }
            if ready.console {
                self.read_console(vm)?;
            }
            if ready.channel {
                if let ChannelRead::End(reason) = self.read_channel(vm)? {
                    return Ok(reason);
                }
                self.write_channel(vm)?;
            }
            if ready.observer {
                let flow = self.observer.ready(&mut self.outbox);
                if let Some(reason) = self.ends(flow)? {
                    return Ok(reason);
                }
            }
            if ready.signals
                && let Some(ended) = vm.poll_end()?
            {
                return self.last_words(vm, ended);
            }
            if let Some(reason) = self.look(vm)? {
                return Ok(reason);
            }
        }
    }

    /// Samples the guest's CPUs when it is time to.
    fn look(&mut self, vm: &mut dyn RunningMachine) -> Result<Option<ExitReason>, MachineError> {
        if self.start.elapsed() < self.watch.next_look() {
            return Ok(None);
        }
        let activity = vm.cpu_activity()?;
        let death = self.watch.looked(activity.as_deref(), self.start.elapsed());
        Ok(death.map(|death| match death {
            GuestDeath::Panic(words) => ExitReason::KernelPanic(KernelPanic::new(&words, false)),
            GuestDeath::Halted => ExitReason::Halted,
        }))
    }

    /// The end of a run whose time is up.
    fn too_late(&self, now: Duration, reason: fn(GuestActivity) -> ExitReason) -> ExitReason {
        // A kernel that may have panicked is not one that runs on.
        if let Some(words) = self.watch.panic() {
            return ExitReason::KernelPanic(KernelPanic::new(&words, false));
        }
        let since = |when: Option<Duration>| Some(now.saturating_sub(when?));
        reason(GuestActivity {
            ready: self.timings.first_frame.is_some(),
            channel_silent: since(self.last_frame),
            console_silent: since(self.last_console),
            last_lines: Vec::new(),
        })
    }

    /// Waits until something is ready or `limit` is over.
    fn wait(
        &self,
        vm: &dyn RunningMachine,
        cancel: &CancelToken,
        limit: Duration,
    ) -> Result<Ready, MachineError> {
        let sending = !self.outbox.encoder.is_empty();
        let mut channel_events = PollFlags::IN;
        channel_events.set(PollFlags::OUT, sending);
        let mut fds = vec![PollFd::from_borrowed_fd(cancel.as_fd(), PollFlags::IN)];
        // A stream at its end would be ready all the time: it is left out.
        let console = self.console_open.then(|| {
            fds.push(PollFd::from_borrowed_fd(vm.console(), PollFlags::IN));
            fds.len() - 1
        });
        let channel = self.channel_open.then(|| {
            fds.push(PollFd::from_borrowed_fd(vm.channel(), channel_events));
            fds.len() - 1
        });
        let first_signal = fds.len();
        for fd in vm.signals() {
            fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
        }
        let first_interest = fds.len();
        for interest in self.observer.interests() {
            fds.push(PollFd::from_borrowed_fd(interest.fd, interest.events()));
        }
        match poll(&mut fds, Timespec::try_from(limit).ok().as_ref()) {
            // A signal only makes the deadlines be checked again.
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(MachineError::host("poll")(errno)),
        }
        let ready = |index: usize| !fds[index].revents().is_empty();
        Ok(Ready {
            cancel: ready(0),
            console: console.is_some_and(ready),
            channel: channel.is_some_and(ready),
            signals: (first_signal..first_interest).any(ready),
            observer: (first_interest..fds.len()).any(ready),
        })
    }

    /// Reads once from the console; false when nothing was there.
    fn read_console(&mut self, vm: &dyn RunningMachine) -> Result<bool, MachineError> {
        let got = stream::read(vm.console(), &mut self.buffer)
            .map_err(MachineError::host("reading the guest's console"))?;
        match got {
            Got::Bytes(count) => {
                let now = self.start.elapsed();
                self.timings.first_console.get_or_insert(now);
                self.last_console = Some(now);
                let bytes = &self.buffer[..count];
                self.console.push(bytes);
                self.watch.console(bytes, now);
                self.observer.console(bytes);
            }
            Got::Nothing => {}
            Got::End => self.console_open = false,
        }
        Ok(matches!(got, Got::Bytes(_)))
    }

    /// Reads once from the channel and hands whole frames to the observer.
    fn read_channel(&mut self, vm: &dyn RunningMachine) -> Result<ChannelRead, MachineError> {
        let got = stream::read(vm.channel(), &mut self.buffer)
            .map_err(MachineError::host("reading the guest's channel"))?;
        let count = match got {
            Got::Bytes(count) => count,
            Got::Nothing => return Ok(ChannelRead::Nothing),
            Got::End => {
                self.channel_open = false;
                return Ok(ChannelRead::Nothing);
            }
        };
        self.decoder.push(&self.buffer[..count]);
        loop {
            let frame = match self.decoder.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(ChannelRead::Some),
                Err(error) => return Ok(ChannelRead::End(ExitReason::Garbled(error))),
            };
            let now = self.start.elapsed();
            self.timings.first_frame.get_or_insert(now);
            self.last_frame = Some(now);
            self.watch.frame(now);
            let flow = self.observer.frame(frame, &mut self.outbox);
            if let Some(reason) = self.ends(flow)? {
                return Ok(ChannelRead::End(reason));
            }
        }
    }

    /// Whether the observer ended the run, by what it returned or by what it wanted to send.
    fn ends(&mut self, flow: Flow) -> Result<Option<ExitReason>, MachineError> {
        if let Some(error) = self.outbox.refused.take() {
            return Err(error.into());
        }
        Ok((flow == Flow::Stop).then_some(ExitReason::Stopped))
    }

    /// Writes as much to the guest as it takes.
    fn write_channel(&mut self, vm: &dyn RunningMachine) -> Result<(), MachineError> {
        let encoder = &mut self.outbox.encoder;
        if encoder.is_empty() {
            return Ok(());
        }
        let written = stream::write(vm.channel(), encoder.bytes())
            .map_err(MachineError::host("writing to the guest's channel"))?;
        match written {
            Some(count) => encoder.consume(count),
            // Nobody is left to read it; the end of the machine will be seen for itself.
            None => encoder.consume(usize::MAX),
        }
        Ok(())
    }

    /// Reads the rest of the output of a machine that ended: the observer may have waited for it.
    fn last_words(
        &mut self,
        vm: &dyn RunningMachine,
        ended: MachineEnd,
    ) -> Result<ExitReason, MachineError> {
        while self.console_open && self.read_console(vm)? {}
        while self.channel_open {
            match self.read_channel(vm)? {
                ChannelRead::Some => {}
                ChannelRead::Nothing => break,
                ChannelRead::End(reason) => return Ok(reason),
            }
        }
        Ok(match ended {
            MachineEnd::PoweredOff => ExitReason::PoweredOff,
            // A panicking kernel resets the machine: that is what `panic=-1` asks it to do.
            MachineEnd::Reset => match self.watch.panic() {
                Some(words) => ExitReason::KernelPanic(KernelPanic::new(&words, true)),
                None => ExitReason::Reset,
            },
            MachineEnd::Crashed(why) => ExitReason::Crashed(why),
        })
    }
}
