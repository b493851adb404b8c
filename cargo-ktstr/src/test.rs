//! `test`: kernels first, then nextest, then where results are and how to run failures again.

use std::env::{current_dir, var_os};
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::thread::{self, ScopedJoinHandle};

use ktstr_core::env;
use ktstr_driver::{RunSummary, Session, SessionReport, Tally};
use ktstr_kernel::BaseConfig;
use ktstr_kernel::discover::{Discovery, Found, discover};
use ktstr_vmm::{Backend, BackendSelection, ParseBackendError};
use rustix::process::Signal;

use crate::cli::Test;
use crate::doctor::cache;
use crate::failure::{CommandResult, Failure, one_line};
use crate::progress::Reporter;
use crate::resolve::{self, Fetching};
use crate::terminal::{quote, say, tilde};

/// More commands, or reasons, than these help nobody.
const MOST: usize = 10;

pub(crate) fn run(arguments: &Test, program: &'static str) -> CommandResult {
    let report = session(arguments, program)?.run()?;
    summarize(&report, arguments, program, "test");
    Ok(ExitCode::from(report.exit_code))
}

/// A session as `arguments` want it, with its kernels.
pub(crate) fn session(arguments: &Test, program: &'static str) -> Result<Session, Failure> {
    let session = Session::new(current_dir()?)
        .release(arguments.release)
        .nextest_profile(arguments.nextest_profile.clone())
        .scheduler_profile(arguments.profile.clone())
        .no_skip_mode(arguments.no_skip_mode)
        .no_perf_mode(arguments.no_perf_mode)
        .cpu_cap(arguments.cpu_cap)
        .nextest_args(arguments.nextest_args.iter().cloned());
    let wanted = wanted_backend(arguments)?;
    let dir = current_dir()?;
    let cache = cache()?;
    // Before kernels are built, which takes its time. What needs no build is looked for meanwhile.
    let (checked, choice, found) = thread::scope(|scope| {
        let choice = scope.spawn(|| {
            BackendSelection::detect(&var_os("PATH").unwrap_or_default(), Path::new("/"), wanted)
        });
        let found = arguments.kernel.is_empty().then(|| {
            scope.spawn(|| {
                discover(&Discovery {
                    env: &|name| var_os(name),
                    cache: &cache,
                    dir: &dir,
                    root: Path::new("/"),
                })
            })
        });
        let checked = session.check();
        (checked, choice.join(), found.map(ScopedJoinHandle::join))
    });
    checked?;
    let panicked = |_| Failure::new("a search of this host panicked");
    let choice = choice.map_err(panicked)?;
    let reporter = Reporter::new(program);
    let session = match choice {
        Ok(choice) => {
            if let Some(note) = choice.note() {
                reporter.line(&note);
            }
            session.choice(&choice)
        }
        Err(error) if wanted.is_some() => return Err(error.into()),
        // Each test says so.
        Err(_) => session,
    };
    let kernels = if let Some(found) = found {
        // The kernel that tests would find by themselves: told, so that all of them take this one.
        let Found { kernel, origin, .. } = found.map_err(panicked)??;
        let image = tilde(&kernel.image);
        reporter.line(&format!("kernel {}: {image} ({origin})", kernel.version));
        vec![kernel]
    } else {
        let options = resolve::build_options(arguments.base_config)?;
        let fetching = Fetching {
            include_eol: arguments.include_eol,
            ..Fetching::default()
        };
        let resolver = resolve::resolver(options, fetching)?;
        resolve::all(&arguments.kernel, &resolver, &reporter, |_| {})?
    };
    Ok(session.kernels(kernels))
}

/// The backend that was asked for, here or by the environment.
fn wanted_backend(arguments: &Test) -> Result<Option<Backend>, Failure> {
    let set = var_os(env::BACKEND).and_then(|name| name.into_string().ok());
    let set = set.filter(|name| !name.is_empty());
    let set = set
        .map(|name| name.parse())
        .transpose()
        .map_err(|error: ParseBackendError| Failure::new(format!("{}: {error}", env::BACKEND)))?;
    Ok(arguments.backend.or(set))
}

