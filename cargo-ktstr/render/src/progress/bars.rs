//! Bars, which a terminal shows while steps last.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use ktstr_core::text::line;
use ktstr_kernel::Stage;

use super::{Unit, View};

/// How often a bar moves by itself.
const TICK: Duration = Duration::from_millis(200);

/// A bar for the step, and one for each transfer.
pub(super) struct Bars {
    all: MultiProgress,
    step: ProgressBar,
    /// By the names of the files.
    transfers: HashMap<String, ProgressBar>,
}

impl Bars {
    pub(super) fn new(target: ProgressDrawTarget) -> Self {
        Self {
            all: MultiProgress::with_draw_target(target),
            step: ProgressBar::hidden(),
            transfers: HashMap::new(),
        }
    }

    /// A bar that moves by itself, once it has its place among the others.
    fn begin(&self, name: String, unit: Unit, total: Option<u64>) -> ProgressBar {
        let bar = self.all.add(new_bar(name, unit, total));
        bar.enable_steady_tick(TICK);
        bar
    }
}

impl View for Bars {
    fn started(&mut self, stage: Stage, total: Option<u64>, _: Instant) -> Option<String> {
        self.step = self.begin(stage.to_string(), Unit::of(stage), total);
        None
    }

    fn advanced(&mut self, _: Stage, done: u64, what: Option<&str>, _: Instant) -> Option<String> {
        // Totals may be estimates.
        if self.step.length().is_some_and(|total| done > total) {
            self.step.set_length(done);
        }
        self.step.set_position(done);
        self.step.set_message(line(what.unwrap_or_default()));
        None
    }

    fn finished(&mut self) {
        self.step.finish_and_clear();
    }

    fn transfer_started(
        &mut self,
        name: &str,
        done: u64,
        total: Option<u64>,
        _: Instant,
    ) -> Option<String> {
        let bar = self.begin(name.to_owned(), Unit::Rate, total);
        bar.set_position(done);
        // What is there already took no time now.
        bar.reset_eta();
        if let Some(old) = self.transfers.insert(name.to_owned(), bar) {
            old.finish_and_clear();
        }
        None
    }

    fn transfer_advanced(&mut self, name: &str, done: u64, _: Instant) -> Option<String> {
        if let Some(bar) = self.transfers.get(name) {
            bar.set_position(done);
        }
        None
    }

    fn transfer_ended(&mut self, name: &str) {
        if let Some(bar) = self.transfers.remove(name) {
            bar.finish_and_clear();
        }
    }

    fn aside(&self, print: &mut dyn FnMut()) {
        self.all.suspend(print);
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
