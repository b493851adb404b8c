//! A shell in a machine.

use std::path::{Path, PathBuf};

use clap::Args;
use ktstr_core::Topology;
use ktstr_core::host::Host;
use ktstr_driver::shell::{Shell, ShellError, ShellScheduler, parse_topology};

use crate::{BaseConfigArgs, MachineArgs};

/// The machine of a shell, and what runs in it.
#[derive(Debug, Args)]
pub struct ShellArgs {
    /// Kernel to boot (see below). Without it, the first of these is used:
    /// `KTSTR_TEST_KERNEL`, `KTSTR_KERNEL`, the newest cached kernel, a built ./linux or
    /// ../linux, the host's own kernel.
    #[arg(long, value_name = "ID")]
    pub kernel: Option<String>,

    /// What a source is configured from.
    #[command(flatten)]
    pub base: BaseConfigArgs,

    /// NUMA nodes, LLCs, cores per LLC and threads per core, such as 1,2,4,1 or
    /// 1n2l4c1t [default: 1,1,2,1].
    #[arg(long, value_name = "N,L,C,T", value_parser = parse_topology)]
    pub topology: Option<Topology>,

    /// Memory in MiB; a machine has at least what its topology and files need.
    #[arg(long, value_name = "MIB")]
    pub memory_mib: Option<u32>,

    /// Put this file or directory into /include-files, programs with their libraries;
    /// can be given several times.
    #[arg(short, long = "include-file", value_name = "FILE")]
    pub include_files: Vec<PathBuf>,

    /// Have the host's files as the root directory; what is written stays in the
    /// machine's memory. QEMU only.
    #[arg(long)]
    pub host_root: bool,

    /// Let gdb debug the machine's kernel, and print the line to type for it. QEMU only.
    #[arg(long)]
    pub gdb: bool,

    /// Start this scheduler first: the path of a program, with a /, or a package of
    /// this project, which is built.
    #[arg(long, value_name = "PROGRAM")]
    pub scheduler: Option<PathBuf>,

    /// Argument for the scheduler; can be given several times.
    #[arg(
        long,
        value_name = "ARG",
        requires = "scheduler",
        allow_hyphen_values = true
    )]
    pub sched_arg: Vec<String>,

    /// Cargo profile to build the scheduler with [default: release].
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,

    /// Run this command of /bin/sh instead of a shell, with standard input, output and
    /// error of this process.
    #[arg(long, value_name = "CMD")]
    pub exec: Option<String>,

    /// Show the kernel's messages on standard error as they come.
    #[arg(long)]
    pub dmesg: bool,

    /// What carries the machine.
    #[command(flatten)]
    pub machines: MachineArgs,
}

impl ShellArgs {
    /// The shell that is described, of which nothing was looked for; relative paths are below `dir`. It has no kernel yet:
    /// [`Shell::on_kernel_named`] takes [`kernel`](Self::kernel) and the base configuration.
    pub fn shell(&self, host: &Host, dir: &Path) -> Result<Shell, ShellError> {
        let plain = Shell::new(host.clone(), dir);
        let profile = self.profile.clone();
        let profile = profile.unwrap_or_else(|| plain.scheduler_profile.clone());
        let named = |program: &PathBuf| {
            let args = self.sched_arg.clone();
            ShellScheduler::named(program, args, dir, &profile)
        };
        Ok(Shell {
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
