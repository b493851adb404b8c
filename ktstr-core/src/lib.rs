//! The types that all ktstr crates share: topologies, verdicts and metrics as plain data, the host that tests run on, and
//! the records that they leave.
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
//!
//! The parts, in the order in which one meets them:
//!
//! - [`Topology`] is the shape of a machine, [`Preset`] one of the gauntlet's shapes, [`Constraints`] say which of them a
//!   test takes. [`CpuSet`] is a set of CPUs.
//! - [`KernelLabel`] names a kernel in tests, [`CaseName`] a test on a machine and a kernel.
//! - [`Outcome`] and [`Verdict`] are the result of a case. [`KernelWarning`] and [`Taint`] are faults that a kernel reported
//!   of itself.
//! - [`Metric`] says how a figure of a test is compared between runs; [`stats`] has the arithmetic.
//! - [`host`] is the machine that tests run on: its environment, CPUs, locks, processes and files.
//! - [`record`] is what a case leaves: the sidecar, the artifacts of a failure, and the store of all runs.
//! - [`budget`] selects the cases to run in a limited time.
//! - [`env`](mod@env) names the environment variables, [`signal`] signals; [`text`] and [`timestamp`] format.

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
