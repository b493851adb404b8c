//! `coverage`: a session of `test` under cargo-llvm-cov. `llvm-cov`: cargo-llvm-cov itself, on the same kernels.

use std::env::current_dir;
use std::process::ExitCode;

use ktstr_driver::coverage::LlvmCovArgs;
use ktstr_driver::kernels::{self, KernelOptions};
use ktstr_driver::{NextestStreams, Session};
use ktstr_kernel::BaseConfig;
use ktstr_vmm::CancelToken;

use crate::cli::{LlvmCov, NarrowedTest, Test};
use crate::failure::CommandResult;
use crate::terminal::reporter;
use crate::{Context, affected, test};

pub(crate) fn run(arguments: &NarrowedTest, context: &Context) -> CommandResult {
    let reporter = reporter(&context.style);
    let args = LlvmCovArgs::split(arguments.test.nextest_args.iter().cloned());
    let test = Test {
        nextest_args: args.nextest.clone(),
        ..arguments.test.clone()
    };
    let session = test::unprepared(&test, context.host.clone())?.coverage(&args)?;
    let narrowed = affected::narrow(session, &arguments.relevant, context, &reporter)?;
    let Some(session) = narrowed else {
        return Ok(ExitCode::SUCCESS);
    };
    let session = test::prepared(session, &test, context, &reporter)?;
    let report = session.run(&reporter, &CancelToken::new()?)?;
    test::summarize(&report, &test, "test", context);
    Ok(ExitCode::from(report.exit_code))
}

pub(crate) fn llvm_cov(arguments: &LlvmCov, context: &Context) -> CommandResult {
    let reporter = reporter(&context.style);
    let mut session =
        Session::new(context.host.clone(), current_dir()?).streams(NextestStreams::Foreground);
    if !arguments.kernel.is_empty() {
        let options = KernelOptions {
            base_config: arguments.base_config.map(BaseConfig::from),
            include_eol: arguments.include_eol,
            ..KernelOptions::default()
        };
        let mut ready = |spec: &_, kernel: &_| reporter.resolved(spec, kernel);
        let identifiers = &arguments.kernel;
        let kernels = kernels::resolve(&context.host, identifiers, options, &reporter, &mut ready)?;
        session = session.kernels(kernels);
    }
    let code = session.llvm_cov(&arguments.args, &reporter, &CancelToken::new()?)?;
    Ok(ExitCode::from(code))
}
