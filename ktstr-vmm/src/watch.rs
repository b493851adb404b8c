//! Whether a guest is still alive, by its console output and by what its CPUs do.
//!
//! A kernel that panics prints its words, stops all CPUs but one and resets the machine where it is told to
//! (`panic=-1`). Where it is not it spins for good: that must not wait for a deadline. The words alone prove nothing, as
//! a program can write them to `/dev/kmsg` or the console. So after them the guest's CPUs are looked at: in a
//! kernel that panicked none of them runs a program or waits for an interrupt ever again.
//!
//! A guest can also stop without a word, with all of its CPUs halted and interrupts off. A guest that is silent is
//! looked at for that, ever more rarely.

use std::time::Duration;

use crate::hypervisor::CpuActivity;

/// The kernel's own words when it gives up (`kernel/panic.c`).
const PANIC: &[u8] = b"Kernel panic - not syncing: ";

/// How much of a console line is looked at.
const MAX_LINE: usize = 1024;

/// A guest that said nothing for so long is looked at.
const SILENCE: Duration = Duration::from_secs(1);

/// Longest time between two looks at a silent guest.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Time between two looks at a guest that seems dead.
const SOON: Duration = Duration::from_millis(100);

/// How long a console must be silent before CPUs that work are proof against the words of a panic: the kernel stops them
/// only after it said most of what it has to say.
const SETTLED: Duration = Duration::from_millis(500);

/// So many looks in a row find no life in a kernel that panicked.
const DEAD_LOOKS: u32 = 15;

/// So many looks find life.
const LIVE_LOOKS: u32 = 3;

/// So many looks in a row find all CPUs stopped.
const STOPPED_LOOKS: u32 = 3;

/// How long a kernel may go on about its panic.
const REPORT_LIMIT: Duration = Duration::from_secs(30);

/// How long answers are waited for.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Most words of panics that were none to be kept.
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
    /// The line that the console is at, as far as it is looked at.
    line: Vec<u8>,
    suspicion: Option<Suspicion>,
    false_alarms: Vec<String>,
    /// When the console or the channel said something last.
    last_sign: Duration,
    next_look: Duration,
    pause: Duration,
    /// Looks in a row that had no answer, and that found all CPUs stopped.
    unanswered: u32,
    stopped: u32,
}

