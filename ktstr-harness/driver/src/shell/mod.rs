//! A shell in a machine, or one command: what a person looks around with where tests run.
//!
//! ```no_run
//! use std::io::{stderr, stdin, stdout};
//! use std::os::fd::AsFd;
//!
//! use ktstr_core::host::Host;
//! use ktstr_driver::shell::{Shell, ShellControl, ShellStreams};
//! use ktstr_harness::runner::RunEvent;
//! use ktstr_vmm::CancelToken;
//!
//! // In the machine this program is init, and does not come back from here.
//! ktstr_harness::dispatch::enter_guest();
//!
//! let shell = Shell {
//!     topology: "1n2l4c1t".parse()?,
//!     command: Some("cat /proc/cpuinfo".to_owned()),
//!     ..Shell::new(Host::of_this_process(), ".")
//! };
//! let (input, output, error) = (stdin(), stdout(), stderr());
//! let streams = ShellStreams {
//!     input: input.as_fd(),
//!     output: output.as_fd(),
//!     error: error.as_fd(),
//!     console: None,
//!     control: &ShellControl::new()?,
//! };
//! let outcome = shell.run(streams, &mut |_: RunEvent<'_>| {}, &CancelToken::new()?)?;
//! println!("{:?}", outcome.end);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod gdb;
mod program;
mod root;
mod scheduler;
mod topology;

use std::path::PathBuf;

use ktstr_core::Topology;
use ktstr_core::host::Host;
use ktstr_harness::cases::NamedKernel;
use ktstr_harness::dispatch::CaseProgram;
use ktstr_harness::protocol::{HOST_ROOT_TAG, ShellSpec};
use ktstr_harness::runner::{MachinePlan, RunEvent, RunObserver, Runner, Settings};
use ktstr_kernel::{BaseConfig, Progress, ResolvedKernel};
use ktstr_vmm::initramfs::{Initramfs, InitramfsBuilder};
use ktstr_vmm::{Backend, CancelToken, SharedDirectory};

pub use error::ShellError;
pub use gdb::GdbSocket;
pub use ktstr_harness::protocol::{ShellExit, TerminalSize};
pub use ktstr_harness::runner::{
    MachineEnd, RunTimes, ShellControl, ShellEnd, ShellOutcome, ShellStreams,
};
pub use root::{ShellRoot, ShellUse, root};
pub use scheduler::ShellScheduler;
pub use topology::{ParseShapeError, parse_topology};

use crate::TestMachine;
use crate::kernels::{self, KernelOptions, KernelsError};

/// Shape of a machine that nobody says anything about: that of a test.
const TOPOLOGY: Topology = Topology::constant(1, 1, 2, 1);

/// Variables of the host that mean the same in the guest: how its terminal and texts are to be understood.
const VARIABLES: &[&str] = &["COLORTERM", "LANG", "LC_ALL", "LC_CTYPE", "TERM"];

/// A shell that is to run. Plain data: nothing is looked up before [`Shell::run`].
#[derive(Debug, Clone)]
pub struct Shell {
    /// Environment, and where programs and files are looked for.
    pub host: Host,
    /// Directory that relative paths are below.
    pub dir: PathBuf,
    /// The kernel; without one, one that is built already is found.
    pub kernel: Option<NamedKernel>,
    /// The kernel with its symbols, where that is known: for a debugger.
    pub vmlinux: Option<PathBuf>,
    /// CPUs, caches and NUMA nodes.
    pub topology: Topology,
    /// Memory in MiB, a lower bound: a machine has what its topology and its files need.
    pub memory_mib: u32,
    /// Further arguments of the kernel.
    pub kernel_args: Vec<String>,
    /// Whether the machine gets host CPUs of its own.
    pub performance_mode: bool,
    /// Host files and directories that the guest finds below `/include-files/`.
    pub include_files: Vec<PathBuf>,
    /// Programs that the guest finds below `/programs/`.
    pub programs: Vec<CaseProgram>,
    /// Whether the root directory is the host's, with a layer above it that takes what is written. Only on QEMU.
    pub host_root: bool,
    /// Where a debugger finds the machine: [`GdbSocket::path`]. Its kernel's addresses are those of its `vmlinux` then.
    /// Only on QEMU.
    pub gdb: Option<PathBuf>,
    /// What runs in it beside the shell.
    pub scheduler: Option<ShellScheduler>,
    /// Cargo profile that a scheduler's package is built with.
    pub scheduler_profile: String,
    /// The command that `/bin/sh -c` runs; without one, a shell that reads its commands.
    pub command: Option<String>,
    /// The terminal that it is typed at; without one, it has three pipes.
    pub terminal: Option<TerminalSize>,
    /// What carries the machine; without one, what `KTSTR_BACKEND` says or what works.
    pub backend: Option<Backend>,
    /// Never in performance mode.
    pub no_perf_mode: bool,
    /// How many host CPUs a machine has that is not in performance mode; without a number, what `KTSTR_CPU_CAP` says.
    pub cpu_cap: Option<u32>,
    /// Whether the kernel writes all of its messages to the console.
    pub verbose_console: bool,
}

