//! `affected`: prints the packages of the schedulers that changes affect. Narrows a session to them, for `--relevant`.

use std::env::current_dir;

use ktstr_driver::affected::Tests;
use ktstr_driver::{NextestStreams, Session};
use ktstr_render::affected;
use ktstr_render::progress::Reporter;
use ktstr_vmm::CancelToken;

use crate::Context;
use crate::cli::{Affected, Relevant};
use crate::failure::{CommandResult, Failure};
use crate::terminal::{print, reporter, tell};

pub(crate) fn run(arguments: &Affected, context: &Context) -> CommandResult {
    let session = Session::new(context.host.clone(), current_dir()?)
        .streams(NextestStreams::Foreground)
        .nextest_args(arguments.nextest_args.iter().cloned());
    let reporter = reporter(&context.style);
    let request = arguments.baseline.request();
    let affected = session.affected(&request, &reporter, &CancelToken::new()?)?;
    if arguments.explain {
        tell(affected::explanation(&affected, &context.style));
    }
    tell(affected::schedulers_notice(&affected, &context.style));
    print(serde_json::to_string(&affected.schedulers)? + "\n")
}

/// `session` with the tests that changes affect, if `arguments` ask for that; `None` where there are none, which is told.
pub(crate) fn narrow(
    session: Session,
    arguments: &Relevant,
    context: &Context,
    reporter: &Reporter,
) -> Result<Option<Session>, Failure> {
    if !arguments.is_wanted {
        return Ok(Some(session));
    }
    let affected = session.affected(&arguments.request(), reporter, &CancelToken::new()?)?;
    if arguments.explain {
        tell(affected::explanation(&affected, &context.style));
    }
    tell(affected::tests_notice(&affected, &context.style));
    Ok(match affected.tests {
        Tests::All => Some(session),
        Tests::None => None,
        Tests::Matching(expression) => Some(session.narrowed(&expression)),
    })
}