/// Words of a panic that may be true.
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

    /// The console said `bytes`.
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

    /// The guest sent a frame.
    pub(crate) fn frame(&mut self, now: Duration) {
        // One that came right after the words may have been on its way before.
        let is_later = |suspicion: &Suspicion| now >= suspicion.since + SILENCE;
        if self.suspicion.as_ref().is_some_and(is_later) {
            self.dismiss();
        }
        self.sign(now);
    }

    /// When to look at the CPUs next.
    pub(crate) fn next_look(&self) -> Duration {
        self.next_look
    }

    /// Takes what a look found, where the answer has come.
    pub(crate) fn looked(
        &mut self,
        states: Option<&[CpuActivity]>,
        now: Duration,
    ) -> Option<GuestDeath> {
        let silent = now.saturating_sub(self.last_sign);
        // An answer about no processor tells nothing.
        let Some(states) = states.filter(|states| !states.is_empty()) else {
            self.unanswered += 1;
            // The answer to a first look comes by the second.
            self.next_look = now
                + if self.unanswered < 5 {
                    SOON
                } else {
                    self.pause
                };
            let words = self.suspicion.as_ref().map(|it| &it.words);
            return words
                .filter(|_| silent >= ANSWER_LIMIT)
                .map(|words| GuestDeath::Panic(words.clone()));
        };
        self.unanswered = 0;
        self.next_look = now + SOON;
        if states.iter().all(|state| *state == CpuActivity::Stopped) {
            self.stopped += 1;
            if self.stopped >= STOPPED_LOOKS && silent >= SETTLED {
                return Some(self.panic().map_or(GuestDeath::Halted, GuestDeath::Panic));
            }
            return None;
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

    /// The words of the panic that the kernel is taken to be in.
    pub(crate) fn panic(&self) -> Option<String> {
        let unfinished = || panic_words(&self.line);
        let suspicion = self.suspicion.as_ref().map(|it| it.words.clone());
        suspicion.or_else(unfinished)
    }

    /// Words of panics after which the guest ran on.
    pub(crate) fn false_alarms(&mut self) -> Vec<String> {
        std::mem::take(&mut self.false_alarms)
    }

    /// The guest said something: whether it lives is known for a while.
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

/// What a kernel says in this line on why it panics. Its last line (`---[ end Kernel panic …`) says it again.
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

#[cfg(test)]
mod tests {
    use super::*;
    use CpuActivity::{Idle, Kernel, Program, Stopped};

    const WORDS: &[u8] = b"[    1.5] Kernel panic - not syncing: Attempted to kill init!\r\n";

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Looks at a guest that is always like this until something comes of it or `limit` is over; when, and what.
    fn look_on(
        watch: &mut Watch,
        states: &[CpuActivity],
        limit: Duration,
    ) -> (Duration, Option<GuestDeath>) {
        loop {
            let now = watch.next_look();
            if now > limit {
                return (limit, None);
            }
            let death = watch.looked(Some(states), now);
            assert!(watch.next_look() > now, "it looks on and on");
            if death.is_some() {
                return (now, death);
            }
        }
    }

    fn panic() -> GuestDeath {
        GuestDeath::Panic("Attempted to kill init!".to_owned())
    }

    #[test]
    fn words_of_a_panic_are_found_wherever_chunks_end() {
        for at in 0..WORDS.len() {
            let mut watch = Watch::new();
            watch.console(b"boot\n[    1.0] ok\r\n", ms(0));
            watch.console(&WORDS[..at], ms(1));
            watch.console(&WORDS[at..], ms(2));
            watch.console(b"CPU: 0\n", ms(3));
            assert_eq!(watch.panic().map(GuestDeath::Panic), Some(panic()), "{at}");
        }
        for plain in [
            &b""[..],
            b"all is well\n",
            b"Kernel panic\n",
            b"not syncing: x\n",
        ] {
            let mut watch = Watch::new();
            watch.console(plain, ms(0));
            assert_eq!(watch.panic(), None);
        }
        let mut watch = Watch::new();
        // It reset before the end of the line, which came after a very long one.
        watch.console(&b"x".repeat(100_000), ms(0));
        assert!(watch.line.len() <= MAX_LINE);
        watch.console(b"\nKernel panic - not syncing: so", ms(0));
        assert_eq!(watch.panic().as_deref(), Some("so"));
        let end = panic_words(b"[ 2.0] ---[ end Kernel panic - not syncing: so ]---\r");
        assert_eq!(end.as_deref(), Some("so"));
    }

    #[test]
    fn a_kernel_that_panicked_and_stands_is_dead_within_two_seconds() {
        for states in [&[Kernel][..], &[Kernel, Stopped], &[Stopped, Stopped]] {
            let mut watch = Watch::new();
            watch.console(WORDS, ms(1000));
            let (when, death) = look_on(&mut watch, states, ms(600_000));
            assert_eq!(death, Some(panic()));
            assert!(when <= ms(3000), "{when:?}");
        }
    }

    #[test]
    fn its_report_is_waited_for_but_not_for_good() {
        let mut watch = Watch::new();
        watch.console(WORDS, ms(0));
        let mut now = ms(0);
        let ended = loop {
            now += ms(20);
            watch.console(b"Call Trace:\n", now);
            if now >= watch.next_look()
                && let Some(death) = watch.looked(Some(&[Kernel]), now)
            {
                break death;
            }
            assert!(now < ms(60_000), "it waits for good");
        };
        assert_eq!(ended, panic());
        assert!(now >= REPORT_LIMIT);
    }

    #[test]
    fn a_guest_that_lives_is_not_ended_by_words_that_a_program_wrote() {
        for states in [&[Program][..], &[Idle, Stopped], &[Kernel, Idle]] {
            let mut watch = Watch::new();
            watch.console(WORDS, ms(1000));
            assert_eq!(look_on(&mut watch, states, ms(3_600_000)).1, None);
            assert_eq!(watch.panic(), None);
            assert_eq!(watch.false_alarms(), ["Attempted to kill init!"]);
        }
        // One that is mostly in the kernel.
        let mut watch = Watch::new();
        watch.console(WORDS, ms(0));
        for look in 0..200 {
            let states = if look % 10 == 0 { [Program] } else { [Kernel] };
            assert_eq!(watch.looked(Some(&states), watch.next_look()), None);
        }
        assert_eq!(watch.panic(), None);
    }

    #[test]
    fn only_later_frames_are_a_sign_of_life() {
        let mut watch = Watch::new();
        watch.console(WORDS, ms(1000));
        watch.frame(ms(1010));
        assert!(watch.panic().is_some());
        watch.frame(ms(2100));
        assert_eq!(watch.panic(), None);
        // What comes next is taken for itself.
        watch.console(b"Kernel panic - not syncing: other\n", ms(2200));
        assert_eq!(watch.panic().as_deref(), Some("other"));
    }

    #[test]
    fn cpus_that_still_run_while_the_kernel_speaks_are_no_sign_of_life() {
        let mut watch = Watch::new();
        watch.console(WORDS, ms(0));
        for step in 1..100 {
            let now = ms(step * 100);
            watch.console(b"Call Trace:\n", now);
            assert_eq!(watch.looked(Some(&[Kernel, Program]), now), None);
        }
        assert!(watch.panic().is_some());
        assert_eq!(
            look_on(&mut watch, &[Kernel, Stopped], ms(60_000)).1,
            Some(panic())
        );
    }

    #[test]
    fn cpus_that_cannot_be_looked_at_leave_the_words() {
        let mut watch = Watch::new();
        watch.console(WORDS, ms(0));
        let mut death = None;
        while death.is_none() {
            let now = watch.next_look();
            death = watch.looked(None, now);
            assert!(now < ms(20_000));
        }
        assert_eq!(death, Some(panic()));
        let empty: &[CpuActivity] = &[];
        for nothing in [None, Some(empty)] {
            let mut watch = Watch::new();
            for _ in 0..100 {
                assert_eq!(watch.looked(nothing, watch.next_look()), None);
            }
        }
    }

    #[test]
    fn a_guest_that_halted_for_good_is_seen_and_one_that_idles_is_left_alone() {
        let mut watch = Watch::new();
        watch.console(b"[    9.0] reboot: System halted\n", ms(9000));
        let (when, death) = look_on(&mut watch, &[Stopped, Stopped], ms(600_000));
        assert_eq!(death, Some(GuestDeath::Halted));
        assert!(when <= ms(11_000), "{when:?}");

        let mut watch = Watch::new();
        let mut looks = 0;
        while watch.next_look() < ms(600_000) {
            assert_eq!(
                watch.looked(Some(&[Idle, Stopped]), watch.next_look()),
                None
            );
            looks += 1;
        }
        assert!(looks < 20, "{looks} looks in ten minutes");
        // Once is not for good: so it is while firmware starts the CPUs.
        let mut watch = Watch::new();
        assert_eq!(watch.looked(Some(&[Stopped]), ms(1000)), None);
        assert_eq!(watch.looked(Some(&[Kernel]), ms(1100)), None);
        assert_eq!(watch.looked(Some(&[Stopped]), ms(1200)), None);
    }
}
