//! The main function of a test binary: guest's init, list of tests, or runner.

mod args;
mod bare_metal;
mod budget;
mod job;
mod kernel_list;
mod libtest;
mod machines;
mod orphan;
mod prepare;
mod record;
mod schedulers;
mod session;
mod settings;
mod terminal;
mod thresholds;

use std::collections::BTreeSet;
use std::env::{args_os, var_os};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Instant;

use ktstr_core::host::Host;
use ktstr_core::{Outcome, env, text};

pub use args::{Args, Color, Names, Question, Which};
pub use kernel_list::{format_kernel_list, parse_kernel_list};
pub use machines::{CaseMachine, CaseProgram, CaseScheduler, ProgramSource};
pub use prepare::BuildRequest;
pub use schedulers::SchedulerUse;
pub use session::SessionInfo;
pub use settings::SettingsError;
pub use thresholds::{CaseThresholds, Threshold};

use crate::cases::{cases, cells};
use crate::runner::{Settings, TestTarget};
use crate::shuffle::shuffle;
use crate::{guest, registry};
use job::Job;
use libtest::{LibtestOutput, Style};
use settings::Process;
use terminal::{Terminal, reason};

/// Runs this test binary; [`main!`](crate::main!) calls [`main_of`], which also knows the test target.
///
/// The exit code of one test is its verdict's; of several, the most severe.
pub fn main() -> ExitCode {
    main_of(TestTarget::default())
}

/// Runs this test binary, which was built from `target`.
pub fn main_of(target: TestTarget) -> ExitCode {
    enter_guest();
    if args_os()
        .nth(1)
        .is_some_and(|word| word == bare_metal::OPTION)
    {
        return bare_metal::run(args_os().skip(1));
    }
    match run(args_os().skip(1), target) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ktstr: {error}");
            ExitCode::from(ktstr_core::EXIT_FAIL)
        }
    }
}

/// Becomes init and never returns if this process is PID 1 of a ktstr machine; does nothing elsewhere.
///
/// A program that runs tests without [`main`] calls this first: its machines run the same program.
pub fn enter_guest() {
    if guest::is_guest(var_os(guest::MARK).as_deref()) {
        guest::init();
    }
}

fn run(
    arguments: impl IntoIterator<Item = std::ffi::OsString>,
    target: TestTarget,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let args = Args::parse(arguments)?;
    if args.help {
        print!("{}", args::USAGE);
        return Ok(ExitCode::SUCCESS);
    }
    let tests = registry::tests()?;
    let process = Process::read(Host::of_this_process())?.of_target(target);
    let schedulers = registry::schedulers();
    let Settings {
        relocation, host, ..
    } = &process.settings;
    let cells = cells(&schedulers, &process.kernels, relocation, host)?;
    let tests = cases(&tests, &process.kernels).into_iter().map(Job::Test);
    let mut all: Vec<Job> = tests.chain(cells.into_iter().map(Job::Cell)).collect();
    if let Some(question) = args.question {
        // A question is answered for every case, whatever a budget selects.
        answer(question, &args, &all, &process.settings)?;
        return Ok(ExitCode::SUCCESS);
    }
    let is_nextests = args.exact && process.settings.origin.nextest.is_some();
    // Nextest runs what was listed.
    if !is_nextests && let Some(note) = budget::apply(&mut all, &process)? {
        eprintln!("ktstr: {}={note}", env::BUDGET_SECS);
    }
    if args.list {
        let selected: Vec<&Job> = all.iter().filter(|job| job.is_selected(&args)).collect();
        // Nextest starts no test before every binary has listed its own.
        prepare::wait_for_schedulers(&all, &process);
        list(&selected)?;
        return Ok(ExitCode::SUCCESS);
    }
    let worst = if is_nextests {
        run_for_nextest(all, &args, process)?
    } else {
        run_as_libtest(all, &args, process)?
    };
    Ok(ExitCode::from(worst.exit_code()))
}

/// Prints one JSON value a line: for each selected test, or for each scheduler.
fn answer(
    question: Question,
    args: &Args,
    all: &[Job],
    settings: &Settings,
) -> Result<(), serde_json::Error> {
    let tests = all
        .iter()
        .filter(|job| job.is_selected(args))
        .filter_map(|job| match job {
            Job::Test(case) => Some(case),
            Job::Cell(_) => None,
        });
    let lines: Result<Vec<String>, _> = match question {
        Question::Thresholds => tests
            .map(|case| serde_json::to_string(&thresholds::of(case)))
            .collect(),
        Question::Machines => tests
            .map(|case| serde_json::to_string(&machines::of(case, settings)))
            .collect(),
        Question::Schedulers => {
            let jobs: Vec<&Job> = all.iter().collect();
            schedulers::uses(&registry::schedulers(), &jobs, &settings.relocation)
                .iter()
                .map(serde_json::to_string)
                .collect()
        }
    };
    for line in lines? {
        println!("{line}");
    }
    Ok(())
}

