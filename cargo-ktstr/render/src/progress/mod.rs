//! Progress, for people: bars on a terminal, lines elsewhere.
//!
//! A [`Reporter`] shows what a resolution of kernels and a session do, as they happen. It writes to what it is given, and
//! nowhere else.
//!
//! ```
//! use std::time::Duration;
//!
//! use ktstr_kernel::{Event, Progress, Stage};
//! use ktstr_render::Style;
//! use ktstr_render::progress::Reporter;
//!
//! let (mut reader, writer) = std::io::pipe()?;
//! let reporter = Reporter::lines(&Style::default(), writer);
//! let (stage, took) = (Stage::Compile, Duration::from_millis(8249));
//! reporter.event(Event::Started { stage, total: Some(1900) });
//! reporter.event(Event::Finished { stage, took });
//! drop(reporter);
//! assert_eq!(
//!     std::io::read_to_string(&mut reader)?,
//!     "cargo ktstr: compiling (about 1900 steps)\ncargo ktstr: compiling took 8.2 s\n"
//! );
//! # Ok::<(), std::io::Error>(())
//! ```

mod bars;
mod figures;
mod lines;

use std::fmt;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use indicatif::HumanDuration;
pub use indicatif::ProgressDrawTarget;
use ktstr_core::text::line;
use ktstr_driver::{Budget, SessionEvent, SessionObserver};
use ktstr_kernel::discover::Found;
use ktstr_kernel::{Event, KernelSpec, Progress, ResolvedKernel, Stage, Transfer};

use crate::{Style, kernels};
use bars::Bars;
use figures::{duration, mib};
use lines::Lines;

/// Shows the events of resolutions and sessions.
///
/// Lines begin with the name of the program. What cargo and nextest print comes as it is: those of their lines that a
/// session captures.
pub struct Reporter {
    style: Style,
    clock: fn() -> Instant,
    shown: Mutex<Shown>,
}

/// What is on the screen, and where lines go.
struct Shown {
    out: Box<dyn Write + Send>,
    view: Box<dyn View>,
}

/// How steps and transfers are shown while they last. What it returns is shown as a line.
trait View: Send {
    /// A step begins.
    fn started(&mut self, stage: Stage, total: Option<u64>, now: Instant) -> Option<String>;

    /// The step got further.
    fn advanced(
        &mut self,
        stage: Stage,
        done: u64,
        what: Option<&str>,
        now: Instant,
    ) -> Option<String>;

    /// The step is done.
    fn finished(&mut self);

    /// The transfer of a file begins, of which `done` bytes are there.
    fn transfer_started(
        &mut self,
        name: &str,
        done: u64,
        total: Option<u64>,
        now: Instant,
    ) -> Option<String>;

    /// More of the file is there.
    fn transfer_advanced(&mut self, name: &str, done: u64, now: Instant) -> Option<String>;

    /// The transfer is over.
    fn transfer_ended(&mut self, name: &str);

    /// Calls `print` while the view is off the screen.
    fn aside(&self, print: &mut dyn FnMut());
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

impl Unit {
    fn of(stage: Stage) -> Self {
        match stage {
            Stage::Hash | Stage::Unpack => Self::Bytes,
            Stage::Compile => Self::Steps,
            Stage::Checkout | Stage::Clean | Stage::Configure | Stage::Store => Self::Nothing,
        }
    }
}

impl Reporter {
    /// Shows everything as lines on `out`; how far a step is, every ten seconds. A line that cannot be written is left out.
    pub fn lines(style: &Style, out: impl Write + Send + 'static) -> Self {
        Self::new(style, out, Lines::default())
    }

    /// Shows steps and transfers as bars on `bars`, and the rest as lines on `out`, which is the same terminal. A line that
    /// cannot be written is left out.
    ///
    /// `bars` is [`ProgressDrawTarget::stderr`], for example; this takes `indicatif` 0.18. Bars move by themselves while a
    /// step lasts.
    pub fn bars(style: &Style, bars: ProgressDrawTarget, out: impl Write + Send + 'static) -> Self {
        Self::new(style, out, Bars::new(bars))
    }

    fn new(style: &Style, out: impl Write + Send + 'static, view: impl View + 'static) -> Self {
        Self {
            style: style.clone(),
            clock: Instant::now,
            shown: Mutex::new(Shown {
                out: Box::new(out),
                view: Box::new(view),
            }),
        }
    }

