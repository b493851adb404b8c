//! `affected`: prints the packages of the schedulers that changes affect. Narrows a session to them, for `--relevant`.

use std::error::Error;

use clap::Args;
use ktstr_driver::Session;
use ktstr_options::{BaselineArgs, ListArgs};
use ktstr_render::affected;
use ktstr_render::progress::Reporter;
use ktstr_terminal::tell;

use crate::{CommandResult, Context, printed};

#[derive(Debug, Args)]
pub(crate) struct Affected {
    #[command(flatten)]
    baseline: BaselineArgs,

    /// Also tell for each changed file what it affects, and why, on standard error.
    #[arg(long)]
    explain: bool,

    #[command(flatten)]
    list: ListArgs,
}

/// Narrows a run to what changes affect.
#[derive(Debug, Args)]
#[command(mut_group("BaselineArgs", |group| group.requires("relevant")))]
pub(crate) struct Relevant {
    /// Run only tests that your changes affect: by their scheduler, or by their own
    /// package.
    #[arg(id = "relevant", long = "relevant")]
    is_wanted: bool,

    #[command(flatten, next_help_heading = "With --relevant")]
    baseline: BaselineArgs,

    /// Tell for each changed file what it affects, and why.
    #[arg(long, requires = "relevant")]
    explain: bool,
}

pub(crate) fn run(arguments: Affected, context: &Context) -> CommandResult {
    let session = context.session()?.nextest_args(arguments.list.nextest_args);
    let (request, style) = (arguments.baseline.into(), &context.style);
    let affected = session.affected(&request, &context.reporter(), &context.cancel)?;
    if arguments.explain {
        tell(affected::explanation(&affected, style));
    }
    tell(affected::schedulers_notice(&affected, style));
    printed(serde_json::to_string(&affected.schedulers)? + "\n")
}

/// `session` with the tests that changes affect, if `arguments` ask for that; `None` where there are none, which is told.
pub(crate) fn narrow(
    session: Session,
    arguments: Relevant,
    context: &Context,
    reporter: &Reporter,
) -> Result<Option<Session>, Box<dyn Error>> {
    if !arguments.is_wanted {
        return Ok(Some(session));
    }
    let affected = session.affected(&arguments.baseline.into(), reporter, &context.cancel)?;
    if arguments.explain {
        tell(affected::explanation(&affected, &context.style));
    }
    tell(affected::tests_notice(&affected, &context.style));
    Ok(session.narrowed_to(&affected.tests))
}
