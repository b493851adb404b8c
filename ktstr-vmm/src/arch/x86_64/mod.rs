//! x86-64, the only architecture so far. In addition to the modules of every architecture (see [`crate::arch`]): CPUID,
//! registers and MSRs, the descriptor and page tables at the kernel's entry, and the TSC.

pub(crate) mod activity;
pub(crate) mod boot;
pub(crate) mod cmdline;
pub(crate) mod cpu_ids;
mod cpuid;
pub(crate) mod exits;
pub(crate) mod firmware;
pub(crate) mod interrupts;
pub(crate) mod layout;
mod msr;
mod page_tables;
mod registers;
mod segments;
pub(crate) mod state;
pub(crate) mod trial;
mod tsc;
pub(crate) mod vcpu;