/// Says where results are, how many cases (each a `word`) ended how, and how to run failures again.
pub(crate) fn summarize(report: &SessionReport, arguments: &Test, program: &str, word: &str) {
    if let Some(signal) = report.signal {
        ended_by(signal);
    }
    if report.overruled {
        let why = "nextest counts some iterations of a stress run as passed that failed";
        say(format_args!(
            "error: there are failures among the records below; {why}"
        ));
    }
    if report.runs.is_empty() {
        return;
    }
    say(format_args!("\n{program}: test outputs"));
    for run in &report.runs {
        say(format_args!("  {}", tilde(&run.path)));
        let (records, sidecars) = match run.sidecars.len() {
            1 => ("record", "stats sidecar"),
            _ => ("records", "stats sidecars"),
        };
        let count = run.sidecars.len();
        say(format_args!(
            "    {count} {records} ({sidecars}) written this run"
        ));
        for line in &run.unreadable {
            say(format_args!("    warning: {line}"));
        }
    }
    count(&report.tally(), program, word);
    let replays: Vec<String> = report
        .runs
        .iter()
        .flat_map(RunSummary::to_replay)
        .map(|sidecar| RunSummary::replay_args(sidecar, &arguments.nextest_args))
        .map(|nextest_args| command_line(arguments, program, nextest_args))
        .collect();
    if replays.is_empty() {
        return;
    }
    say(format_args!("\n{program}: to rerun the failures"));
    for command in replays.iter().take(MOST) {
        say(format_args!("  {command}"));
    }
    if replays.len() > MOST {
        say(format_args!("  and {} more", replays.len() - MOST));
    }
}

/// How many passed, failed and so on, and why some were skipped, the most frequent reason first.
fn count(tally: &Tally, program: &str, word: &str) {
    let cases = tally.cases();
    let plural = if cases == 1 { "" } else { "s" };
    say(format_args!("\n{program}: {cases} {word}{plural}: {tally}"));
    let mut reasons: Vec<(&String, &usize)> = tally.skipped.iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (why, count) in reasons.iter().take(MOST) {
        say(format_args!("  {count} skipped: {}", one_line(why)));
    }
    if reasons.len() > MOST {
        let others = reasons.len() - MOST;
        say(format_args!(
            "  and {others} more reasons; each is in its record"
        ));
    }
}

/// Says that nextest did not end by itself. Whoever interrupts it knows.
fn ended_by(signal: i32) {
    let by_hand = [Signal::INT, Signal::TERM, Signal::QUIT, Signal::HUP];
    if by_hand.iter().any(|one| one.as_raw() == signal) {
        return;
    }
    let (what, hint) = if signal == Signal::KILL.as_raw() {
        let hint = "the kernel does that when memory runs out, see `dmesg`; ";
        ("killed by SIGKILL".to_owned(), hint)
    } else {
        (format!("ended by signal {signal}"), "")
    };
    say(format_args!(
        "error: cargo nextest: {what}; {hint}tests that were running count as failed"
    ));
}

/// The command that was given, with other arguments for nextest.
fn command_line(arguments: &Test, program: &str, nextest_args: Vec<OsString>) -> String {
    let mut words: Vec<String> = Vec::new();
    for kernel in &arguments.kernel {
        words.extend(["--kernel".to_owned(), kernel.clone()]);
    }
    if let Some(base) = arguments.base_config {
        words.extend([
            "--base-config".to_owned(),
            BaseConfig::from(base).to_string(),
        ]);
    }
    if let Some(backend) = arguments.backend {
        words.extend(["--backend".to_owned(), backend.to_string()]);
    }
    let profiles = [
        ("--profile", &arguments.profile),
        ("--nextest-profile", &arguments.nextest_profile),
    ];
    for (flag, profile) in profiles {
        if let Some(profile) = profile {
            words.extend([flag.to_owned(), profile.clone()]);
        }
    }
    if let Some(cap) = arguments.cpu_cap {
        words.extend(["--cpu-cap".to_owned(), cap.to_string()]);
    }
    let switches = [
        (arguments.include_eol, "--include-eol"),
        (arguments.release, "--release"),
        (arguments.no_skip_mode, "--no-skip-mode"),
        (arguments.no_perf_mode, "--no-perf-mode"),
        (true, "--"),
    ];
    let on = switches.iter().filter(|(on, _)| *on);
    words.extend(on.map(|(_, switch)| (*switch).to_owned()));
    let nextest_args = nextest_args.into_iter();
    words.extend(nextest_args.map(|arg| arg.to_string_lossy().into_owned()));
    let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
    format!("{program} test {}", words.join(" "))
}