    /// Takes the time of lines from `clock`, not from the system's, so that a test knows which lines there are.
    #[must_use]
    pub fn with_clock(mut self, clock: fn() -> Instant) -> Self {
        self.clock = clock;
        self
    }

    /// Shows a line, which begins with the name of the program.
    pub fn line(&self, text: &str) {
        self.show(|_| Some(text.to_owned()));
    }

    /// Shows that a kernel is ready: for a resolution's `on_ready`.
    pub fn resolved(&self, spec: &KernelSpec, kernel: &ResolvedKernel) {
        self.line(&kernels::resolved(spec, kernel));
    }

    /// Changes the view, and shows the line that comes of it.
    fn show(&self, change: impl FnOnce(&mut dyn View) -> Option<String>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = change(&mut *shown.view) {
            // Names of files and words of servers are in it.
            let text = line(&text);
            shown.print(format!("{}: {text}\n", self.style.program).as_bytes());
        }
    }

    /// Shows a line of a program that runs.
    fn output(&self, line: &[u8]) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.print(&[line, b"\n"].concat());
    }

    fn transfer(&self, name: &str, state: Transfer<'_>) {
        let now = (self.clock)();
        self.show(|view| match state {
            Transfer::Started { done, total } => view.transfer_started(name, done, total, now),
            Transfer::Advanced { done } => view.transfer_advanced(name, done, now),
            Transfer::Retrying { why, wait } => {
                Some(format!("{name}: {why}; trying again in {}", duration(wait)))
            }
            Transfer::Finished { size, took } => {
                view.transfer_ended(name);
                Some(format!(
                    "fetched {name} ({}) in {}",
                    mib(size),
                    duration(took)
                ))
            }
            _ => {
                view.transfer_ended(name);
                None
            }
        });
    }
}

impl Shown {
    fn print(&mut self, bytes: &[u8]) {
        let Self { out, view } = self;
        view.aside(&mut || {
            // Where it cannot be written, there is nowhere to say so.
            let _ = out.write_all(bytes).and_then(|()| out.flush());
        });
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter")
            .field("style", &self.style)
            .finish_non_exhaustive()
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
                    self.style.program
                ));
            }
            Event::Note(text) => self.line(text),
            Event::Transfer { name, state } => self.transfer(name, state),
            Event::Started { stage, total } => {
                let now = (self.clock)();
                self.show(|view| view.started(stage, total, now));
            }
            Event::Advanced { stage, done, what } => {
                let now = (self.clock)();
                self.show(|view| view.advanced(stage, done, what, now));
            }
            Event::Finished { stage, took } => self.show(|view| {
                view.finished();
                Some(format!("{stage} took {}", duration(took)))
            }),
            _ => {}
        }
    }
}

impl SessionObserver for Reporter {
    fn event(&self, event: SessionEvent<'_>) {
        match event {
            SessionEvent::BackendSelected(selection) => {
                if let Some(note) = selection.note() {
                    self.line(&note);
                }
            }
            SessionEvent::KernelFound(Found { kernel, origin, .. }) => {
                let image = self.style.path(&kernel.image);
                self.line(&format!("kernel {}: {image} ({origin})", kernel.version));
            }
            SessionEvent::Kernel(event) => Progress::event(self, event),
            SessionEvent::KernelReady { spec, kernel } => self.resolved(spec, kernel),
            SessionEvent::NotCovered { note } => self.line(note),
            SessionEvent::BudgetSpent(budget) => self.line(&budget_line(budget)),
            SessionEvent::SchedulerNotMeasured {
                package,
                place,
                error,
            } => {
                let place = self.style.path(place);
                self.line(&format!(
                    "coverage: the program of {} is not in the report: {place}: {error}",
                    package.name
                ));
            }
            SessionEvent::SchedulerBuildOutput { line, .. }
            | SessionEvent::NextestOutput { line, .. } => self.output(line),
            _ => {}
        }
    }
}

/// What runs within a budget, and what does not.
fn budget_line(budget: &Budget) -> String {
    let Budget {
        time,
        threads,
        cases,
        of,
        expected,
        left_out,
    } = budget;
    format!(
        "{} s: {cases} of {of} cases run, {threads} at a time, which took machines {} s in earlier runs; {left_out}",
        time.as_secs(),
        expected.as_secs()
    )
}

#[cfg(test)]
mod tests;
