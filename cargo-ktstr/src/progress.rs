//! Shows what a resolution is doing: a bar on a terminal, lines elsewhere.

use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressStyle};
use ktstr_kernel::{Event, Progress, Stage, Transfer};

use crate::terminal::say;

/// How often a line tells how far a step is, where no bar does.
const EVERY: Duration = Duration::from_secs(10);

/// How often a bar moves by itself.
const TICK: Duration = Duration::from_millis(200);

/// Shows events on standard error.
pub(crate) struct Reporter {
    program: &'static str,
    shown: Mutex<Shown>,
}

enum Shown {
    Bars {
        all: MultiProgress,
        step: ProgressBar,
        /// By the names of the files.
        transfers: HashMap<String, ProgressBar>,
    },
    Lines {
        step: LineTimer,
        /// By the names of the files.
        transfers: HashMap<String, LineTimer>,
    },
}

impl Reporter {
    /// `program` starts every line.
    pub(crate) fn new(program: &'static str) -> Self {
        let shown = if io::stderr().is_terminal() {
            Shown::Bars {
                all: MultiProgress::new(),
                step: ProgressBar::hidden(),
                transfers: HashMap::new(),
            }
        } else {
            Shown::Lines {
                step: LineTimer::new(0, None, Instant::now()),
                transfers: HashMap::new(),
            }
        };
        Self {
            program,
            shown: Mutex::new(shown),
        }
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One line, between the moves of the bars.
    pub(crate) fn line(&self, text: &str) {
        self.line_in(&self.shown(), text);
    }

    fn line_in(&self, shown: &Shown, text: &str) {
        let line = || say(format_args!("{}: {text}", self.program));
        match shown {
            Shown::Bars { all, .. } => all.suspend(line),
            Shown::Lines { .. } => line(),
        }
    }

    fn started(&self, stage: Stage, total: Option<u64>) {
        let shown = &mut *self.shown();
        match shown {
            Shown::Bars { all, step, .. } => {
                *step = begin(all.add(new_bar(stage.to_string(), stage_unit(stage), total)));
            }
            Shown::Lines { step, .. } => {
                *step = LineTimer::new(0, total, Instant::now());
                let text = match total {
                    Some(steps) if stage == Stage::Compile => {
                        format!("{stage} (about {steps} steps)")
                    }
                    _ => stage.to_string(),
                };
                self.line_in(shown, &text);
            }
        }
    }

    fn advanced(&self, stage: Stage, done: u64, what: Option<&str>) {
        let shown = &mut *self.shown();
        match shown {
            Shown::Bars { step, .. } => {
                // Totals may be estimates.
                if step.length().is_some_and(|total| done > total) {
                    step.set_length(done);
                }
                step.set_position(done);
                step.set_message(what.unwrap_or_default().to_owned());
            }
            Shown::Lines { step, .. } => {
                if let Some(how_far) = step.due(done, Instant::now()) {
                    let text = format!("{stage}: {}", how_far.text(stage_unit(stage)));
                    self.line_in(shown, &text);
                }
            }
        }
    }

    fn finished(&self, stage: Stage, took: Duration) {
        let shown = &*self.shown();
        if let Shown::Bars { step, .. } = shown {
            step.finish_and_clear();
        }
        self.line_in(shown, &format!("{stage} took {}", duration(took)));
    }

    fn transfer(&self, name: &str, state: Transfer<'_>) {
        let shown = &mut *self.shown();
        let text = match (&mut *shown, state) {
            (Shown::Bars { all, transfers, .. }, Transfer::Started { done, total }) => {
                let bar = begin(all.add(new_bar(name.to_owned(), Unit::Rate, total)));
                bar.set_position(done);
                // What is there already took no time now.
                bar.reset_eta();
                if let Some(old) = transfers.insert(name.to_owned(), bar) {
                    old.finish_and_clear();
                }
                return;
            }
            (Shown::Lines { transfers, .. }, Transfer::Started { done, total }) => {
                let timer = LineTimer::new(done, total, Instant::now());
                transfers.insert(name.to_owned(), timer);
                match (done, total) {
                    (0, None) => format!("fetching {name}"),
                    (0, Some(total)) => format!("fetching {name} ({})", mib(total)),
                    (done, _) => format!("resuming {name} at {}", mib(done)),
                }
            }
            (Shown::Bars { transfers, .. }, Transfer::Advanced { done }) => {
                if let Some(bar) = transfers.get(name) {
                    bar.set_position(done);
                }
                return;
            }
            (Shown::Lines { transfers, .. }, Transfer::Advanced { done }) => {
                let due = transfers.get_mut(name);
                match due.and_then(|timer| timer.due(done, Instant::now())) {
                    Some(how_far) => format!("{name}: {}", how_far.text(Unit::Rate)),
                    None => return,
                }
            }
            (_, Transfer::Retrying { why, wait }) => {
                format!("{name}: {why}; trying again in {}", duration(wait))
            }
            (shown, Transfer::Finished { size, took }) => {
                forget(shown, name);
                format!("fetched {name} ({}) in {}", mib(size), duration(took))
            }
            (shown, _) => return forget(shown, name),
        };
        self.line_in(shown, &text);
    }
}

fn forget(shown: &mut Shown, name: &str) {
    match shown {
        Shown::Bars { transfers, .. } => {
            if let Some(bar) = transfers.remove(name) {
                bar.finish_and_clear();
            }
        }
        Shown::Lines { transfers, .. } => {
            transfers.remove(name);
        }
    }
}

impl Progress for Reporter {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::CacheHit { source, key, age } => self.line(&format!(
                "cache hit for {} ({key}, built {} ago)",
                source.display(),
                HumanDuration(age)
            )),
            Event::Waiting { key, holder } => {
                let holder = holder.map_or("another process".to_owned(), ToString::to_string);
                self.line(&format!(
                    "waiting for {holder}, which builds {key}; see `{} locks`",
                    self.program
                ));
            }
            Event::Note(text) => self.line(text),
            Event::Transfer { name, state } => self.transfer(name, state),
            Event::Started { stage, total } => self.started(stage, total),
            Event::Advanced { stage, done, what } => self.advanced(stage, done, what),
            Event::Finished { stage, took } => self.finished(stage, took),
            _ => {}
        }
    }
}

