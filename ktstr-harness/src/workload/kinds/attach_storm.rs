//! [`WorkType::CgroupAttachStorm`](crate::workload::WorkType::CgroupAttachStorm).
//!
//! Presses on `cgroup_attach_task`, `cpu_cgroup_attach` and `sched_move_task` (`kernel/sched/core.c`), on `task_change_group_fair`,
//! and on `ops.cgroup_move` of sched_ext. Measures iterations: each is a move.

use super::Site;
use super::common::work;
use crate::workload::failure::{Call, Failure};
use crate::workload::slot::Recorder;

pub(super) fn run(
    recorder: &mut Recorder<'_>,
    site: &Site<'_>,
    work_units: u32,
) -> Result<(), Failure> {
    let Some(storm) = site.storm else {
        return Ok(());
    };
    let units = u64::from(work_units);
    let mut to_other = true;
    loop {
        storm
            .move_this_process(to_other)
            .map_err(Failure::of(Call::Attach))?;
        to_other = !to_other;
        recorder.add(0, 1);
        work(units);
        if !recorder.iteration(units) {
            return Ok(());
        }
    }
}
