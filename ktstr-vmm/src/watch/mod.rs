//! Finds out whether a guest is still alive, from its console output and from the state of its CPUs.
//!
//! A kernel that panics prints a message, stops all CPUs but one, and resets the machine if its command line says so
//! (`panic=-1`). Otherwise it spins forever, and the run must not wait for a deadline then. The message alone proves
//! nothing, as a program can write it to `/dev/kmsg` or the console. So the state of the CPUs is sampled after it: in a
//! kernel that panicked, no CPU runs a program or waits for an interrupt any more.
//!
//! A guest can also stop without a message, with all CPUs halted and interrupts off. The CPUs of a silent guest are
//! sampled for that, at growing intervals.

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::hypervisor::CpuActivity;

/// The kernel's message when it panics (`kernel/panic.c`).
const PANIC: &[u8] = b"Kernel panic - not syncing: ";

/// How many bytes of a console line are examined.
const MAX_LINE: usize = 1024;

/// Time of silence after which the CPUs of a guest are sampled.
const SILENCE: Duration = Duration::from_secs(1);

/// Longest time between two samples of a silent guest.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Time between two samples of a guest that seems dead.
const SOON: Duration = Duration::from_millis(100);

/// How long the console must be silent before running CPUs disprove a panic: the kernel prints most of its report before
/// it stops them.
const SETTLED: Duration = Duration::from_millis(500);

/// Samples in a row without a sign of life that confirm a panic.
const DEAD_LOOKS: u32 = 15;

/// Samples with a sign of life that disprove a panic.
const LIVE_LOOKS: u32 = 3;

/// Samples in a row with all CPUs stopped that confirm a halt.
const STOPPED_LOOKS: u32 = 3;

/// How long a kernel may print its report of a panic.
const REPORT_LIMIT: Duration = Duration::from_secs(30);

/// How long to wait for the answer to a sample.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The most messages of disproved panics to keep.
const MAX_FALSE_ALARMS: usize = 3;

/// A guest that will do nothing any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GuestDeath {
    /// Its kernel panicked, with these words.
    Panic(String),
    /// All of its CPUs halted.
    Halted,
}

/// Watches a guest. Times are from the start of the machine.
#[derive(Debug)]
pub(crate) struct Watch {
    /// The current console line, as far as it is examined.
    line: Vec<u8>,
    suspicion: Option<Suspicion>,
    false_alarms: Vec<String>,
    /// When the console or the channel last received something.
    last_sign: Duration,
    next_look: Duration,
    pause: Duration,
    /// Samples in a row without an answer, and with all CPUs stopped.
    unanswered: u32,
    stopped: u32,
}

/// A message of a panic that is not confirmed yet.
#[derive(Debug)]
struct Suspicion {
    words: String,
    since: Duration,
    dead: u32,
    live: u32,
}

impl Watch {
    /// For a machine that starts now.
    pub(crate) fn new() -> Self {
        Self {
            line: Vec::new(),
            suspicion: None,
            false_alarms: Vec::new(),
            last_sign: Duration::ZERO,
            next_look: SILENCE,
            pause: SILENCE,
            unanswered: 0,
            stopped: 0,
        }
    }

