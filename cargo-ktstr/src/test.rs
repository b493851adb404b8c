//! `test`: kernels first, then nextest, then where results are and how to run failures again.

use std::env::{current_dir, var_os};
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use ktstr_core::env;
use ktstr_harness::driver::{RunSummary, Session, SessionReport};
use ktstr_kernel::discover::{Discovery, discover};
use ktstr_kernel::{BaseConfig, ResolvedKernel};
use ktstr_vmm::{Backend, Choice, ParseBackendError};

use crate::cli::Test;
use crate::doctor::cache;
use crate::failure::{CommandResult, Failure};
use crate::progress::Reporter;
use crate::resolve::{self, Fetching};
use crate::terminal::{quote, say, tilde};

/// More replay commands than these help nobody.
const REPLAYS: usize = 10;

pub(crate) fn run(arguments: &Test, program: &'static str) -> CommandResult {
    let args = arguments.nextest_args.iter().cloned();
    let report = session(arguments, program)?.nextest_args(args).run()?;
    summarize(&report, arguments, program);
    Ok(ExitCode::from(report.exit_code))
}

/// A session as `arguments` want it, with its kernels, but without the arguments for nextest.
pub(crate) fn session(arguments: &Test, program: &'static str) -> Result<Session, Failure> {
    let session = Session::new(current_dir()?)
        .release(arguments.release)
        .nextest_profile(arguments.nextest_profile.clone())
        .scheduler_profile(arguments.profile.clone())
        .no_skip_mode(arguments.no_skip_mode)
        .no_perf_mode(arguments.no_perf_mode)
        .cpu_cap(arguments.cpu_cap);
    // Before kernels are built, which takes its time.
    let args = arguments.nextest_args.iter().cloned();
    session.clone().nextest_args(args).check()?;
    let reporter = Reporter::new(program);
    let session = session.backend(backend(arguments, &reporter)?);
    let kernels = if arguments.kernel.is_empty() {
        vec![discovered(&reporter)?]
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

/// The back end that tests would choose by themselves: told, so that KVM is tried once and not by each of them. Where
/// there is none, they say so.
fn backend(arguments: &Test, reporter: &Reporter) -> Result<Option<Backend>, Failure> {
    let set = var_os(env::BACKEND).and_then(|name| name.into_string().ok());
    let set = set.filter(|name| !name.is_empty());
    let set = set
        .map(|name| name.parse())
        .transpose()
        .map_err(|error: ParseBackendError| Failure::new(format!("{}: {error}", env::BACKEND)))?;
    let wanted = arguments.backend.or(set);
    match Choice::make(&var_os("PATH").unwrap_or_default(), Path::new("/"), wanted) {
        Ok(choice) => {
            if let Some(note) = choice.note() {
                reporter.line(&note);
            }
            Ok(Some(choice.backend))
        }
        Err(error) if wanted.is_some() => Err(error.into()),
        Err(_) => Ok(None),
    }
}

/// The kernel that tests would find by themselves: told, so that all of them take this one.
fn discovered(reporter: &Reporter) -> Result<ResolvedKernel, Failure> {
    let found = discover(&Discovery {
        env: &|name| var_os(name),
        cache: &cache()?,
        dir: &current_dir()?,
        root: Path::new("/"),
    })?;
    let (kernel, origin) = (found.kernel, found.origin);
    let image = tilde(&kernel.image);
    reporter.line(&format!("kernel {}: {image} ({origin})", kernel.version));
    Ok(kernel)
}

/// Says where results are, and how to run failures again.
pub(crate) fn summarize(report: &SessionReport, arguments: &Test, program: &str) {
    if report.runs.is_empty() {
        return;
    }
    say(format_args!("\n{program}: test outputs"));
    for run in &report.runs {
        say(format_args!("  {}", tilde(&run.path)));
        say(format_args!(
            "    ({} stats sidecar(s))",
            run.sidecars.len()
        ));
        for line in &run.unreadable {
            say(format_args!("    warning: {line}"));
        }
    }
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
    say(format_args!("\n{program}: run what did not pass again"));
    for command in replays.iter().take(REPLAYS) {
        say(format_args!("  {command}"));
    }
    if replays.len() > REPLAYS {
        say(format_args!("  and {} more", replays.len() - REPLAYS));
    }
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
