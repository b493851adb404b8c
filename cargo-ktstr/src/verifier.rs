//! `verifier`: runs the sweep over declared schedulers and prints its tables.

use std::process::ExitCode;

use clap::Args;
use ktstr_driver::verifier::Sweep;
use ktstr_driver::{KernelChoice, SessionOptions};
use ktstr_options::SessionArgs;
use ktstr_render::verifier;
use ktstr_terminal::print;

use crate::test;
use crate::{CommandResult, Context};

#[derive(Debug, Args)]
pub(crate) struct Verifier {
    /// Check this scheduler only; can be given several times.
    #[arg(long, value_name = "NAME")]
    scheduler: Vec<String>,

    /// Show the whole verifier log of a failed cell, with every loop iteration.
    #[arg(long)]
    raw: bool,

    #[command(flatten)]
    test: SessionArgs,
}

pub(crate) fn run(arguments: Verifier, context: &Context) -> CommandResult {
    let options = SessionOptions::from(arguments.test);
    let reporter = context.reporter();
    let session = test::session(options.clone(), context)?;
    let session = session.prepare(KernelChoice::Requested, &reporter)?;
    let report = Sweep::new(session, options.nextest_args.iter().cloned())
        .schedulers(arguments.scheduler)
        .raw(arguments.raw)
        .run(&reporter, &context.cancel)?;
    test::summarize(&report.session, &options, "cell", context);
    print(verifier::text(&report.schedulers, &context.style))?;
    Ok(ExitCode::from(report.session.exit_code))
}
