//! `replay`: the failures of the newest session, as a filter or run again.

use std::env::current_dir;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use ktstr_driver::replay::{Replay as Found, ReplayOptions, ReplayRequest};
use ktstr_driver::{KernelRequest, NextestStreams, SavedSession};
use ktstr_kernel::BaseConfig;
use ktstr_options::base_config;
use ktstr_render::{replay, summary};
use ktstr_terminal::tell;

use crate::{CommandResult, Context, printed, test};

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// Run the tests, on the same kernels and with the same options.
    #[arg(long)]
    exec: bool,

    /// Leave out tests whose name does not contain SUBSTRING.
    #[arg(short = 'E', value_name = "SUBSTRING")]
    name_contains: Option<String>,

    /// Take the records from an archived copy of target/ktstr, or from one run
    /// directory [default: `KTSTR_SIDECAR_DIR`, else target/ktstr].
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,

    /// Run the tests on this kernel instead, see `test --help`; can be given several
    /// times.
    #[arg(long, value_name = "ID", requires = "exec")]
    kernel: Vec<String>,

    /// With a range, also include end-of-life (EOL) series.
    #[arg(long, requires = "kernel")]
    include_eol: bool,

    /// Base configuration for a --kernel without a .config [default: that session's].
    #[arg(long, value_name = "BASE", value_parser = base_config(), requires = "kernel")]
    base_config: Option<BaseConfig>,

    /// Cargo profile to build schedulers with [default: that session's].
    #[arg(long, value_name = "NAME", requires = "exec")]
    profile: Option<String>,

    /// Profile of .config/nextest.toml to run the tests with [default: that session's].
    #[arg(long, value_name = "NAME", requires = "exec")]
    nextest_profile: Option<String>,

    /// Arguments for `cargo nextest run`. An option replaces that session's of the same
    /// name; a filter narrows the replay.
    #[arg(last = true, value_name = "NEXTEST-ARGS", requires = "exec")]
    nextest_args: Vec<OsString>,
}

pub(crate) fn run(arguments: Replay, context: &Context) -> CommandResult {
    let style = &context.style;
    let options = ReplayOptions {
        kernels: KernelRequest {
            identifiers: arguments.kernel,
            base_config: arguments.base_config,
            include_eol: arguments.include_eol,
        },
        scheduler_profile: arguments.profile,
        nextest_profile: arguments.nextest_profile,
        nextest_args: arguments.nextest_args,
    };
    let place = context.session()?;
    let place = place.nextest_args(options.nextest_args.iter().cloned());
    let request = ReplayRequest {
        dir: arguments.dir,
        name_contains: arguments.name_contains,
    };
    let found = Found::find(&place, &request)?;
    let kernels = found.kernels_for(&options, &context.host, &current_dir()?);
    let saved = found.options().map(SavedSession::options);
    let command = saved.map(|saved| summary::test_command(&saved, &style.program));
    let (command, now) = (command.as_deref(), SystemTime::now());
    tell(replay::found(&found, &kernels, command, now, style));
    let Some(filter) = found.filter() else {
        return Ok(ExitCode::SUCCESS);
    };
    if !arguments.exec {
        tell(replay::how_to_run(style));
        return printed(format!("{filter}\n"));
    }
    tell(replay::differences(&found, &context.host, style));
    let (reporter, cancel) = (context.reporter(), &context.cancel);
    let session = found
        .session(test::host(context)?, current_dir()?, &options)
        .streams(NextestStreams::Foreground);
    let session = found.prepare(session, &options, kernels, &reporter)?;
    let plan = found.plan(session, options.has_kernels(), &reporter, cancel)?;
    tell(replay::planned(&plan, style));
    let report = plan.run(&reporter, cancel)?;
    test::summarize(&report, &plan.options(), "test", context);
    Ok(ExitCode::from(report.exit_code))
}
