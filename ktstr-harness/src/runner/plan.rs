//! The machine of a run, before anything of it is made.

use std::path::PathBuf;

use ktstr_core::Topology;
use ktstr_vmm::SharedDirectory;
use ktstr_vmm::initramfs::{Initramfs, InitramfsBuilder};

use crate::cases::{Case, Cell, NamedKernel};
use crate::{Payload, Scheduler, TestCase};

/// What machine a request runs on: its shape, its files, its kernel. Plain data: nothing is looked up before
/// [`Runner::run`](super::Runner::run).
///
/// ```
/// use ktstr_core::Topology;
/// use ktstr_harness::runner::MachinePlan;
///
/// let plan = MachinePlan {
///     memory_mib: 1024,
///     kernel_args: vec!["isolcpus=3".to_owned()],
///     ..MachinePlan::new(Topology::constant(1, 2, 2, 1))
/// };
/// assert_eq!(plan.topology.cpus(), 4);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MachinePlan {
    /// CPUs, caches and NUMA nodes.
    pub topology: Topology,
    /// The kernel; without one, the one that is found.
    pub kernel: Option<NamedKernel>,
    /// Further arguments of the kernel.
    pub kernel_args: Vec<String>,
    /// Memory in MiB, a lower bound: a machine has what its topology and its initramfs need.
    pub memory_mib: u32,
    /// The scheduler whose program and files the guest finds; [`Scheduler::EEVDF`] has none.
    pub scheduler: Scheduler,
    /// Host files and directories that the guest finds below `/include-files/`, each by its own name; relative to the
    /// settings' directory. Executables have their libraries with them, scripts their interpreters.
    pub include_files: Vec<PathBuf>,
    /// The program that the guest finds below `/programs/`, with its libraries and include files.
    pub payload: Option<Payload>,
    /// Further such programs.
    pub workloads: Vec<Payload>,
    /// What else the root directory of the guest has; init, the scheduler and the include files replace what has their
    /// paths.
    pub root: InitramfsBuilder,
    /// Directories of the host that the guest can mount. Machines on KVM have none.
    pub shared_directories: Vec<SharedDirectory>,
    /// A Unix socket to make for a debugger, which may stop the machine for as long as it likes: no limit of time counts
    /// then. Machines on KVM have none.
    pub gdb: Option<PathBuf>,
    /// Whether the machine gets host CPUs of its own. Where the host cannot give them, the run is skipped.
    pub performance_mode: bool,
    /// How many host CPUs the machine may use outside performance mode; without a number, one more than its own, or
    /// what there is.
    pub cpu_budget: Option<u32>,
}

impl MachinePlan {
    /// A machine of that shape, with nothing but what its topology needs.
    pub fn new(topology: Topology) -> Self {
        Self {
            topology,
            kernel: None,
            kernel_args: Vec::new(),
            memory_mib: 0,
            scheduler: Scheduler::EEVDF,
            include_files: Vec::new(),
            payload: None,
            workloads: Vec::new(),
            root: Initramfs::builder(),
            shared_directories: Vec::new(),
            gdb: None,
            performance_mode: false,
            cpu_budget: None,
        }
    }

    /// The machine of `case`; a test that runs on the host has none.
    pub fn of_case(case: &Case) -> Option<Self> {
        let TestCase {
            scheduler,
            memory_mib,
            kaslr,
            extra_include_files,
            performance_mode,
            cpu_budget,
            ..
        } = *case.test;
        let mut plan = Self::under(scheduler, case.topology()?, case.kernel.clone());
        if !kaslr {
            plan.kernel_args.push("nokaslr".to_owned());
        }
        plan.memory_mib = memory_mib;
        plan.include_files = extra_include_files.iter().map(PathBuf::from).collect();
        plan.payload = case.test.payload.copied();
        plan.workloads = case.test.workloads.iter().map(|it| **it).collect();
        plan.performance_mode = performance_mode;
        plan.cpu_budget = cpu_budget;
        Some(plan)
    }

    /// The machine of a cell of the verifier sweep.
    pub fn of_cell(cell: &Cell) -> Self {
        let kernel = Some(cell.kernel.clone());
        Self::under(cell.scheduler, cell.preset.topology, kernel)
    }

    /// A machine for `scheduler`, with the kernel arguments that it asks for.
    fn under(scheduler: &Scheduler, topology: Topology, kernel: Option<NamedKernel>) -> Self {
        let args = scheduler.kargs.iter();
        Self {
            kernel,
            kernel_args: args.map(|arg| (*arg).to_owned()).collect(),
            scheduler: *scheduler,
            ..Self::new(topology)
        }
    }
}
