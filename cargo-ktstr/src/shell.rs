//! `shell`: a shell or a command in a machine, at this process's terminal or with its streams.

use std::env::current_dir;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ktstr_core::Topology;
use ktstr_core::host::Host;
use ktstr_driver::shell::{GdbSocket, Shell as Run, ShellScheduler, parse_topology};
use ktstr_render::progress::Reporter;
use ktstr_render::shell as text;
use ktstr_terminal::{shell as terminal, tell};

use crate::cli::options::{Base, Lookup, Machines};
use crate::{Context, tell_of};

/// `cargo ktstr shell`: what `ktstr shell` takes, and tests.
#[derive(Debug, Args)]
#[command(mut_group("Lookup", |group| group.requires("test")))]
#[command(mut_group("Listing", |group| group.requires("test")))]
pub(crate) struct Shell {
    #[command(flatten)]
    machine: ShellMachine,

    /// Take topology, memory, kernel arguments, include files and scheduler of this
    /// test: its function, the path of that, or a case such as ktstr/NAME.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["topology", "memory_mib"])]
    test: Option<String>,

    #[command(flatten)]
    lookup: Lookup,
}

/// What `ktstr shell` takes.
#[derive(Debug, Args)]
pub(crate) struct ShellMachine {
    /// Kernel to boot (see below). Without it, the first of these is used:
    /// `KTSTR_TEST_KERNEL`, `KTSTR_KERNEL`, the newest cached kernel, a built ./linux or
    /// ../linux, the host's own kernel.
    #[arg(long, value_name = "ID")]
    kernel: Option<String>,

    #[command(flatten)]
    base: Base,

    /// NUMA nodes, LLCs, cores per LLC and threads per core, such as 1,2,4,1 or
    /// 1n2l4c1t [default: 1,1,2,1].
    #[arg(long, value_name = "N,L,C,T", value_parser = parse_topology)]
    topology: Option<Topology>,

    /// Memory in MiB; a machine has at least what its topology and files need.
    #[arg(long, value_name = "MIB")]
    memory_mib: Option<u32>,

    /// Put this file or directory into /include-files, programs with their libraries;
    /// can be given several times.
    #[arg(short, long = "include-file", value_name = "FILE")]
    include_files: Vec<PathBuf>,

    /// Have the host's files as the root directory; what is written stays in the
    /// machine's memory. QEMU only.
    #[arg(long)]
    host_root: bool,

    /// Let gdb debug the machine's kernel, and print the line to type for it. QEMU only.
    #[arg(long)]
    gdb: bool,

    /// Start this scheduler first: the path of a program, with a /, or a package of
    /// this project, which is built.
    #[arg(long, value_name = "PROGRAM")]
    scheduler: Option<PathBuf>,

    /// Argument for the scheduler; can be given several times.
    #[arg(
        long,
        value_name = "ARG",
        requires = "scheduler",
        allow_hyphen_values = true
    )]
    sched_arg: Vec<String>,

    /// Cargo profile to build the scheduler with [default: release].
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,

    /// Run this command of /bin/sh instead of a shell, with standard input, output and
    /// error of this process.
    #[arg(long, value_name = "CMD")]
    exec: Option<String>,

    /// Show the kernel's messages on standard error as they come.
    #[arg(long)]
    dmesg: bool,

    #[command(flatten)]
    machines: Machines,
}

/// `cargo ktstr shell`.
pub(crate) fn run(arguments: &Shell, context: &Context) -> ExitCode {
    status(|| {
        let reporter = context.reporter();
        let mut shell = arguments.machine.shell(&context.host)?;
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
pub(crate) fn run_standalone(arguments: &ShellMachine, context: &Context) -> ExitCode {
    status(|| {
        let shell = arguments.shell(&context.host)?;
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
    arguments: &ShellMachine,
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

impl ShellMachine {
    /// The shell that is described, of which nothing was looked for.
    fn shell(&self, host: &Host) -> Result<Run, Box<dyn Error>> {
        let dir = current_dir()?;
        let plain = Run::new(host.clone(), &dir);
        let profile = self.profile.clone();
        let profile = profile.unwrap_or_else(|| plain.scheduler_profile.clone());
        let named = |program: &PathBuf| {
            let args = self.sched_arg.clone();
            ShellScheduler::named(program, args, &dir, &profile)
        };
        Ok(Run {
            topology: self.topology.unwrap_or(plain.topology),
            memory_mib: self.memory_mib.unwrap_or(plain.memory_mib),
            include_files: self.include_files.clone(),
            host_root: self.host_root,
            scheduler: self.scheduler.as_ref().map(named).transpose()?,
            scheduler_profile: profile.clone(),
            command: self.exec.clone(),
            backend: self.machines.backend,
            no_perf_mode: self.machines.no_perf_mode,
            cpu_cap: self.machines.cpu_cap,
            verbose_console: self.dmesg,
            ..plain
        })
    }
}
