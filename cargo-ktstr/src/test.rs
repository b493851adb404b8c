//! `test`: kernels first, then nextest, then where results are and how to run failures again.

use std::env::{current_dir, current_exe};
use std::ffi::OsString;
use std::process::ExitCode;

use ktstr_core::host::Host;
use ktstr_driver::coverage::with_profile_file;
use ktstr_driver::kernels::{self, KernelOptions};
use ktstr_driver::replay::replay_args;
use ktstr_driver::{
    KernelChoice, KernelRequest, NextestStreams, RunSummary, Session, SessionReport,
};
use ktstr_kernel::{BaseConfig, ResolvedKernel};
use ktstr_render::progress::Reporter;
use ktstr_render::{summary, text};
use ktstr_vmm::CancelToken;

use crate::Context;
use crate::affected;
use crate::cli::{NarrowedTest, Relevant, Test};
use crate::failure::{CommandResult, Failure};
use crate::terminal::{reporter, tell};

pub(crate) fn run(arguments: &NarrowedTest, context: &Context) -> CommandResult {
    let session = unprepared(&arguments.test, host(context)?)?;
    run_narrowed(session, &arguments.test, &arguments.relevant, context)
}

/// Runs `session`, which is as `arguments` want it, on their kernels, with the tests that `relevant` asks for.
pub(crate) fn run_narrowed(
    session: Session,
    arguments: &Test,
    relevant: &Relevant,
    context: &Context,
) -> CommandResult {
    let reporter = reporter(&context.style);
    // Before a kernel is looked for: there may be no need of one.
    let narrowed = affected::narrow(session, relevant, context, &reporter)?;
    let Some(session) = narrowed else {
        return Ok(ExitCode::SUCCESS);
    };
    let session = prepared(session, arguments, context, &reporter)?;
    let report = session.run(&reporter, &CancelToken::new()?)?;
    summarize(&report, arguments, "test", context);
    Ok(ExitCode::from(report.exit_code))
}

/// The kernels that a session was asked to run on.
pub(crate) fn kernels(
    request: &KernelRequest,
    context: &Context,
    reporter: &Reporter,
) -> Result<Vec<ResolvedKernel>, Failure> {
    let options = KernelOptions {
        base_config: request.base_config,
        include_eol: request.include_eol,
        ..KernelOptions::default()
    };
    let mut ready = |spec: &_, kernel: &_| reporter.resolved(spec, kernel);
    let identifiers = &request.identifiers;
    Ok(kernels::resolve(
        &context.host,
        identifiers,
        options,
        reporter,
        &mut ready,
    )?)
}

/// A session as `arguments` want it, with its kernels.
pub(crate) fn session(
    arguments: &Test,
    context: &Context,
    reporter: &Reporter,
) -> Result<Session, Failure> {
    prepared(
        unprepared(arguments, host(context)?)?,
        arguments,
        context,
        reporter,
    )
}

/// The environment of tests: programs that are measured leave no profiles in the directory they run in.
pub(crate) fn host(context: &Context) -> Result<Host, Failure> {
    Ok(with_profile_file(context.host.clone(), &current_exe()?))
}

/// A session as `arguments` want it, of which nothing was looked for.
pub(crate) fn unprepared(arguments: &Test, host: Host) -> Result<Session, Failure> {
    Ok(Session::new(host, current_dir()?)
        .release(arguments.release)
        .nextest_profile(arguments.nextest_profile.clone())
        .scheduler_profile(arguments.profile.clone())
        .no_skip_mode(arguments.no_skip_mode)
        .no_perf_mode(arguments.no_perf_mode)
        .cpu_cap(arguments.cpu_cap)
        .backend(arguments.backend)
        .streams(NextestStreams::Foreground)
        .nextest_args(arguments.nextest_args.iter().cloned())
        .kernel_request(request(arguments)))
}

fn request(arguments: &Test) -> KernelRequest {
    KernelRequest {
        identifiers: arguments.kernel.clone(),
        base_config: arguments.base_config.map(BaseConfig::from),
        include_eol: arguments.include_eol,
    }
}

/// `session` with all that it needs, and the kernels that `arguments` name.
fn prepared(
    session: Session,
    arguments: &Test,
    context: &Context,
    reporter: &Reporter,
) -> Result<Session, Failure> {
    let source = if arguments.kernel.is_empty() {
        KernelChoice::Discover
    } else {
        KernelChoice::Given
    };
    // Before kernels are built, which takes its time.
    let session = session.prepare(source, reporter)?;
    if source == KernelChoice::Discover {
        return Ok(session);
    }
    let kernels = kernels(&request(arguments), context, reporter)?;
    Ok(session.kernels(kernels))
}

/// Tells where results are, how many cases (each called a `noun`) ended how, and how to run failures again.
pub(crate) fn summarize(report: &SessionReport, arguments: &Test, noun: &str, context: &Context) {
    let replays: Vec<String> = report
        .runs
        .iter()
        .flat_map(RunSummary::failures)
        .map(|record| replay_args(&record.sidecar, &arguments.nextest_args))
        .map(|nextest_args| command_line(arguments, &context.style.program, &nextest_args))
        .collect();
    tell(summary::text(report, noun, &replays, &context.style));
}

/// The command that was given, with other arguments for nextest.
pub(crate) fn command_line(arguments: &Test, program: &str, nextest_args: &[OsString]) -> String {
    let mut words: Vec<String> = Vec::new();
    for kernel in &arguments.kernel {
        words.extend(["--kernel".to_owned(), kernel.clone()]);
    }
    let base = arguments.base_config.map(BaseConfig::from);
    let options = [
        ("--base-config", base.map(|base| base.to_string())),
        ("--backend", arguments.backend.map(|it| it.to_string())),
        ("--profile", arguments.profile.clone()),
        ("--nextest-profile", arguments.nextest_profile.clone()),
        ("--cpu-cap", arguments.cpu_cap.map(|cap| cap.to_string())),
    ];
    for (option, value) in options {
        if let Some(value) = value {
            words.extend([option.to_owned(), value]);
        }
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
    let nextest_args = nextest_args.iter();
    words.extend(nextest_args.map(|arg| arg.to_string_lossy().into_owned()));
    format!("{program} test {}", text::command(words))
}
