//! What the host says to a guest, and what it hears.

use std::io::Write;
use std::time::{Duration, Instant};

use ktstr_vmm::{Flow, Frame, Observer, Outbox};

use crate::protocol::{
    FromGuest, LOG_PART, OUTPUT_LIMIT, Report, ToGuest, VERIFIER_LOG_LIMITS, VerifyReport,
    from_frame, to_frame,
};

/// What is kept of a scheduler's log that comes in parts.
const SCHEDULER_LOG_ROOM: usize = VERIFIER_LOG_LIMITS.0 + VERIFIER_LOG_LIMITS.1 + LOG_PART;

/// One guest's run, from "ready" to the report.
#[derive(Debug)]
pub(super) struct Conversation {
    request: ToGuest,
    verbose: bool,
    start: Instant,
    output_room: usize,
    scheduler_log: String,
    /// When the guest was ready, from the start.
    pub ready: Option<Duration>,
    /// When the body was about to run, from the start.
    pub started: Option<Duration>,
    /// When the report came, from the start.
    pub reported: Option<Duration>,
    /// Release of the guest's kernel.
    pub kernel_release: Option<String>,
    /// The report.
    pub report: Option<Report>,
    /// The report of a cell of the verifier sweep.
    pub verified: Option<VerifyReport>,
    /// How the guest broke the protocol.
    pub garbled: Option<String>,
}

impl Conversation {
    /// A conversation that will have the guest do `request`; `verbose` shows its console as it comes.
    pub(super) fn new(request: ToGuest, verbose: bool) -> Self {
        let output_room = match &request {
            // That of a test that is run again was there already.
            ToGuest::Run(spec) if spec.probes.is_none() => 2 * OUTPUT_LIMIT,
            ToGuest::Run(_) | ToGuest::Verify(_) => 0,
        };
        Self {
            request,
            verbose,
            start: Instant::now(),
            // The guest bounds its output itself; it is not believed.
            output_room,
            scheduler_log: String::new(),
            ready: None,
            started: None,
            reported: None,
            kernel_release: None,
            report: None,
            verified: None,
            garbled: None,
        }
    }

    fn hear(&mut self, message: FromGuest, outbox: &mut Outbox) -> Flow {
        let now = self.start.elapsed();
        match message {
            FromGuest::Ready { kernel_release } if self.ready.is_none() => {
                self.ready = Some(now);
                self.kernel_release = Some(kernel_release);
                outbox.send(&to_frame(&self.request));
                Flow::Continue
            }
            FromGuest::Started if self.ready.is_some() && self.started.is_none() => {
                self.started = Some(now);
                Flow::Continue
            }
            FromGuest::Output(text) if self.started.is_some() => {
                let kept = text.len().min(self.output_room);
                self.output_room -= kept;
                // A reader that went away is no concern of the test's.
                let _ = std::io::stdout().write_all(&text.as_bytes()[..kept]);
                Flow::Continue
            }
            FromGuest::Report(report) if self.ready.is_some() => {
                self.reported = Some(now);
                self.report = Some(report);
                Flow::Stop
            }
            FromGuest::SchedulerLog(part) if self.ready.is_some() => {
                // Bounded like the output.
                if self.scheduler_log.len() + part.len() <= SCHEDULER_LOG_ROOM {
                    self.scheduler_log.push_str(&part);
                }
                Flow::Continue
            }
            FromGuest::Verified(mut report) if self.ready.is_some() => {
                self.reported = Some(now);
                report.scheduler.log = std::mem::take(&mut self.scheduler_log);
                self.verified = Some(report);
                Flow::Stop
            }
            early => self.give_up(format!(
                "the guest sent a message out of turn: {}",
                kind(&early)
            )),
        }
    }

    fn give_up(&mut self, why: String) -> Flow {
        self.garbled = Some(why);
        Flow::Stop
    }
}

fn kind(message: &FromGuest) -> &'static str {
    match message {
        FromGuest::Ready { .. } => "Ready",
        FromGuest::Started => "Started",
        FromGuest::Output(_) => "Output",
        FromGuest::Report(_) => "Report",
        FromGuest::SchedulerLog(_) => "SchedulerLog",
        FromGuest::Verified(_) => "Verified",
    }
}

impl Observer for Conversation {
    fn console(&mut self, bytes: &[u8]) {
        if self.verbose {
            let _ = std::io::stderr().write_all(bytes);
        }
    }

    fn frame(&mut self, frame: Frame, outbox: &mut Outbox) -> Flow {
        match from_frame(&frame) {
            Ok(message) => self.hear(message, outbox),
            Err(error) => self.give_up(error.to_string()),
        }
    }
}