    /// Notes that the console printed `bytes`.
    pub(crate) fn console(&mut self, bytes: &[u8], now: Duration) {
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let room = MAX_LINE.saturating_sub(self.line.len()).min(piece.len());
            self.line.extend_from_slice(&piece[..room]);
            if pieces.peek().is_some() {
                self.end_line(now);
            }
        }
        self.sign(now);
    }

    /// Notes that the guest sent a frame.
    pub(crate) fn frame(&mut self, now: Duration) {
        // One that came right after the words may have been on its way before.
        let is_later = |suspicion: &Suspicion| now >= suspicion.since + SILENCE;
        if self.suspicion.as_ref().is_some_and(is_later) {
            self.dismiss();
        }
        self.sign(now);
    }

    /// When to sample the CPUs next.
    pub(crate) fn next_look(&self) -> Duration {
        self.next_look
    }

    /// Judges a sample whose answer has come.
    pub(crate) fn looked(
        &mut self,
        states: Option<&[CpuActivity]>,
        now: Duration,
    ) -> Option<GuestDeath> {
        let silent = now.saturating_sub(self.last_sign);
        // An answer about no CPU tells nothing.
        let Some(states) = states.filter(|states| !states.is_empty()) else {
            return self.no_answer(silent, now);
        };
        self.unanswered = 0;
        self.next_look = now + SOON;
        if states.iter().all(|state| *state == CpuActivity::Stopped) {
            self.stopped += 1;
            let is_dead = self.stopped >= STOPPED_LOOKS && silent >= SETTLED;
            return is_dead.then(|| self.panic().map_or(GuestDeath::Halted, GuestDeath::Panic));
        }
        self.stopped = 0;
        let lives = |state: &CpuActivity| matches!(state, CpuActivity::Program | CpuActivity::Idle);
        let is_alive = states.iter().any(lives);
        let Some(suspicion) = &mut self.suspicion else {
            self.next_look = now + self.pause;
            self.pause = (2 * self.pause).min(MAX_PAUSE);
            return None;
        };
        if is_alive {
            suspicion.dead = 0;
            suspicion.live += u32::from(silent >= SETTLED);
            if suspicion.live >= LIVE_LOOKS {
                self.dismiss();
            }
            return None;
        }
        suspicion.dead += 1;
        let is_silent = silent >= SOON * DEAD_LOOKS;
        let has_said_enough = is_silent || now >= suspicion.since + REPORT_LIMIT;
        (suspicion.dead >= DEAD_LOOKS && has_said_enough)
            .then(|| GuestDeath::Panic(suspicion.words.clone()))
    }

    /// Notes that a sample has no answer yet. If that lasts, a panic that was not confirmed counts as one.
    fn no_answer(&mut self, silent: Duration, now: Duration) -> Option<GuestDeath> {
        self.unanswered += 1;
        // The answer to a first look comes by the second.
        let pause = if self.unanswered < 5 {
            SOON
        } else {
            self.pause
        };
        self.next_look = now + pause;
        let suspicion = self.suspicion.as_ref();
        suspicion
            .filter(|_| silent >= ANSWER_LIMIT)
            .map(|suspicion| GuestDeath::Panic(suspicion.words.clone()))
    }

    /// The message of the panic that the kernel is assumed to be in.
    pub(crate) fn panic(&self) -> Option<String> {
        let unfinished = || panic_words(&self.line);
        let suspicion = self.suspicion.as_ref().map(|it| it.words.clone());
        suspicion.or_else(unfinished)
    }

    /// Messages of panics after which the guest ran on.
    pub(crate) fn false_alarms(&mut self) -> Vec<String> {
        std::mem::take(&mut self.false_alarms)
    }

    /// Notes a sign of life: the guest need not be sampled for a while.
    fn sign(&mut self, now: Duration) {
        self.last_sign = now;
        self.pause = SILENCE;
        self.stopped = 0;
        self.unanswered = 0;
        let pause = if self.suspicion.is_some() {
            SOON
        } else {
            SILENCE
        };
        // Somebody who says much must not put a look off for good.
        self.next_look = match &self.suspicion {
            Some(_) => self.next_look.min(now + pause),
            None => now + pause,
        };
    }

    fn end_line(&mut self, now: Duration) {
        let words = panic_words(&self.line);
        self.line.clear();
        // A panic may have others within: the first one is the cause.
        if let (Some(words), None) = (words, &self.suspicion) {
            self.suspicion = Some(Suspicion {
                words,
                since: now,
                dead: 0,
                live: 0,
            });
        }
    }

    fn dismiss(&mut self) {
        let words = self.suspicion.take().map(|it| it.words);
        let room = MAX_FALSE_ALARMS.saturating_sub(self.false_alarms.len());
        self.false_alarms.extend(words.into_iter().take(room));
    }
}

/// The reason of a panic in this line. The last line of the report (`---[ end Kernel panic …`) repeats it.
fn panic_words(line: &[u8]) -> Option<String> {
    let at = line
        .windows(PANIC.len())
        .position(|window| window == PANIC)?;
    let words = String::from_utf8_lossy(&line[at + PANIC.len()..]);
    let words = words.trim();
    Some(
        words
            .strip_suffix("]---")
            .unwrap_or(words)
            .trim()
            .to_owned(),
    )
}
