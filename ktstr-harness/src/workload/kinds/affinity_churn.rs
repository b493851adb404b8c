//! [`WorkType::AffinityChurn`](crate::workload::WorkType::AffinityChurn).
//!
//! Presses on `__set_cpus_allowed_ptr`, the stopper thread that moves a running task (`migration_cpu_stop`), and on
//! `set_cpus_allowed_scx` with `ops.set_cpumask`. Measures how long the call took that moved the worker.

use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_setaffinity};

use super::Site;
use super::common::work;
use crate::workload::clock;
use crate::workload::failure::{Call, Failure};
use crate::workload::slot::Recorder;

pub(super) fn run(
    recorder: &mut Recorder<'_>,
    site: &Site<'_>,
    work_units: u32,
) -> Result<(), Failure> {
    let units = u64::from(work_units);
    let all = site.cpus.topology().cpus();
    // Workers begin at CPUs of their own.
    let mut next = site.worker as u32 % all;
    let mut refused = 0;
    loop {
        let cpu = site.cpus.cpu(next) as usize;
        next = (next + 1) % all;
        let mut mask = CpuSet::new();
        if cpu < CpuSet::MAX_CPU {
            mask.set(cpu);
        }
        let before = clock::monotonic_ns();
        match sched_setaffinity(None, &mask) {
            Ok(()) => {
                refused = 0;
                recorder.add(0, 1);
                recorder.woke(before, clock::monotonic_ns());
                work(units);
                if !recorder.iteration(units) {
                    return Ok(());
                }
            }
            // Outside of the cgroup's cpuset, or offline.
            Err(Errno::INVAL) if refused < all => refused += 1,
            Err(errno) => return Err(Failure::of(Call::Affinity)(errno)),
        }
    }
}
