//! The host's side of the conversation with a guest.

use std::time::{Duration, Instant};

use ktstr_vmm::{Flow, Frame, Observer, Outbox};

use super::coverage::ReceivedProfiles;
use super::observer::{RunEvent, RunObserver};
use crate::protocol::{
    BodyReport, GuestMessage, GuestRequest, LOG_PART, OUTPUT_LIMIT, TAG_PROFILE,
    VERIFIER_LOG_LIMITS, VerifyReport, from_frame, to_frame,
};

/// What is kept of a scheduler's log that comes in parts.
const SCHEDULER_LOG_ROOM: usize = VERIFIER_LOG_LIMITS.0 + VERIFIER_LOG_LIMITS.1 + LOG_PART;

/// What a guest reports at its end.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum GuestReport {
    /// Of a test.
    Body(BodyReport),
    /// Of a cell of the verifier sweep.
    Verifier(VerifyReport),
}

/// The exchange with one guest, from "ready" to its report.
pub(super) struct GuestSession<'r> {
    request: &'r GuestRequest,
    pub(super) observer: &'r mut dyn RunObserver,
    start: Instant,
    output_room: usize,
    scheduler_log: String,
    /// When the guest was ready, from the start.
    pub(super) ready: Option<Duration>,
    /// Whether the body was about to run.
    started: bool,
    /// When the report came, from the start.
    pub(super) reported: Option<Duration>,
    /// Release of the guest's kernel.
    pub(super) kernel_release: Option<String>,
    /// The report.
    pub(super) report: Option<GuestReport>,
    /// How the guest broke the protocol.
    pub(super) garbled: Option<String>,
    /// Takes the profiles of its programs, where they are measured.
    pub(super) profiles: Option<ReceivedProfiles>,
}

impl<'r> GuestSession<'r> {
    /// A session that will have the guest do `request`.
    pub(super) fn new(
        request: &'r GuestRequest,
        profiles: Option<ReceivedProfiles>,
        observer: &'r mut dyn RunObserver,
    ) -> Self {
        let output_room = match request {
            // That of a test that is run again was there already.
            GuestRequest::Run(spec) if spec.probes.is_none() => 2 * OUTPUT_LIMIT,
            GuestRequest::Run(_) | GuestRequest::Verify(_) | GuestRequest::Shell(_) => 0,
        };
        Self {
            request,
            observer,
            start: Instant::now(),
            // The guest bounds its output itself; it is not believed.
            output_room,
            scheduler_log: String::new(),
            ready: None,
            started: false,
            reported: None,
            kernel_release: None,
            report: None,
            garbled: None,
            profiles,
        }
    }

    fn hear(&mut self, message: GuestMessage, outbox: &mut Outbox) -> Flow {
        match (message, self.request) {
            (GuestMessage::Ready { kernel_release }, request) if self.ready.is_none() => {
                self.ready = Some(self.start.elapsed());
                outbox.send(&to_frame(request));
                let kernel_release = self.kernel_release.insert(kernel_release);
                self.observer.event(RunEvent::GuestReady { kernel_release });
                Flow::Continue
            }
            (GuestMessage::Started, GuestRequest::Run(_))
                if self.ready.is_some() && !self.started =>
            {
                self.started = true;
                self.observer.event(RunEvent::BodyStarted);
                Flow::Continue
            }
            (GuestMessage::Output(text), _) if self.started => {
                let mut kept = text.len().min(self.output_room);
                while !text.is_char_boundary(kept) {
                    kept -= 1;
                }
                self.output_room -= kept;
                if kept > 0 {
                    self.observer.event(RunEvent::BodyOutput(&text[..kept]));
                }
                Flow::Continue
            }
            (GuestMessage::SchedulerLog(part), GuestRequest::Verify(_)) if self.ready.is_some() => {
                // Bounded like the output.
                if self.scheduler_log.len() + part.len() <= SCHEDULER_LOG_ROOM {
                    self.observer.event(RunEvent::SchedulerLog(&part));
                    self.scheduler_log.push_str(&part);
                }
                Flow::Continue
            }
            (GuestMessage::Profile { name, size }, _) if self.profiles.is_some() => {
                self.take_profile(|profiles| profiles.announce(name, size).map(|()| None))
            }
            (GuestMessage::NoProfile { name, why }, _) if self.profiles.is_some() => {
                self.take_profile(|profiles| profiles.refused(&name, &why).map(Some))
            }
            (GuestMessage::Report(report), GuestRequest::Run(_)) if self.ready.is_some() => {
                if let Some(scheduler) = report.scheduler.as_ref().filter(|it| !it.log.is_empty()) {
                    self.observer.event(RunEvent::SchedulerLog(&scheduler.log));
                }
                self.end(GuestReport::Body(report))
            }
            (GuestMessage::Verified(mut report), GuestRequest::Verify(_))
                if self.ready.is_some() =>
            {
                report.scheduler.log = std::mem::take(&mut self.scheduler_log);
                self.end(GuestReport::Verifier(report))
            }
            (early, _) => self.give_up(format!(
                "the guest sent a message out of turn: {}",
                kind(&early)
            )),
        }
    }

    /// Has `take` take something of a profile; it returns a note on one that is left out.
    fn take_profile(
        &mut self,
        take: impl FnOnce(&mut ReceivedProfiles) -> Result<Option<String>, String>,
    ) -> Flow {
        let Some(profiles) = &mut self.profiles else {
            return self.give_up("the guest sent a profile that nobody asked for".to_owned());
        };
        match take(profiles) {
            Ok(note) => {
                if let Some(note) = note {
                    self.observer.event(RunEvent::Note(&note));
                }
                Flow::Continue
            }
            Err(why) => self.give_up(why),
        }
    }

    fn end(&mut self, report: GuestReport) -> Flow {
        self.reported = Some(self.start.elapsed());
        self.report = Some(report);
        self.observer.event(RunEvent::Reported);
        Flow::Stop
    }

    fn give_up(&mut self, why: String) -> Flow {
        self.garbled = Some(why);
        Flow::Stop
    }
}

fn kind(message: &GuestMessage) -> &'static str {
    match message {
        GuestMessage::Ready { .. } => "Ready",
        GuestMessage::Started => "Started",
        GuestMessage::Output(_) => "Output",
        GuestMessage::Report(_) => "Report",
        GuestMessage::SchedulerLog(_) => "SchedulerLog",
        GuestMessage::Profile { .. } => "Profile",
        GuestMessage::NoProfile { .. } => "NoProfile",
        GuestMessage::Verified(_) => "Verified",
        GuestMessage::SchedulerEnded(_) => "SchedulerEnded",
        GuestMessage::ShellEnded(_) => "ShellEnded",
    }
}

impl Observer for GuestSession<'_> {
    fn console(&mut self, bytes: &[u8]) {
        self.observer.event(RunEvent::Console(bytes));
    }

    fn frame(&mut self, frame: Frame, outbox: &mut Outbox) -> Flow {
        if frame.tag == TAG_PROFILE {
            return self.take_profile(|profiles| profiles.part(&frame.payload));
        }
        match from_frame(&frame) {
            Ok(message) => self.hear(message, outbox),
            Err(error) => self.give_up(error.to_string()),
        }
    }
}
