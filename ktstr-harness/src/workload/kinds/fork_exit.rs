//! [`WorkType::ForkExit`](crate::workload::WorkType::ForkExit).
//!
//! Presses on tasks that come and go: `sched_fork`, `sched_cgroup_fork`, `wake_up_new_task` with its own CPU selection
//! (`SD_BALANCE_FORK`, `WF_FORK`), `do_task_dead`; under sched_ext `ops.init_task` and `ops.exit_task`. Measures how long
//! after `fork` the child first runs.

use std::sync::atomic::Ordering::{Acquire, Release};

use rustix::io::Errno;
use rustix::process::{WaitOptions, waitpid};

use super::Site;
use super::common::work;
use crate::workload::failure::{Call, Failure};
use crate::workload::slot::Recorder;
use crate::workload::{clock, os};

pub(super) fn run(
    recorder: &mut Recorder<'_>,
    site: &Site<'_>,
    work_units: u32,
) -> Result<(), Failure> {
    let units = u64::from(work_units);
    let began = &site.cells[site.place].given_ns;
    loop {
        let forked = clock::monotonic_ns();
        let child = os::fork(|| {
            began.store(clock::monotonic_ns(), Release);
            work(units);
            0
        });
        let child = child.map_err(|error| Failure::from_io(Call::Fork, &error))?;
        let status = loop {
            match waitpid(Some(child), WaitOptions::empty()) {
                Err(Errno::INTR) | Ok(None) => {}
                Err(errno) => return Err(Failure::of(Call::Wait)(errno)),
                Ok(Some((_, status))) => break status,
            }
        };
        if status.exit_status() != Some(0) {
            return Err(Failure::of(Call::Wait)(Errno::CHILD));
        }
        recorder.woke(forked, began.load(Acquire));
        recorder.add(0, 1);
        if !recorder.iteration(units) {
            return Ok(());
        }
    }
}
