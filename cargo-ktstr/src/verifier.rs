//! `verifier`: runs the sweep over declared schedulers and prints its tables.

use std::process::ExitCode;

use ktstr_driver::verifier::Sweep;
use ktstr_render::verifier;
use ktstr_vmm::CancelToken;

use crate::Context;
use crate::cli::Verifier;
use crate::failure::CommandResult;
use crate::terminal::{print, reporter};
use crate::test;

pub(crate) fn run(arguments: &Verifier, context: &Context) -> CommandResult {
    let reporter = reporter(&context.style);
    let session = test::session(&arguments.test, context, &reporter)?;
    let report = Sweep::new(session, arguments.test.nextest_args.iter().cloned())
        .schedulers(arguments.scheduler.clone())
        .raw(arguments.raw)
        .run(&reporter, &CancelToken::new()?)?;
    test::summarize(&report.session, &arguments.test, "cell", context);
    print(verifier::text(&report.schedulers, &context.style))?;
    Ok(ExitCode::from(report.session.exit_code))
}
