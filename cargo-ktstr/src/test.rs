//! `test`: kernels first, then nextest, then where results are and how to run failures again.

use std::env::current_exe;
use std::io;
use std::process::ExitCode;

use clap::Args;
use ktstr_core::host::Host;
use ktstr_driver::coverage::with_profile_file;
use ktstr_driver::{KernelChoice, Session, SessionOptions, SessionReport};
use ktstr_options::SessionArgs;
use ktstr_render::summary;
use ktstr_terminal::tell;

use crate::affected::{self, Relevant};
use crate::{CommandResult, Context};

/// `test`, which can be narrowed to what changes affect.
#[derive(Debug, Args)]
pub(crate) struct NarrowedTest {
    #[command(flatten)]
    pub(crate) test: SessionArgs,

    #[command(flatten)]
    pub(crate) relevant: Relevant,
}

pub(crate) fn run(arguments: NarrowedTest, context: &Context) -> CommandResult {
    let options = SessionOptions::from(arguments.test);
    let session = session(options.clone(), context)?;
    run_narrowed(session, &options, arguments.relevant, context)
}

/// Runs `session`, which has `options`, with the tests that `relevant` asks for.
pub(crate) fn run_narrowed(
    session: Session,
    options: &SessionOptions,
    relevant: Relevant,
    context: &Context,
) -> CommandResult {
    let reporter = context.reporter();
    // Before a kernel is looked for: there may be no need of one.
    let Some(session) = affected::narrow(session, relevant, context, &reporter)? else {
        return Ok(ExitCode::SUCCESS);
    };
    let session = session.prepare(KernelChoice::Requested, &reporter)?;
    let report = session.run(&reporter, &context.cancel)?;
    summarize(&report, options, "test", context);
    Ok(ExitCode::from(report.exit_code))
}

/// A session with these options, of which nothing was looked for.
pub(crate) fn session(options: SessionOptions, context: &Context) -> io::Result<Session> {
    let session = context.session()?.with_host(host(context)?);
    Ok(session.with_options(options))
}

/// The environment of tests: programs that are measured leave no profiles in the directory they run in.
pub(crate) fn host(context: &Context) -> io::Result<Host> {
    Ok(with_profile_file(context.host.clone(), &current_exe()?))
}

/// Tells where results are, how many cases (each called a `noun`) ended how, and how to run failures again.
pub(crate) fn summarize(
    report: &SessionReport,
    options: &SessionOptions,
    noun: &str,
    context: &Context,
) {
    let replays = summary::replays(report, options, &context.style.program);
    tell(summary::text(report, noun, &replays, &context.style));
}
