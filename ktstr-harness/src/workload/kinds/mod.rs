//! What workers do: a module for each work type, with its parameters' bounds, what it measures and the path through the
//! scheduler that it presses on. Everything here runs in a forked process and allocates nothing.

mod affinity_churn;
mod alu_hot;
mod attach_storm;
mod bursty;
mod cache_pressure;
mod common;
mod custom;
mod fan_out;
mod fork_exit;
mod messages;
mod mixed;
mod mutex_contention;
mod nice_churn;
mod numa_sweep;
mod page_faults;
mod ping_pong;
mod policy_churn;
mod preempt_storm;
mod priority_inversion;
mod rt_starvation;
mod spin;
#[cfg(test)]
mod tests;
mod timer_wake;
mod wake_chain;
mod yielding;

use super::channel::{Channel, ChannelKind};
use super::failure::Failure;
use super::slot::{Cell, Recorder};
use super::storm::Storm;
use super::{WorkType, WorkTypeError};
use crate::cpu_map::CpuMap;

pub use custom::{CustomFn, CustomWorker};

/// Where a worker stands: who belongs to its team, and what they share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Site<'a> {
    /// Number within the group.
    pub(super) worker: usize,
    /// Workers of the group.
    pub(super) workers: usize,
    /// Place within the team, from 0.
    pub(super) place: usize,
    /// Cells of the team, one for each of its workers.
    pub(super) cells: &'a [Cell],
    pub(super) channel: Option<&'a Channel>,
    pub(super) storm: Option<&'a Storm>,
    pub(super) cpus: CpuMap,
}

impl Site<'_> {
    /// Number of its team within the group.
    fn team(&self) -> usize {
        self.worker / self.cells.len().max(1)
    }
}

/// Does the work until the run is over.
pub(super) fn run(
    work: WorkType,
    recorder: &mut Recorder<'_>,
    site: &Site<'_>,
) -> Result<(), Failure> {
    match work {
        WorkType::Spin => spin::run(recorder),
        WorkType::Yield => yielding::run(recorder),
        WorkType::FutexPingPong => ping_pong::run(recorder, site),
        WorkType::Bursty { busy, sleep } => bursty::run(recorder, busy, sleep),
        WorkType::Mixed { work_units, sleep } => mixed::run(recorder, work_units, sleep),
        WorkType::AluHot { work_units } => alu_hot::run(recorder, work_units),
        WorkType::WakeChain { work_units, .. } => wake_chain::run(recorder, site, work_units),
        WorkType::FanOut { work_units, .. } => fan_out::run(recorder, site, work_units),
        WorkType::PipeIo { bytes } | WorkType::SocketTraffic { bytes } => {
            return messages::run(recorder, site, bytes);
        }
        WorkType::ForkExit { work_units } => return fork_exit::run(recorder, site, work_units),
        WorkType::CgroupAttachStorm { work_units } => {
            return attach_storm::run(recorder, site, work_units);
        }
        WorkType::AffinityChurn { work_units } => {
            return affinity_churn::run(recorder, site, work_units);
        }
        WorkType::NiceChurn { work_units } => return nice_churn::run(recorder, work_units),
        WorkType::PolicyChurn { work_units } => return policy_churn::run(recorder, work_units),
        WorkType::PreemptStorm { interval } => return preempt_storm::run(recorder, site, interval),
        WorkType::RtStarvation { busy, sleep } => {
            return rt_starvation::run(recorder, site, busy, sleep);
        }
        WorkType::PriorityInversion { hold, inherit } => {
            return priority_inversion::run(recorder, site, hold, inherit);
        }
        WorkType::MutexContention {
            held_units,
            free_units,
        } => mutex_contention::run(recorder, site, held_units, free_units),
        WorkType::CachePressure { kib } => return cache_pressure::run(recorder, kib),
        WorkType::PageFaults { pages } => return page_faults::run(recorder, pages),
        WorkType::NumaSweep { dwell } => return numa_sweep::run(recorder, site, dwell),
        WorkType::TimerWake { interval } => timer_wake::run(recorder, interval),
        WorkType::Custom(body) => custom::run(recorder, site, body),
    }
    Ok(())
}

