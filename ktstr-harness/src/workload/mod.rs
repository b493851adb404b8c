//! Workers: what they do, how they are started and stopped, what they report.
//!
//! A [`WorkerPool`] is a number of forked processes, or threads of such, that wait at a barrier, are released at once, work
//! until a deadline and leave what they counted in memory that they share with their parent. It knows
//! nothing of cgroups: whoever starts a pool may move its processes anywhere before the release.
//!
//! What they do is a [`WorkType`], a known pressure on a scheduler, or a function of the test's own ([`CustomWorker`]).
//!
//! ```no_run
//! use std::time::Duration;
//! use ktstr_harness::workload::{WorkerPool, WorkerGroup, WorkType, WorkerEnd};
//!
//! let machine = ktstr_core::Topology::constant(1, 1, 2, 1);
//! let mut pool = WorkerPool::fork(&[WorkerGroup::of(WorkType::Spin, 2)], machine)?;
//! pool.release(Duration::from_millis(200));
//! for worker in pool.collect(WorkerPool::GRACE).remove(0) {
//!     if let WorkerEnd::Reported(report) = worker.end {
//!         assert!(report.iterations > 0);
//!     }
//! }
//! # Ok::<(), ktstr_harness::workload::WorkloadError>(())
//! ```

mod account;
mod channel;
mod clock;
mod error;
mod failure;
mod kinds;
mod memory_policy;
mod os;
mod pool;
mod region;
mod report;
mod sched;
pub(crate) mod sched_ext;
mod settings;
mod shareable;
mod slot;
mod storm;
mod work_type;
mod worker;

pub use error::WorkloadError;
pub use kinds::{CustomFn, CustomWorker};
pub use memory_policy::MemoryPolicy;
pub(crate) use pool::{Launch, SteppedRun};
pub use pool::{WorkerGroup, WorkerId, WorkerPool};
pub(crate) use report::signal_in_words;
pub use report::{WakeLatency, WorkerEnd, WorkerReport, WorkerRun};
pub use sched::{Affinity, Policy};
pub(crate) use sched::{set_affinity, set_nice};
pub use settings::TaskSettings;
pub(crate) use settings::{CPUS_HINT, NICE_HINT, POLICY_HINT, affine};
pub(crate) use storm::Storm;
pub use work_type::{WorkType, WorkTypeError};
