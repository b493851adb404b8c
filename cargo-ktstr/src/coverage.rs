//! `coverage`: a session of `test` under cargo-llvm-cov. `llvm-cov`: cargo-llvm-cov itself, on the same kernels.

use std::env::current_dir;
use std::process::ExitCode;

use ktstr_driver::coverage::LlvmCovArgs;
use ktstr_driver::{KernelRequest, NextestStreams, Session};
use ktstr_kernel::BaseConfig;
use ktstr_vmm::CancelToken;

use crate::cli::{LlvmCov, NarrowedTest, Test};
use crate::failure::CommandResult;
use crate::terminal::reporter;
use crate::{Context, test};

pub(crate) fn run(arguments: &NarrowedTest, context: &Context) -> CommandResult {
    let args = LlvmCovArgs::split(arguments.test.nextest_args.iter().cloned());
    let test = Test {
        nextest_args: args.nextest.clone(),
        ..arguments.test.clone()
    };
    let session = test::unprepared(&test, context.host.clone())?.coverage(&args)?;
    test::run_narrowed(session, &test, &arguments.relevant, context)
}

pub(crate) fn llvm_cov(arguments: &LlvmCov, context: &Context) -> CommandResult {
    let reporter = reporter(&context.style);
    let mut session =
        Session::new(context.host.clone(), current_dir()?).streams(NextestStreams::Foreground);
    if !arguments.kernel.is_empty() {
        let request = KernelRequest {
            identifiers: arguments.kernel.clone(),
            base_config: arguments.base_config.map(BaseConfig::from),
            include_eol: arguments.include_eol,
        };
        let kernels = test::kernels(&request, context, &reporter)?;
        session = session.kernels(kernels);
    }
    let code = session.llvm_cov(&arguments.args, &reporter, &CancelToken::new()?)?;
    Ok(ExitCode::from(code))
}
