//! Cgroups: as declared ([`CgroupDef`], [`CpusetSpec`]) and as files of the kernel ([`CgroupTree`],
//! [`Cgroup`]).

mod cpuset;
mod def;
mod fs;

pub use cpuset::{CpusetError, CpusetSpec};
pub use def::{CgroupDef, DefError, ResolvedDef, resolve};
pub use fs::{Cgroup, CgroupError, CgroupTree};
