//! `export`: a test as a file that runs it without a machine.

use std::path::PathBuf;

use clap::Args;
use ktstr_driver::ExportOptions;
use ktstr_render::export;
use ktstr_terminal::tell;

use crate::{CommandResult, Context, printed};

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Name of the test: its function, the path of that, or a case such as ktstr/NAME.
    test: String,

    /// The file to write [default: NAME.run].
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,

    /// Look for the test in this package of the workspace only.
    #[arg(short, long, value_name = "NAME")]
    package: Option<String>,

    /// Build the test in release mode, which has stricter default thresholds.
    #[arg(long)]
    release: bool,
}

pub(crate) fn run(arguments: Export, context: &Context) -> CommandResult {
    let words = match &arguments.package {
        Some(name) => vec!["-p", name],
        None => vec!["--workspace"],
    };
    let session = context.session()?.release(arguments.release);
    let session = session.nextest_args(words);
    let options = ExportOptions {
        output: arguments.output,
    };
    let (reporter, cancel) = (context.reporter(), &context.cancel);
    let exported = session.export(&arguments.test, &options, &reporter, cancel)?;
    tell(export::notes(&exported, &context.style));
    printed(export::text(&exported))
}
