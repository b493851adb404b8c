//! Shows what a resolution is doing: a bar on a terminal, lines elsewhere.

use std::cell::RefCell;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use ktstr_kernel::{Event, Progress, Stage};

use crate::terminal::say;

/// How often a line tells how far a step is, where no bar does.
const EVERY: Duration = Duration::from_secs(10);

/// How often a bar moves by itself.
const TICK: Duration = Duration::from_millis(200);

/// Shows events on standard error.
pub(crate) struct Reporter {
    program: &'static str,
    shown: RefCell<Shown>,
}

enum Shown {
    Bar(ProgressBar),
    Lines(Pace),
}

impl Reporter {
    /// `program` starts every line.
    pub(crate) fn new(program: &'static str) -> Self {
        let shown = if io::stderr().is_terminal() {
            Shown::Bar(ProgressBar::hidden())
        } else {
            Shown::Lines(Pace::new(None, Instant::now()))
        };
        Self {
            program,
            shown: RefCell::new(shown),
        }
    }

    /// One line, between the moves of a bar.
    pub(crate) fn line(&self, text: &str) {
        let line = || say(format_args!("{}: {text}", self.program));
        match &*self.shown.borrow() {
            Shown::Bar(bar) => bar.suspend(line),
            Shown::Lines(_) => line(),
        }
    }

    fn started(&self, stage: Stage, total: Option<u64>) {
        match &mut *self.shown.borrow_mut() {
            Shown::Bar(bar) => *bar = new_bar(stage, total),
            Shown::Lines(pace) => *pace = Pace::new(total, Instant::now()),
        }
        if let Shown::Lines(_) = *self.shown.borrow() {
            self.line(&match total {
                Some(steps) if stage == Stage::Compile => format!("{stage} (about {steps} steps)"),
                _ => stage.to_string(),
            });
        }
    }

    fn advanced(&self, stage: Stage, done: u64, what: Option<&str>) {
        let due = match &mut *self.shown.borrow_mut() {
            Shown::Bar(bar) => {
                // Totals may be estimates.
                if bar.length().is_some_and(|total| done > total) {
                    bar.set_length(done);
                }
                bar.set_position(done);
                bar.set_message(what.unwrap_or_default().to_owned());
                None
            }
            Shown::Lines(pace) => pace.due(done, Instant::now()),
        };
        if let Some(how_far) = due {
            self.line(&format!("{stage}: {}", how_far.text(stage)));
        }
    }

    fn finished(&self, stage: Stage, took: Duration) {
        if let Shown::Bar(bar) = &*self.shown.borrow() {
            bar.finish_and_clear();
        }
        self.line(&format!("{stage} took {}", duration(took)));
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
            Event::Waiting { key } => {
                self.line(&format!("another process builds {key}; waiting for it"));
            }
            Event::Note(text) => self.line(text),
            Event::Started { stage, total } => self.started(stage, total),
            Event::Advanced { stage, done, what } => self.advanced(stage, done, what),
            Event::Finished { stage, took } => self.finished(stage, took),
            _ => {}
        }
    }
}

fn new_bar(stage: Stage, total: Option<u64>) -> ProgressBar {
    let counted = match stage {
        Stage::Hash | Stage::Unpack => "{bytes}/{total_bytes}",
        _ => "{pos}/{len}",
    };
    let (bar, template) = if let Some(total) = total {
        let template = format!("{{prefix}} {{bar:25}} {counted}, {{eta}} left {{wide_msg}}");
        (ProgressBar::new(total), template)
    } else {
        let steps = if stage == Stage::Compile {
            "{pos} steps, "
        } else {
            ""
        };
        let template = format!("{{prefix}} {{spinner}} {steps}{{elapsed}} {{wide_msg}}");
        (ProgressBar::new_spinner(), template)
    };
    let style = ProgressStyle::with_template(&template);
    let bar = bar.with_prefix(stage.to_string());
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(TICK);
    bar
}

/// Decides when a line is due: every ten seconds. Short steps end before there is anything to tell.
struct Pace {
    total: Option<u64>,
    last: Instant,
}

/// How far a step is.
#[derive(Debug, PartialEq, Eq)]
struct HowFar {
    done: u64,
    total: Option<u64>,
}

impl Pace {
    fn new(total: Option<u64>, now: Instant) -> Self {
        Self {
            total: total.filter(|total| *total > 0),
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
        Some(HowFar { done, total })
    }
}

impl HowFar {
    fn text(&self, stage: Stage) -> String {
        let percent = self
            .total
            .map(|total| format!("{} %", u128::from(self.done) * 100 / u128::from(total)));
        match (percent, stage) {
            (Some(percent), Stage::Hash | Stage::Unpack) => percent,
            (None, Stage::Hash | Stage::Unpack) => format!("{} MiB", self.done >> 20),
            (Some(percent), _) => format!("{} steps, {percent}", self.done),
            (None, _) => format!("{} steps", self.done),
        }
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
        let mut pace = Pace::new(Some(200), start);
        let due = |pace: &mut Pace, done, seconds| {
            let how_far = pace.due(done, at(seconds))?;
            Some(how_far.text(Stage::Compile))
        };
        assert_eq!(due(&mut pace, 190, 9), None);
        assert_eq!(due(&mut pace, 191, 10).as_deref(), Some("191 steps, 95 %"));
        assert_eq!(due(&mut pace, 199, 19), None);
        assert_eq!(due(&mut pace, 300, 20).as_deref(), Some("300 steps"));
        let mut unknown = Pace::new(Some(0), start);
        assert_eq!(due(&mut unknown, 5, 10).as_deref(), Some("5 steps"));
    }

    #[test]
    fn durations_are_for_people() {
        assert_eq!(duration(Duration::from_millis(8249)), "8.2 s");
        assert_eq!(duration(Duration::from_millis(312_900)), "5m 12s");
    }

    #[test]
    fn every_stage_has_a_bar() {
        let stages = [Stage::Hash, Stage::Unpack, Stage::Clean, Stage::Compile];
        for stage in stages {
            for total in [None, Some(10)] {
                let bar = new_bar(stage, total);
                bar.finish_and_clear();
                assert_eq!(bar.length(), total);
            }
        }
    }
}