impl Shell {
    /// A shell on a small machine. The environment of `host` says where caches are and what is the default.
    pub fn new(host: Host, dir: impl Into<PathBuf>) -> Self {
        Self {
            host,
            dir: dir.into(),
            kernel: None,
            vmlinux: None,
            topology: TOPOLOGY,
            memory_mib: 0,
            kernel_args: Vec::new(),
            performance_mode: false,
            include_files: Vec::new(),
            programs: Vec::new(),
            host_root: false,
            gdb: None,
            scheduler: None,
            scheduler_profile: "release".to_owned(),
            command: None,
            terminal: None,
            backend: None,
            no_perf_mode: false,
            cpu_cap: None,
            verbose_console: false,
        }
    }

    /// The same on that kernel.
    #[must_use]
    pub fn on_kernel(mut self, kernel: &ResolvedKernel) -> Self {
        self.kernel = Some(NamedKernel {
            label: kernel.label.clone(),
            image: kernel.image.clone(),
        });
        self.vmlinux.clone_from(&kernel.vmlinux);
        self
    }

    /// The same on the one kernel that `identifier` names, which is downloaded and built where that is needed.
    pub fn on_kernel_named(
        self,
        identifier: &str,
        base_config: Option<BaseConfig>,
        progress: &dyn Progress,
    ) -> Result<Self, ShellError> {
        let options = KernelOptions {
            base_config,
            cpu_cap: self.cpu_cap,
            ..KernelOptions::default()
        };
        let several = |versions: Vec<String>| ShellError::SeveralKernels {
            identifier: identifier.to_owned(),
            versions,
        };
        // Before any of a range is fetched and built.
        match kernels::releases(&self.host, identifier, false, progress) {
            Ok(listed) if listed.versions.len() > 1 => return Err(several(listed.versions)),
            Ok(_) | Err(KernelsError::NotARange { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ready = |_: &_, _: &_| {};
        let kernels = kernels::resolve(&self.host, &[identifier], options, progress, &mut ready)?;
        match &kernels[..] {
            [kernel] => Ok(self.on_kernel(kernel)),
            kernels => Err(several(
                kernels.iter().map(|it| it.version.clone()).collect(),
            )),
        }
    }

    /// The same on the machine of a test: its shape, memory, kernel arguments, host CPUs and scheduler, and its include
    /// files before those that there are. A scheduler that is there already stays.
    pub fn on_machine_of(mut self, test: TestMachine) -> Result<Self, ShellError> {
        let TestMachine { machine, .. } = test;
        let case = machine.case;
        self.topology = machine.topology.ok_or(ShellError::NoMachine { case })?;
        self.memory_mib = machine.memory_mib;
        self.kernel_args = machine.kernel_args;
        self.performance_mode = machine.performance_mode;
        self.include_files.splice(0..0, machine.include_files);
        self.programs = machine.programs;
        if self.scheduler.is_none() {
            self.scheduler = machine.scheduler.map(ShellScheduler::of_case);
        }
        Ok(self)
    }

    /// Boots the machine and runs the shell, with these streams. A scheduler that is a package is built first.
    ///
    /// This process's program is the machine's init: it calls [`enter_guest`](ktstr_harness::dispatch::enter_guest) first
    /// of all. Nothing of the machine is left when this returns, and nothing of this process is changed.
    pub fn run(
        &self,
        streams: ShellStreams<'_>,
        observer: &mut dyn RunObserver,
        cancel: &CancelToken,
    ) -> Result<ShellOutcome, ShellError> {
        let settings = self.settings()?;
        let mut root = self.root(observer);
        let mut scheduler = None;
        if let Some(wanted) = &self.scheduler {
            root = wanted.add_to(root, &settings, observer, cancel)?;
            scheduler = Some(wanted.spec.clone());
        }
        for program in &self.programs {
            root = program::add(root, program, &settings, observer, cancel)?;
        }
        let plan = MachinePlan {
            kernel: self.kernel.clone(),
            kernel_args: self.kernel_args(),
            memory_mib: self.memory_mib,
            include_files: self.include_files.clone(),
            root,
            performance_mode: self.performance_mode,
            shared_directories: self.shared_directories(),
            gdb: self.gdb.clone(),
            ..MachinePlan::new(self.topology)
        };
        let spec = ShellSpec {
            topology: self.topology,
            command: self.command.clone(),
            terminal: self.terminal,
            env: self.variables(&settings),
            host_root: self.host_root,
            scheduler,
        };
        let outcome = Runner::new(settings).run_shell(&plan, spec, streams, observer, cancel)?;
        Ok(outcome)
    }

    /// The machine's own root directory. Tools of the host's root need not be packed.
    fn root(&self, observer: &mut dyn RunObserver) -> InitramfsBuilder {
        if self.host_root {
            return Initramfs::builder();
        }
        let usage = match (&self.command, self.terminal) {
            (Some(line), _) => ShellUse::Command {
                line,
                with_files: !self.include_files.is_empty() || self.scheduler.is_some(),
            },
            (None, Some(_)) => ShellUse::Terminal,
            (None, None) => ShellUse::Script,
        };
        let ShellRoot { root, missing } = root(&self.host, usage);
        if !missing.is_empty() {
            let note = format!(
                "not on this host, and so not in the machine: {}",
                missing.join(", ")
            );
            observer.event(RunEvent::Note(&note));
        }
        root
    }

    fn kernel_args(&self) -> Vec<String> {
        let mut args = self.kernel_args.clone();
        if self.gdb.is_some() && !args.iter().any(|arg| arg == "nokaslr") {
            args.push("nokaslr".to_owned());
        }
        args
    }

    fn shared_directories(&self) -> Vec<SharedDirectory> {
        let host_root = self.host_root.then(|| SharedDirectory {
            tag: HOST_ROOT_TAG.to_owned(),
            path: self.host.root.clone(),
        });
        host_root.into_iter().collect()
    }

    fn settings(&self) -> Result<Settings, ShellError> {
        let mut settings = Settings::read(self.host.clone())?;
        settings.dir.clone_from(&self.dir);
        settings.backend = self.backend.or(settings.backend);
        settings.no_perf_mode |= self.no_perf_mode;
        settings.cpu_cap = self.cpu_cap.map(|cap| cap as usize).or(settings.cpu_cap);
        settings.verbose |= self.verbose_console;
        settings
            .scheduler_profile
            .clone_from(&self.scheduler_profile);
        Ok(settings)
    }

    /// What the guest is told of the host's environment. A name of a terminal means nothing without one.
    fn variables(&self, settings: &Settings) -> Vec<(String, String)> {
        let wanted = VARIABLES
            .iter()
            .filter(|name| **name != "TERM" || self.terminal.is_some());
        let set = wanted.filter_map(|name| {
            let value = self.host.non_empty_var(name)?.into_string().ok()?;
            Some(((*name).to_owned(), value))
        });
        settings.guest_env.iter().cloned().chain(set).collect()
    }
}
