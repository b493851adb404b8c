//! `perf-delta`: compares the figures of performance tests at two commits.

use std::env::current_dir;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::{io, thread};

use ktstr_core::env;
use ktstr_driver::affected::Tests;
use ktstr_driver::perf_delta::{
    Commits, Machines, NoiseAdjusted, NoiseEvent, PerfDelta as Report, Policy, Rules, cached,
};
use ktstr_driver::{NextestStreams, Session, SessionObserver};
use ktstr_render::perf_delta::{conclusion, happened, markdown, text};
use ktstr_vmm::CancelToken;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::Context;
use crate::cli::PerfDelta;
use crate::failure::{CommandResult, Failure};
use crate::terminal::{print, reporter, tell};
use crate::test;

/// The file that GitHub Actions shows as the summary of a job.
const SUMMARY: &str = "GITHUB_STEP_SUMMARY";

pub(crate) fn run(arguments: &PerfDelta, context: &Context) -> CommandResult {
    let rules = rules(arguments)?;
    let commits = Commits::of(
        &context.host,
        &current_dir()?,
        &arguments.baseline.request(),
    )?;
    let report = match arguments.noise_adjust {
        Some(runs) => noise_adjusted(arguments, context, commits, runs, &rules)?,
        None => of_records(arguments, context, &commits, &rules)?,
    };
    let Some(report) = report else {
        return Ok(ExitCode::SUCCESS);
    };
    summarize(&report, context);
    if arguments.json {
        print(serde_json::to_string_pretty(&report)? + "\n")?;
        if report.has_nothing() {
            tell(format_args!("{}\n", conclusion(&report)));
        }
    } else {
        print(text(&report, &context.style))?;
    }
    Ok(if report.failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn rules(arguments: &PerfDelta) -> Result<Rules, Failure> {
    let policy = match &arguments.policy {
        Some(path) => Policy::read(path)?,
        None => Policy::default(),
    };
    let fail_threshold = arguments.fail_threshold.map(|number| number as usize);
    let metrics = arguments.must_fail.iter().map(|metric| metric.trim());
    let rules = Rules::new(policy)
        .threshold_pct(arguments.threshold)?
        .fail_threshold(fail_threshold)?
        .must_fail(metrics)
        .map_err(|error| Failure::new(format!("--must-fail: {error}")))?;
    Ok(rules)
}

fn of_records(
    arguments: &PerfDelta,
    context: &Context,
    commits: &Commits,
    rules: &Rules,
) -> Result<Option<Report>, Failure> {
    let host = &context.host;
    let shared = arguments.test.no_perf_mode || env::is_on(host, env::NO_PERF_MODE);
    let machines = if shared {
        Machines::Shared
    } else {
        Machines::Exclusive
    };
    let dir = match arguments.dir.clone().or(env::path(host, env::SIDECAR_DIR)) {
        Some(dir) if arguments.dir.is_some() && !dir.is_dir() => {
            return Err(Failure::new(format!(
                "--dir {}: no such directory; give a copy of target/ktstr or a run directory",
                dir.display()
            )));
        }
        Some(dir) => dir,
        None => runs_dir(arguments, context)?,
    };
    let narrow = arguments.name_contains.as_deref();
    Ok(Some(cached(&dir, commits, machines, narrow, rules)?))
}

fn runs_dir(arguments: &PerfDelta, context: &Context) -> Result<PathBuf, Failure> {
    let session = Session::new(context.host.clone(), current_dir()?)
        .nextest_args(arguments.test.nextest_args.iter().cloned());
    Ok(session
        .runs_dir()
        .unwrap_or_else(|| PathBuf::from("target/ktstr")))
}

/// `None` where the changes affect no test.
fn noise_adjusted(
    arguments: &PerfDelta,
    context: &Context,
    commits: Commits,
    runs: usize,
    rules: &Rules,
) -> Result<Option<Report>, Failure> {
    let cancel = cancelled_by_signals()?;
    let reporter = reporter(&context.style);
    // Signals are taken here: nextest would end on one, and the next run begin.
    let mut session =
        test::session(&arguments.test, context, &reporter)?.streams(NextestStreams::Inherited);
    if arguments.relevant {
        match session
            .affected(&arguments.baseline.request(), &reporter, &cancel)?
            .tests
        {
            Tests::All => {}
            Tests::Matching(expression) => session = session.narrowed(&expression),
            Tests::None => {
                reporter.line("the changes since the baseline affect no test: nothing is compared");
                return Ok(None);
            }
        }
    }
    let observer = |event: NoiseEvent<'_>| match event {
        NoiseEvent::Session(event) => reporter.event(event),
        event => happened(&event).iter().for_each(|line| reporter.line(line)),
    };
    let report = NoiseAdjusted::new(session, commits, runs)
        .narrow(arguments.name_contains.clone())
        .run(rules, &observer, &cancel)?;
    Ok(Some(report))
}

/// A token that is cancelled by the first signal that would end this process.
fn cancelled_by_signals() -> io::Result<CancelToken> {
    let cancel = CancelToken::new()?;
    let (mut read, write) = UnixStream::pair()?;
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
    }
    let token = cancel.clone();
    thread::spawn(move || {
        if read.read_exact(&mut [0]).is_ok() {
            token.cancel();
        }
    });
    Ok(cancel)
}

/// Appends the report to the summary of the job, if this is one. It is no failure if that cannot be written.
fn summarize(report: &Report, context: &Context) {
    let Some(path) = context.host.non_empty_var(SUMMARY) else {
        return;
    };
    let opened = OpenOptions::new().create(true).append(true).open(&path);
    let written = opened.and_then(|mut file| file.write_all(markdown(report).as_bytes()));
    if let Err(error) = written {
        tell(format_args!(
            "warning: {SUMMARY}={}: {error}\n",
            path.display()
        ));
    }
}
