//! `replay`: the failures of the newest session, as a filter or run again.

use std::env::current_dir;
use std::process::ExitCode;
use std::time::SystemTime;

use ktstr_driver::replay::{Replay, ReplayKernel, ReplayOptions, ReplayRequest};
use ktstr_driver::{KernelChoice, KernelRequest, NextestStreams, SavedSession, Session};
use ktstr_kernel::BaseConfig;
use ktstr_render::progress::Reporter;
use ktstr_render::replay;
use ktstr_vmm::CancelToken;

use crate::failure::{CommandResult, Failure};
use crate::terminal::{print, reporter, tell};
use crate::{Context, cli, test};

pub(crate) fn run(arguments: &cli::Replay, context: &Context) -> CommandResult {
    let (host, style) = (&context.host, &context.style);
    let here = current_dir()?;
    let place =
        Session::new(host.clone(), &here).nextest_args(arguments.nextest_args.iter().cloned());
    let request = ReplayRequest {
        dir: arguments.dir.clone(),
        name_contains: arguments.name_contains.clone(),
    };
    let replay = Replay::find(&place, &request)?;
    let is_overridden = !arguments.kernel.is_empty();
    // They are not used, and nobody needs to know what became of them.
    let kernels = if is_overridden || replay.failures.is_empty() {
        Vec::new()
    } else {
        replay.kernels(host, &here)
    };
    let command = replay.options().map(|saved| {
        let test = as_test(Some(saved));
        test::command_line(&test, &style.program, &test.nextest_args)
    });
    let now = SystemTime::now();
    tell(replay::found(
        &replay,
        &kernels,
        command.as_deref(),
        now,
        style,
    ));
    match replay.filter() {
        None => Ok(ExitCode::SUCCESS),
        Some(_) if arguments.exec => exec(&replay, kernels, arguments, context),
        Some(filter) => {
            tell(replay::how_to_run(style));
            print(format!("{filter}\n"))
        }
    }
}

fn exec(
    replay: &Replay,
    kernels: Vec<ReplayKernel>,
    arguments: &cli::Replay,
    context: &Context,
) -> CommandResult {
    let (style, reporter) = (&context.style, reporter(&context.style));
    let refused = replay.refused_args();
    let refused: Vec<String> = refused
        .iter()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let variables = replay.other_variables(&context.host);
    tell(replay::otherwise(
        &variables,
        replay.is_own(),
        &refused,
        style,
    ));
    let session = session(replay, kernels, arguments, context, &reporter)?;
    let cancel = CancelToken::new()?;
    let is_overridden = !arguments.kernel.is_empty();
    let plan = replay.plan(session, is_overridden, &reporter, &cancel)?;
    tell(replay::planned(&plan, style));
    let report = plan.run(&reporter, &cancel)?;
    let again = cli::Test {
        nextest_args: plan.nextest_args().to_vec(),
        ..overridden(as_test(replay.options()), arguments)
    };
    test::summarize(&report, &again, "test", context);
    Ok(ExitCode::from(report.exit_code))
}

/// The session to run the failures in, with its kernels.
fn session(
    replay: &Replay,
    kernels: Vec<ReplayKernel>,
    arguments: &cli::Replay,
    context: &Context,
    reporter: &Reporter,
) -> Result<Session, Failure> {
    let options = ReplayOptions {
        scheduler_profile: arguments.profile.clone(),
        nextest_profile: arguments.nextest_profile.clone(),
        nextest_args: arguments.nextest_args.clone(),
    };
    let session = replay
        .session(test::host(context)?, current_dir()?, &options)
        .streams(NextestStreams::Foreground)
        .prepare(KernelChoice::Given, reporter)?;
    if arguments.kernel.is_empty() {
        let there = kernels.into_iter().filter_map(|it| it.kernel.ok());
        return Ok(session.kernels(there.collect()));
    }
    let wanted = overridden(as_test(replay.options()), arguments);
    let request = KernelRequest {
        identifiers: arguments.kernel.clone(),
        base_config: wanted.base_config.map(BaseConfig::from),
        include_eol: wanted.include_eol,
    };
    let kernels = test::kernels(&request, context, reporter)?;
    Ok(session.kernels(kernels).kernel_request(request))
}

/// The command that ran a session, as far as it is known.
fn as_test(saved: Option<&SavedSession>) -> cli::Test {
    let Some(saved) = saved else {
        return cli::Test::default();
    };
    cli::Test {
        kernel: saved.identifiers.clone(),
        include_eol: saved.include_eol,
        base_config: saved.base_config.map(Into::into),
        release: saved.release,
        profile: saved.scheduler_profile.clone(),
        nextest_profile: saved.nextest_profile.clone(),
        no_skip_mode: saved.no_skip_mode,
        backend: saved.backend,
        no_perf_mode: saved.no_perf_mode,
        cpu_cap: saved.cpu_cap.map(Into::into),
        nextest_args: saved.nextest_args.clone(),
    }
}

/// `test` with what `arguments` say otherwise.
fn overridden(test: cli::Test, arguments: &cli::Replay) -> cli::Test {
    let is_overridden = !arguments.kernel.is_empty();
    cli::Test {
        kernel: if is_overridden {
            arguments.kernel.clone()
        } else {
            test.kernel
        },
        include_eol: test.include_eol || arguments.include_eol,
        base_config: arguments.base_config.or(test.base_config),
        profile: arguments.profile.clone().or(test.profile),
        nextest_profile: arguments.nextest_profile.clone().or(test.nextest_profile),
        ..test
    }
}
