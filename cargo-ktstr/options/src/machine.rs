//! What carries machines.

use clap::Args;
use ktstr_vmm::Backend;

/// What carries machines.
#[derive(Debug, Clone, Args)]
pub struct MachineArgs {
    /// Backend to run machines on: kvm or qemu [default: `KTSTR_BACKEND`, else KVM
    /// where it works].
    #[arg(long, value_name = "NAME")]
    pub backend: Option<Backend>,

    /// Run performance-mode tests without performance mode.
    #[arg(long)]
    pub no_perf_mode: bool,

    /// Run each machine that is not in performance mode on N host CPUs; it is an
    /// error if there are fewer [default: one more than the machine has].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub cpu_cap: Option<u32>,
}
