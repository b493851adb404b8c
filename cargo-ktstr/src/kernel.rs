//! `kernel list`, `kernel build`, `kernel clean`.

use std::process::ExitCode;

use ktstr_driver::kernel_cache;
use ktstr_driver::kernels::{self, KernelOptions};
use ktstr_kernel::{BaseConfig, CleanOptions, ExtraKconfig, KernelSpec, ResolvedKernel};
use ktstr_render::kernels as text;

use crate::Context;
use crate::cli::{Kernel, KernelBuild, KernelClean, KernelCommand, KernelList};
use crate::failure::{CommandResult, Failure};
use crate::terminal::{confirmed, print, reporter, tell};

pub(crate) fn run(arguments: &Kernel, context: &Context) -> CommandResult {
    match &arguments.command {
        KernelCommand::List(arguments) => match &arguments.kernel {
            Some(range) => preview(range, arguments, context),
            None => list(arguments, context),
        },
        KernelCommand::Build(arguments) => build(arguments, context),
        KernelCommand::Clean(arguments) => clean(arguments, context),
    }
}

fn list(arguments: &KernelList, context: &Context) -> CommandResult {
    let list = kernels::list(&context.host)?;
    if arguments.json {
        return print(format!("{:#}\n", serde_json::to_value(&list)?));
    }
    let printed = print(text::text(&list, &context.style));
    if let Some(warning) = text::stale_warning(&list, &context.style) {
        tell(warning + "\n");
    }
    printed
}

/// The releases that a range stands for.
fn preview(range: &str, arguments: &KernelList, context: &Context) -> CommandResult {
    let reporter = reporter(&context.style);
    let releases = kernels::releases(&context.host, range, arguments.include_eol, &reporter)?;
    if arguments.json {
        return print(format!("{:#}\n", serde_json::to_value(&releases)?));
    }
    print(text::releases(&releases))
}

fn build(arguments: &KernelBuild, context: &Context) -> CommandResult {
    let extra = arguments.extra_kconfig.as_deref();
    let options = KernelOptions {
        base_config: arguments.base_config.map(BaseConfig::from),
        extra_kconfig: extra.map(ExtraKconfig::read).transpose()?,
        force: arguments.force,
        clean: arguments.clean,
        include_eol: arguments.include_eol,
        skip_sha256: arguments.skip_sha256,
        cpu_cap: arguments.cpu_cap,
    };
    let reporter = reporter(&context.style);
    let mut printed = Ok(ExitCode::SUCCESS);
    let mut ready = |spec: &KernelSpec, kernel: &ResolvedKernel| {
        reporter.resolved(spec, kernel);
        let result = print(text::ready(kernel));
        if result.is_err() {
            printed = result;
        }
    };
    let identifiers = &arguments.kernel;
    kernels::resolve(&context.host, identifiers, options, &reporter, &mut ready)?;
    printed
}

fn clean(arguments: &KernelClean, context: &Context) -> CommandResult {
    let cache = kernel_cache(&context.host)?;
    let plan = cache.plan_clean(&CleanOptions {
        keep: arguments.keep,
        corrupt_only: arguments.corrupt_only,
    })?;
    let printed = print(text::clean_plan(&cache, &plan, &context.style))?;
    if plan.is_empty() {
        return Ok(printed);
    }
    if !arguments.force {
        let amount = text::clean_amount(&plan);
        match confirmed(&format!("Remove {amount}?"))? {
            Some(true) => {}
            Some(false) => {
                tell("nothing was removed\n");
                return Ok(ExitCode::FAILURE);
            }
            None => {
                return Err(Failure::new(format!(
                    "kernel clean would remove {amount}, and there is no terminal to ask at; add --force"
                )));
            }
        }
    }
    let cleaned = cache.clean(&plan);
    tell(text::in_use(&cleaned, &context.style));
    let printed = print(text::cleaned(&cleaned));
    let mut failure = Failure::default();
    for error in cleaned.errors {
        failure.add(error);
    }
    failure.into_result(())?;
    printed
}