/// What a step counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Steps,
    Bytes,
    /// Bytes, and how many a second.
    Rate,
    Nothing,
}

fn stage_unit(stage: Stage) -> Unit {
    match stage {
        Stage::Hash | Stage::Unpack => Unit::Bytes,
        Stage::Compile => Unit::Steps,
        Stage::Checkout | Stage::Clean | Stage::Configure | Stage::Store => Unit::Nothing,
    }
}

fn new_bar(name: String, unit: Unit, total: Option<u64>) -> ProgressBar {
    let counted = match (unit, total) {
        (Unit::Bytes, Some(_)) => "{bytes}/{total_bytes}, {eta} left",
        (Unit::Rate, Some(_)) => "{bytes}/{total_bytes}, {bytes_per_sec}, {eta} left",
        (Unit::Steps, Some(_)) => "{pos} of about {len}, about {eta} left",
        (Unit::Nothing, Some(_)) => "{pos}/{len}, {eta} left",
        (Unit::Bytes, None) => "{bytes}, {elapsed}",
        (Unit::Rate, None) => "{bytes}, {bytes_per_sec}",
        (Unit::Steps, None) => "{pos} steps, {elapsed}",
        (Unit::Nothing, None) => "{elapsed}",
    };
    let (bar, shape) = match total {
        Some(total) => (ProgressBar::new(total), "{bar:20}"),
        None => (ProgressBar::new_spinner(), "{spinner}"),
    };
    let style = ProgressStyle::with_template(&format!("{{prefix}} {shape} {counted} {{wide_msg}}"));
    let bar = bar.with_prefix(name);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// Lets a bar move by itself, once it has its place among the others.
fn begin(bar: ProgressBar) -> ProgressBar {
    bar.enable_steady_tick(TICK);
    bar
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

/// `40 s`, `5m 20s`: no more exact than an estimate is.
fn about(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        return format!("{seconds} s");
    }
    let tens = seconds.div_ceil(10) * 10;
    humantime::format_duration(Duration::from_secs(tens)).to_string()
}

/// `151.8 MiB`; `12 KiB` where that is less than one.
fn mib(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{} KiB", bytes.div_ceil(1 << 10)),
        _ => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
    }
}

/// `8.2 s`, `5m 12s`
fn duration(took: Duration) -> String {
    if took < Duration::from_secs(60) {
        format!("{:.1} s", took.as_secs_f64())
    } else {
        humantime::format_duration(Duration::from_secs(took.as_secs())).to_string()
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

    #[test]
    fn durations_are_for_people() {
        assert_eq!(duration(Duration::from_millis(8249)), "8.2 s");
        assert_eq!(duration(Duration::from_millis(312_900)), "5m 12s");
    }

    #[test]
    fn every_unit_has_a_bar() {
        for unit in [Unit::Steps, Unit::Bytes, Unit::Rate, Unit::Nothing] {
            for total in [None, Some(10)] {
                let bar = begin(new_bar("name".to_owned(), unit, total));
                bar.finish_and_clear();
                assert_eq!(bar.length(), total);
            }
        }
    }
}
