//! `coverage`: a session of `test` under cargo-llvm-cov. `llvm-cov`: cargo-llvm-cov itself, on the same kernels.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;
use ktstr_driver::SessionOptions;
use ktstr_driver::coverage::LlvmCovArgs;
use ktstr_options::ResolutionArgs;

use crate::test::{self, NarrowedTest};
use crate::{CommandResult, Context};

#[derive(Debug, Args)]
pub(crate) struct LlvmCov {
    /// Kernel to test on, as for `coverage`; can be given several times.
    #[arg(long, value_name = "ID")]
    kernel: Vec<String>,

    #[command(flatten)]
    resolution: ResolutionArgs,

    /// Subcommand of `cargo llvm-cov` and its arguments.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "LLVM-COV-ARGS"
    )]
    args: Vec<OsString>,
}

pub(crate) fn run(arguments: NarrowedTest, context: &Context) -> CommandResult {
    let options = SessionOptions::from(arguments.test);
    let args = LlvmCovArgs::split(options.nextest_args);
    let options = SessionOptions {
        nextest_args: args.nextest.clone(),
        ..options
    };
    let session = context.session()?.with_options(options.clone());
    let session = session.coverage(&args)?;
    test::run_narrowed(session, &options, arguments.relevant, context)
}

pub(crate) fn llvm_cov(arguments: &LlvmCov, context: &Context) -> CommandResult {
    let reporter = context.reporter();
    let request = arguments.resolution.request(&arguments.kernel);
    let session = context.session()?.kernel_request(request);
    let session = session.resolve_kernels(&reporter)?;
    let code = session.llvm_cov(&arguments.args, &reporter, &context.cancel)?;
    Ok(ExitCode::from(code))
}