/// Runs the one case that nextest names. Nextest reports the result.
fn run_for_nextest(all: Vec<Job>, args: &Args, process: Process) -> Result<Outcome, String> {
    let mut jobs = all;
    jobs.retain(|job| job.is_selected(args));
    if jobs.is_empty() {
        return Err(no_test(args));
    }
    orphan::end_with_nextest(&process.settings.host);
    let process = process.with_commit();
    if let Some(found) = record::choose_kernel(&mut jobs, &process) {
        eprintln!("ktstr: {found}");
    }
    let mut worst = Outcome::Skip;
    for job in &jobs {
        let mut terminal = Terminal::new(&process);
        let ended = record::run(job, &process, &mut terminal);
        for note in &terminal.notes {
            eprintln!("ktstr: {}", text::line(note));
        }
        terminal.tell(&ended);
        worst = worst.max(ended.sidecar.verdict.outcome());
    }
    Ok(worst)
}

/// Runs what `args` select and prints the results as libtest does, for `cargo test`, an editor or a person.
fn run_as_libtest(
    all: Vec<Job>,
    args: &Args,
    mut process: Process,
) -> Result<Outcome, Box<dyn std::error::Error>> {
    if args.exact && !all.iter().any(|job| job.is_asked_for(args)) {
        // Cargo runs every test target with the same filter: one that has no such test is no failure.
        eprintln!("ktstr: {}", no_test(args));
    }
    let Selection {
        mut jobs,
        ignored,
        unlisted,
        filtered_out,
    } = Selection::of(all, args);
    if let Some(seed) = args.shuffle {
        shuffle(&mut jobs, seed);
    }
    let mut output = LibtestOutput::new(io::stdout(), style(args), logfile(args)?);
    let start = Instant::now();
    output.begin(jobs.len() + ignored.len(), args.shuffle);
    for job in &ignored {
        output.ignored(&job.name().to_string(), "");
    }
    orphan::end_with_nextest(&process.settings.host);
    let mut told = BTreeSet::new();
    let mut note = |note: String| {
        // What was chosen is the same for all of them.
        if !told.contains(&note) {
            eprintln!("ktstr: {}", text::line(&note));
            told.insert(note);
        }
    };
    if args.threads && jobs.len() > 1 {
        note("--test-threads: tests of one process run one after another; cargo nextest run runs them in parallel".to_owned());
    }
    if !jobs.is_empty() {
        process = process.with_commit();
        if let Some(found) = record::choose_kernel(&mut jobs, &process) {
            note(found);
        }
    }
    let mut worst = Outcome::Skip;
    let mut run = 0;
    for job in &jobs {
        let begin = Instant::now();
        let mut terminal = Terminal::new(&process);
        let ended = record::run(job, &process, &mut terminal);
        run += 1;
        terminal.notes.drain(..).for_each(&mut note);
        terminal.tell(&ended);
        let outcome = ended.sidecar.verdict.outcome();
        output.ended(
            &job.name().to_string(),
            outcome,
            &reason(&ended.sidecar),
            begin.elapsed(),
        );
        worst = worst.max(outcome);
        if args.fail_fast && matches!(outcome, Outcome::Fail | Outcome::Inconclusive) {
            break;
        }
    }
    output.end(unlisted, filtered_out, start.elapsed());
    if !args.exact {
        println!("ktstr: {run} tests run, worst outcome: {worst}");
    }
    Ok(worst)
}

/// What libtest would do with each test of a binary.
struct Selection {
    /// To be run.
    jobs: Vec<Job>,
    /// Ignored, and listed as that.
    ignored: Vec<Job>,
    /// Ignored, and only counted: variants, of which every test has dozens.
    unlisted: usize,
    /// Not selected.
    filtered_out: usize,
}

impl Selection {
    fn of(all: Vec<Job>, args: &Args) -> Self {
        let count = all.len();
        let asked = all.into_iter().filter(|job| job.is_asked_for(args));
        let (jobs, ignored): (Vec<Job>, Vec<Job>) = asked.partition(|job| job.is_selected(args));
        let filtered_out = count - jobs.len() - ignored.len();
        let (unlisted, ignored): (Vec<Job>, Vec<Job>) =
            ignored.into_iter().partition(|job| job.name().is_variant());
        let selection = Self {
            jobs,
            ignored,
            unlisted: unlisted.len(),
            filtered_out,
        };
        match args.which {
            // The others are not ignored then but not asked for.
            Which::Ignored => Self {
                filtered_out: filtered_out + selection.ignored.len() + selection.unlisted,
                ignored: Vec::new(),
                unlisted: 0,
                ..selection
            },
            _ => selection,
        }
    }
}

fn no_test(args: &Args) -> String {
    let names = args.filters.join(", ");
    format!("no test is called {names}; `--list --include-ignored` lists them")
}

fn style(args: &Args) -> Style {
    Style {
        quiet: args.quiet,
        color: match args.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => io::stdout().is_terminal(),
        },
        time: args.report_time,
    }
}

fn logfile(args: &Args) -> Result<Option<File>, String> {
    let create = |path| File::create(path).map_err(|error| (path, error));
    args.logfile
        .as_ref()
        .map(create)
        .transpose()
        .map_err(|(path, error)| format!("--logfile {}: {error}", path.display()))
}

fn list(jobs: &[&Job]) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for job in jobs {
        writeln!(out, "{}: test", job.name())?;
    }
    out.flush()
}
