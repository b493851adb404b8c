//! `kernel list`, `kernel build`, `kernel clean`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use ktstr_driver::kernel_cache;
use ktstr_driver::kernels::{self, KernelOptions};
use ktstr_kernel::{CleanOptions, ExtraKconfig, KernelSpec, ResolvedKernel};
use ktstr_options::ResolutionArgs;
use ktstr_render::kernels as text;
use ktstr_terminal::{confirmed, print, tell};

use crate::cli::help;
use crate::{CommandResult, Context, show};

#[derive(Debug, Subcommand)]
pub(crate) enum KernelCommand {
    /// List cached kernels, newest first.
    List(KernelList),
    /// Build kernels and cache them.
    #[command(after_help = help::BUILD_AFTER)]
    Build(KernelBuild),
    /// Remove cached kernels.
    #[command(after_help = help::CLEAN_AFTER)]
    Clean(KernelClean),
}

#[derive(Debug, Args)]
pub(crate) struct KernelList {
    /// Print JSON.
    #[arg(long)]
    json: bool,

    /// Show the releases that a range stands for instead; nothing is downloaded or
    /// built.
    #[arg(long, value_name = "START..END")]
    kernel: Option<String>,

    /// Also include end-of-life (EOL) series.
    #[arg(long, requires = "kernel")]
    include_eol: bool,
}

#[derive(Debug, Args)]
pub(crate) struct KernelBuild {
    /// Kernel to build (see below); can be given several times [default: the newest
    /// series with eight maintenance releases].
    #[arg(long, value_name = "ID")]
    kernel: Vec<String>,

    #[command(flatten)]
    resolution: ResolutionArgs,

    /// Do not check downloads against the published checksums.
    #[arg(long)]
    skip_sha256: bool,

    /// File of options (`CONFIG_X=y`, `# CONFIG_X is not set`) that override
    /// ktstr's. The kernel gets a cache entry of its own.
    #[arg(long, value_name = "PATH")]
    extra_kconfig: Option<PathBuf>,

    /// Rebuild even if the kernel is cached.
    #[arg(long)]
    force: bool,

    /// Run make mrproper before the build (source trees only).
    #[arg(long)]
    clean: bool,

    /// Build on N host CPUs with N jobs [default: all allowed CPUs].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    cpu_cap: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct KernelClean {
    /// Keep the N newest valid entries.
    #[arg(long, value_name = "N", default_value_t = 0)]
    keep: usize,

    /// Remove broken entries only.
    #[arg(long, conflicts_with = "keep")]
    corrupt_only: bool,

    /// Do not ask for confirmation; required without a terminal.
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(command: KernelCommand, context: &Context) -> CommandResult {
    match command {
        KernelCommand::List(arguments) => list(&arguments, context),
        KernelCommand::Build(arguments) => build(&arguments, context),
        KernelCommand::Clean(arguments) => clean(&arguments, context),
    }
}

fn list(arguments: &KernelList, context: &Context) -> CommandResult {
    let (host, style) = (&context.host, &context.style);
    if let Some(range) = &arguments.kernel {
        let include_eol = arguments.include_eol;
        let releases = kernels::releases(host, range, include_eol, &context.reporter())?;
        return show(&releases, arguments.json, text::releases);
    }
    let list = kernels::list(host)?;
    let shown = show(&list, arguments.json, |list| text::text(list, style));
    let warning = text::stale_warning(&list, style).filter(|_| !arguments.json);
    if let Some(warning) = warning {
        tell(warning + "\n");
    }
    shown
}

fn build(arguments: &KernelBuild, context: &Context) -> CommandResult {
    let extra = arguments.extra_kconfig.as_deref();
    let options = KernelOptions {
        base_config: arguments.resolution.base.base_config,
        extra_kconfig: extra.map(ExtraKconfig::read).transpose()?,
        force: arguments.force,
        clean: arguments.clean,
        include_eol: arguments.resolution.include_eol,
        skip_sha256: arguments.skip_sha256,
        cpu_cap: arguments.cpu_cap,
    };
    let reporter = context.reporter();
    let mut printed = Ok(());
    let mut ready = |spec: &KernelSpec, kernel: &ResolvedKernel| {
        reporter.resolved(spec, kernel);
        let result = print(text::ready(kernel));
        if result.is_err() {
            printed = result;
        }
    };
    let identifiers = &arguments.kernel;
    kernels::resolve(&context.host, identifiers, options, &reporter, &mut ready)?;
    printed?;
    Ok(ExitCode::SUCCESS)
}

fn clean(arguments: &KernelClean, context: &Context) -> CommandResult {
    let cache = kernel_cache(&context.host)?;
    let plan = cache.plan_clean(&CleanOptions {
        keep: arguments.keep,
        corrupt_only: arguments.corrupt_only,
    })?;
    print(text::clean_plan(&cache, &plan, &context.style))?;
    if plan.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let amount = text::clean_amount(&plan);
    let agreed = if arguments.force {
        Some(true)
    } else {
        confirmed(&format!("Remove {amount}?"))?
    };
    match agreed {
        Some(true) => {}
        Some(false) => {
            tell("nothing was removed\n");
            return Ok(ExitCode::FAILURE);
        }
        None => {
            let error = format!(
                "kernel clean would remove {amount}, and there is no terminal to ask at; add --force"
            );
            return Err(error.into());
        }
    }
    let cleaned = cache.clean(&plan);
    tell(text::in_use(&cleaned, &context.style));
    let printed = print(text::cleaned(&cleaned));
    cleaned.into_result()?;
    printed?;
    Ok(ExitCode::SUCCESS)
}
