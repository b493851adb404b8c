//! The types that all ktstr crates share.
//!
//! Most of it is plain data: the shape of a machine ([`Topology`], [`Preset`], [`CpuSet`]), the name of a kernel
//! ([`KernelLabel`]) and the faults it reported of itself ([`KernelWarning`], [`Taint`]), the result of a test
//! ([`Outcome`], [`Verdict`]), and the metrics that compare runs ([`Metric`]). Three modules stand beside it: [`host`],
//! the machine that tests run on, [`record`], the results that they leave, and [`budget`], which cases to run in a limited
//! time.
//!
//! ```
//! use ktstr_core::{Outcome, Topology, Verdict};
//!
//! let machine: Topology = "1n2l4c2t".parse()?;
//! assert_eq!(machine.cpus(), 16);
//!
//! let mut verdict = Verdict::pass();
//! verdict.record(Outcome::Fail, "max_gap_ms", "a worker waited for 31 ms, 20 ms are allowed");
//! assert_eq!(verdict.outcome(), Outcome::Fail);
//! # Ok::<(), ktstr_core::ParseTopologyError>(())
//! ```

pub mod budget;
mod case_name;
mod constraints;
mod cpuset;
pub mod env;
pub mod host;
mod kernel_label;
mod kernel_log;
mod metric;
mod preset;
pub mod record;
pub mod signal;
pub mod stats;
pub mod text;
pub mod timestamp;
mod topology;
mod verdict;

pub use case_name::{CaseName, ParseCaseNameError};
pub use constraints::{Constraints, Rejection};
pub use cpuset::{CpuSet, ParseCpuSetError};
pub use kernel_label::KernelLabel;
pub use kernel_log::{KernelWarning, Taint};
pub use metric::{Better, Metric};
pub use preset::Preset;
pub use topology::{ParseTopologyError, Topology, TopologyError};
pub use verdict::{Detail, EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_PASS, Outcome, Short, Verdict};
