//! Lines, where no terminal shows bars.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ktstr_kernel::Stage;

use super::figures::{about, duration, mib};
use super::{Unit, View};

/// How often a line tells how far a step is.
const EVERY: Duration = Duration::from_secs(10);

/// When lines are due: of the step, and of each transfer.
#[derive(Default)]
pub(super) struct Lines {
    step: Option<LineTimer>,
    /// By the names of the files.
    transfers: HashMap<String, LineTimer>,
}

impl View for Lines {
    fn started(&mut self, stage: Stage, total: Option<u64>, now: Instant) -> Option<String> {
        self.step = Some(LineTimer::new(0, total, now));
        Some(match total {
            Some(steps) if stage == Stage::Compile => format!("{stage} (about {steps} steps)"),
            _ => stage.to_string(),
        })
    }

    fn advanced(
        &mut self,
        stage: Stage,
        done: u64,
        _: Option<&str>,
        now: Instant,
    ) -> Option<String> {
        let how_far = self.step.as_mut()?.due(done, now)?;
        Some(format!("{stage}: {}", how_far.text(Unit::of(stage))))
    }

    fn finished(&mut self) {}

    fn transfer_started(
        &mut self,
        name: &str,
        done: u64,
        total: Option<u64>,
        now: Instant,
    ) -> Option<String> {
        let timer = LineTimer::new(done, total, now);
        self.transfers.insert(name.to_owned(), timer);
        Some(match (done, total) {
            (0, None) => format!("fetching {name}"),
            (0, Some(total)) => format!("fetching {name} ({})", mib(total)),
            (done, _) => format!("resuming {name} at {}", mib(done)),
        })
    }

    fn transfer_advanced(&mut self, name: &str, done: u64, now: Instant) -> Option<String> {
        let how_far = self.transfers.get_mut(name)?.due(done, now)?;
        Some(format!("{name}: {}", how_far.text(Unit::Rate)))
    }

    fn transfer_ended(&mut self, name: &str) {
        self.transfers.remove(name);
    }

    fn aside(&self, print: &mut dyn FnMut()) {
        print();
    }
}

/// Decides when a line is due: every ten seconds. Short steps end before there is anything to tell.
struct LineTimer {
    total: Option<u64>,
    /// When it began, and how much there was then.
    start: (Instant, u64),
    last: Instant,
}

/// How far a step is.
#[derive(Debug, PartialEq, Eq)]
struct HowFar {
    done: u64,
    total: Option<u64>,
    /// What this run did of it, and in which time.
    run: (u64, Duration),
}

impl LineTimer {
    fn new(done: u64, total: Option<u64>, now: Instant) -> Self {
        Self {
            total: total.filter(|total| *total > 0),
            start: (now, done),
            last: now,
        }
    }

    fn due(&mut self, done: u64, now: Instant) -> Option<HowFar> {
        if now.saturating_duration_since(self.last) < EVERY {
            return None;
        }
        self.last = now;
        // An estimate that was too low is no news.
        let total = self.total.filter(|total| done <= *total);
        let (start, before) = self.start;
        let run = (
            done.saturating_sub(before),
            now.saturating_duration_since(start),
        );
        Some(HowFar { done, total, run })
    }
}

impl HowFar {
    /// How much this run did in a second.
    fn rate(&self) -> u64 {
        let (done, took) = self.run;
        done / took.as_secs().max(1)
    }

    /// How long the rest takes where it goes on as it did, rounded up to a second.
    fn left(&self) -> Option<Duration> {
        let (done, took) = self.run;
        let left = u128::from(self.total? - self.done) * took.as_millis();
        let millis = left.checked_div(u128::from(done))?;
        let seconds = u64::try_from(millis.div_ceil(1000)).ok()?;
        Some(Duration::from_secs(seconds))
    }

    fn text(&self, unit: Unit) -> String {
        let percent = self
            .total
            .map(|total| format!("{} %", u128::from(self.done) * 100 / u128::from(total)));
        match (percent, unit) {
            (Some(percent), Unit::Bytes | Unit::Nothing) => percent,
            (None, Unit::Bytes) => mib(self.done),
            (percent, Unit::Rate) => {
                let how_far = percent.unwrap_or_else(|| mib(self.done));
                let left = self.left().map(|left| left.max(Duration::from_secs(1)));
                let left = left.map_or(String::new(), |left| format!(", {} left", duration(left)));
                format!("{how_far}, {} a second{left}", mib(self.rate()))
            }
            (Some(percent), Unit::Steps) => {
                // Both the total and the time are estimates, and what comes first tells little of the rest.
                let known = self.total.is_some_and(|total| self.done >= total / 50);
                let left = self.left().filter(|left| known && !left.is_zero());
                let left = left.map_or(String::new(), |left| {
                    format!(", about {} left", about(left))
                });
                format!("{} steps, {percent}{left}", self.done)
            }
            (None, Unit::Steps | Unit::Nothing) => format!("{} steps", self.done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_every_ten_seconds() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut timer = LineTimer::new(0, Some(200), start);
        let due = |timer: &mut LineTimer, done, seconds, unit| {
            let how_far = timer.due(done, at(seconds))?;
            Some(how_far.text(unit))
        };
        let steps = Unit::Steps;
        assert_eq!(due(&mut timer, 190, 9, steps), None);
        assert_eq!(
            due(&mut timer, 191, 10, steps).as_deref(),
            Some("191 steps, 95 %, about 1 s left")
        );
        assert_eq!(due(&mut timer, 199, 19, steps), None);
        assert_eq!(
            due(&mut timer, 300, 20, steps).as_deref(),
            Some("300 steps")
        );
        let mut unknown = LineTimer::new(0, Some(0), start);
        assert_eq!(due(&mut unknown, 5, 10, steps).as_deref(), Some("5 steps"));
        // A kernel's first build: the rate of this run tells the rest.
        let mut build = LineTimer::new(0, Some(1900), start);
        assert_eq!(
            due(&mut build, 38, 10, steps).as_deref(),
            Some("38 steps, 2 %, about 8m 10s left")
        );
        assert_eq!(
            due(&mut build, 950, 200, steps).as_deref(),
            Some("950 steps, 50 %, about 3m 20s left")
        );
        assert_eq!(
            due(&mut build, 1900, 400, steps).as_deref(),
            Some("1900 steps, 100 %")
        );
        // Nothing was done yet, so that nobody knows.
        let mut slow = LineTimer::new(0, Some(1900), start);
        assert_eq!(
            due(&mut slow, 0, 10, steps).as_deref(),
            Some("0 steps, 0 %")
        );
        // Half of it was there before.
        let mut rest = LineTimer::new(50 << 20, Some(100 << 20), start);
        assert_eq!(
            due(&mut rest, 70 << 20, 10, Unit::Rate).as_deref(),
            Some("70 %, 2.0 MiB a second, 15.0 s left")
        );
        let mut endless = LineTimer::new(0, None, start);
        assert_eq!(
            due(&mut endless, 300 << 10, 10, Unit::Rate).as_deref(),
            Some("300 KiB, 30 KiB a second")
        );
    }
}
