//! The main function of a test binary: guest's init, list of tests, or runner.

mod args;
mod cases;
mod cells;
mod orphan;
mod settings;
mod thresholds;

use std::env::{args_os, var_os};
use std::io::{self, Write};
use std::process::ExitCode;

use ktstr_core::{Outcome, RunDir, Verdict, rundir, text};

pub use args::Args;
pub use cases::{Case, NamedKernel, Variant, cases, format_kernel_list, parse_kernel_list};
pub use cells::{Cell, CellError, cells};
#[cfg(feature = "driver")]
pub(crate) use settings::own_epoch;
pub use settings::{PROJECT_COMMIT, SCHEDULER_PROFILE, Settings, SettingsError, VERIFIER_RAW};

use crate::host::{self, Finished};
use crate::{guest, registry};

/// Runs this test binary; [`main!`](crate::main!) calls it.
///
/// The exit code of one test is its verdict's; of several, the most severe.
pub fn main() -> ExitCode {
    enter_guest();
    match run(args_os().skip(1)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ktstr: {error}");
            ExitCode::from(ktstr_core::EXIT_FAIL)
        }
    }
}

/// Where this process is PID 1 of one of our machines, becomes its init and never returns; elsewhere does
/// nothing.
///
/// A program that runs tests without [`main`] calls this before anything else: it is its own guest.
pub fn enter_guest() {
    if guest::is_guest(var_os(guest::MARK).as_deref()) {
        guest::init();
    }
}

fn run(
    arguments: impl IntoIterator<Item = std::ffi::OsString>,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let args = Args::parse(arguments)?;
    if args.help {
        print!("{}", args::USAGE);
        return Ok(ExitCode::SUCCESS);
    }
    let tests = registry::tests()?;
    let settings = Settings::read()?;
    let cells = cells(&registry::schedulers(), &settings.kernels, |name| {
        var_os(name)
    })?;
    let tests = cases(&tests, &settings.kernels).into_iter().map(Job::Test);
    let mut selected: Vec<Job> = tests.chain(cells.into_iter().map(Job::Cell)).collect();
    selected.retain(|job| args.selects(job.name(), job.is_ignored()));
    if args.list {
        list(&selected)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.thresholds {
        for job in &selected {
            if let Job::Test(case) = job {
                print!("{}", thresholds::of(case));
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    if args.exact && selected.is_empty() {
        let names = args.filters.join(", ");
        return Err(
            format!("no test is called {names}; `--list --include-ignored` lists them").into(),
        );
    }
    orphan::end_with_nextest();
    let mut worst = Outcome::Skip;
    for job in &selected {
        if selected.len() > 1 {
            println!("test {} ...", job.name());
        }
        worst = worst.max(run_one(job, &settings));
    }
    if !args.exact {
        println!(
            "ktstr: {} tests run, worst outcome: {worst}",
            selected.len()
        );
    }
    Ok(ExitCode::from(worst.exit_code()))
}

/// One thing to run.
enum Job {
    Test(Case),
    Cell(Cell),
}

impl Job {
    fn name(&self) -> &str {
        match self {
            Self::Test(case) => &case.name,
            Self::Cell(cell) => &cell.name,
        }
    }

    fn is_ignored(&self) -> bool {
        match self {
            Self::Test(case) => case.is_ignored(),
            Self::Cell(_) => true,
        }
    }
}

fn list(jobs: &[Job]) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for job in jobs {
        writeln!(out, "{}: test", job.name())?;
    }
    out.flush()
}

/// Runs one job, writes its sidecar and tells a person what they need to know.
fn run_one(job: &Job, settings: &Settings) -> Outcome {
    let Finished {
        mut sidecar,
        evidence,
        notes,
    } = match job {
        Job::Test(case) => host::run(case, settings),
        Job::Cell(cell) => host::verify(cell, settings),
    };
    for note in notes {
        eprintln!("ktstr: {}", text::line(&note));
    }
    if settings.no_skip_mode {
        sidecar.verdict = std::mem::take(&mut sidecar.verdict).without_skips();
    }
    let run_dir = run_dir(&sidecar, settings);
    let failed = matches!(
        sidecar.verdict.outcome(),
        Outcome::Fail | Outcome::Inconclusive
    );
    if let Err(error) = run_dir.write(&sidecar, failed.then_some(&evidence)) {
        // A verdict that nobody can look up later must not pass for one.
        sidecar
            .verdict
            .merge(Verdict::fail("sidecar", error.to_string()));
    }
    match sidecar.verdict.outcome() {
        Outcome::Pass => {}
        Outcome::Skip => {
            let why: Vec<_> = sidecar
                .verdict
                .decisive()
                .map(|detail| text::line(&detail.message))
                .collect();
            eprintln!("ktstr: SKIP: {}", why.join("; "));
        }
        Outcome::Inconclusive | Outcome::Fail => {
            eprint!("{}", host::render::failure(&sidecar, &evidence));
        }
    }
    sidecar.verdict.outcome()
}

fn run_dir(sidecar: &ktstr_core::Sidecar, settings: &Settings) -> RunDir {
    let path = settings.sidecar_dir.clone().unwrap_or_else(|| {
        // A tree of one's own is told by its label; releases by their version.
        let label = sidecar
            .kernel_label
            .as_ref()
            .map(ktstr_core::KernelLabel::as_str);
        let of_path = label.filter(|label| label.starts_with("kernel_path_"));
        let kernel = of_path.or(sidecar.kernel_version.as_deref());
        settings
            .runs_dir
            .join(rundir::run_name(kernel, sidecar.project_commit.as_deref()))
    });
    RunDir::new(path, settings.epoch.clone())
}
