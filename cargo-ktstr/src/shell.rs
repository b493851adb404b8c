//! `shell`: a shell or a command in a machine, at this process's terminal or with its streams.

use std::env::current_dir;
use std::error::Error;
use std::process::ExitCode;

use clap::Args;
use ktstr_driver::shell::{GdbSocket, Shell as Run};
use ktstr_options::{LookupArgs, ShellArgs};
use ktstr_render::progress::Reporter;
use ktstr_render::shell as text;
use ktstr_terminal::{shell as terminal, tell};

use crate::{Context, tell_of};

/// `cargo ktstr shell`: what `ktstr shell` takes, and tests.
#[derive(Debug, Args)]
#[command(mut_arg("release", |arg| arg.requires("test")))]
#[command(mut_arg("nextest_args", |arg| arg.requires("test")))]
pub(crate) struct Shell {
    #[command(flatten)]
    machine: ShellArgs,

    /// Take topology, memory, kernel arguments, include files and scheduler of this
    /// test: its function, the path of that, or a case such as ktstr/NAME.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["topology", "memory_mib"])]
    test: Option<String>,

    #[command(flatten)]
    lookup: LookupArgs,
}

/// `cargo ktstr shell`.
pub(crate) fn run(arguments: &Shell, context: &Context) -> ExitCode {
    status(|| {
        let reporter = context.reporter();
        let mut shell = arguments.machine.shell(&context.host, &current_dir()?)?;
        if let Some(test) = &arguments.test {
            let session = arguments.lookup.clone().of(context.session()?);
            let mut found = session.machines(test, &reporter, &context.cancel)?;
            tell(text::other_binaries(test, &found, &context.style.program));
            shell = shell.on_machine_of(found.swap_remove(0))?;
        }
        in_machine(shell, &arguments.machine, context, &reporter)
    })
}

/// `ktstr shell`.
pub(crate) fn run_standalone(arguments: &ShellArgs, context: &Context) -> ExitCode {
    status(|| {
        let shell = arguments.shell(&context.host, &current_dir()?)?;
        in_machine(shell, arguments, context, &context.reporter())
    })
}

fn status(run: impl FnOnce() -> Result<u8, Box<dyn Error>>) -> ExitCode {
    ExitCode::from(run().unwrap_or_else(|error| {
        tell_of(&*error);
        terminal::FAILED
    }))
}

/// Runs the shell; returns the exit status.
fn in_machine(
    mut shell: Run,
    arguments: &ShellArgs,
    context: &Context,
    reporter: &Reporter,
) -> Result<u8, Box<dyn Error>> {
    if let Some(identifier) = &arguments.kernel {
        shell = shell.on_kernel_named(identifier, arguments.base.base_config, reporter)?;
    }
    let gdb = arguments.gdb.then(|| GdbSocket::new(&context.host));
    let gdb = gdb.transpose()?;
    Ok(terminal::run(shell, gdb.as_ref(), &context.style)?)
}