/// Whether the parameters of a work type are within their bounds.
pub(super) fn check(work: &WorkType) -> Result<(), WorkTypeError> {
    let bounds = common::Bounds(work.name());
    match *work {
        WorkType::Spin | WorkType::Yield | WorkType::FutexPingPong | WorkType::Custom(_) => Ok(()),
        WorkType::Bursty { busy, sleep } => bounds
            .time("busy", busy)
            .and_then(|()| bounds.time("sleep", sleep)),
        WorkType::Mixed { work_units, sleep } => bounds
            .units(work_units)
            .and_then(|()| bounds.time("sleep", sleep)),
        WorkType::AluHot { work_units }
        | WorkType::ForkExit { work_units }
        | WorkType::CgroupAttachStorm { work_units }
        | WorkType::AffinityChurn { work_units }
        | WorkType::NiceChurn { work_units }
        | WorkType::PolicyChurn { work_units } => bounds.units(work_units),
        WorkType::WakeChain { length, work_units } => bounds
            .number("length", length, wake_chain::LENGTH)
            .and_then(|()| bounds.units(work_units)),
        WorkType::FanOut {
            receivers,
            work_units,
        } => bounds
            .number("receivers", receivers, fan_out::RECEIVERS)
            .and_then(|()| bounds.units(work_units)),
        WorkType::PipeIo { bytes } | WorkType::SocketTraffic { bytes } => {
            bounds.number("bytes", bytes, messages::BYTES)
        }
        WorkType::PreemptStorm { interval } | WorkType::TimerWake { interval } => {
            bounds.time("interval", interval)
        }
        WorkType::RtStarvation { busy, sleep } => rt_starvation::check(&bounds, busy, sleep),
        WorkType::PriorityInversion { hold, .. } => priority_inversion::check(&bounds, hold),
        WorkType::MutexContention {
            held_units,
            free_units,
        } => bounds
            .units(held_units)
            .and_then(|()| bounds.units(free_units)),
        WorkType::CachePressure { kib } => bounds.number("kib", kib, cache_pressure::KIB),
        WorkType::PageFaults { pages } => bounds.number("pages", pages, page_faults::PAGES),
        WorkType::NumaSweep { dwell } => bounds.time("dwell", dwell),
    }
}

/// How many workers belong together, out of `workers` of a group.
pub(super) fn team(work: &WorkType, workers: usize) -> usize {
    match *work {
        WorkType::FutexPingPong
        | WorkType::PipeIo { .. }
        | WorkType::SocketTraffic { .. }
        | WorkType::PreemptStorm { .. }
        | WorkType::RtStarvation { .. } => 2,
        WorkType::PriorityInversion { .. } => 3,
        WorkType::WakeChain { length, .. } => length as usize,
        WorkType::FanOut { receivers, .. } => receivers as usize + 1,
        WorkType::MutexContention { .. } | WorkType::Custom(_) => workers,
        _ => 1,
    }
}

/// What connects the workers of a team.
pub(super) fn channel(work: &WorkType) -> Option<ChannelKind> {
    match work {
        WorkType::PipeIo { .. } => Some(ChannelKind::Pipes),
        WorkType::SocketTraffic { .. } => Some(ChannelKind::Sockets),
        _ => None,
    }
}

/// Names of what a work type counts of its own, in the order of [`Recorder::add`]'s indices.
pub(super) fn counts(work: &WorkType) -> &'static [&'static str] {
    match work {
        WorkType::ForkExit { .. } => &["children"],
        WorkType::CgroupAttachStorm { .. } => &["moves"],
        WorkType::AffinityChurn { .. } => &["affinity_changes"],
        WorkType::NiceChurn { .. } => &["nice_changes"],
        WorkType::PolicyChurn { .. } => &["policy_changes"],
        WorkType::PreemptStorm { .. } => &["preemptions"],
        WorkType::RtStarvation { .. } => &["bursts"],
        WorkType::PriorityInversion { .. } => &["contended", "boosted"],
        WorkType::MutexContention { .. } => &["contended"],
        WorkType::CachePressure { .. } => &["cache_lines"],
        WorkType::PageFaults { .. } => &["page_faults"],
        WorkType::NumaSweep { .. } => &["node_changes"],
        WorkType::TimerWake { .. } => &["missed_periods"],
        WorkType::PipeIo { .. } | WorkType::SocketTraffic { .. } => &["bytes"],
        _ => &[],
    }
}
