//! What workers and their parent share, and the bookkeeping a worker does in it.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};

use ktstr_core::Topology;

use super::clock;
use super::os::WorkingSet;
use crate::cpu_map::CpuMap;

/// CPU numbers that residence is counted for.
pub(super) const CPUS: usize = Topology::MAX_CPUS as usize;

/// Wake-up latencies that are kept of one worker.
pub(super) const SAMPLES: usize = 4096;

/// NUMA nodes that pages are counted for.
pub(super) const NODES: usize = 64;

/// Stands for "not available" where a value may be absent.
pub(super) const ABSENT: u64 = u64::MAX;

/// What a worker leaves of whether it was under a sched_ext scheduler; 0 where the kernel does not tell.
pub(super) const NOT_UNDER: u32 = 1;
/// Likewise.
pub(super) const UNDER: u32 = 2;

/// One per pool: the start and the end.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Control {
    /// Workers that wait for the start.
    pub(super) ready: AtomicU32,
    /// 1 once the workers may start; a futex.
    pub(super) go: AtomicU32,
    /// 1 when the workers must end before the deadline.
    pub(super) stop: AtomicU32,
    /// `CLOCK_MONOTONIC` at the release, in nanoseconds.
    pub(super) released_ns: AtomicU64,
    /// `CLOCK_MONOTONIC` at which workers end, in nanoseconds.
    pub(super) deadline_ns: AtomicU64,
}

/// One per two workers that wake each other.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Pair {
    /// Whose turn it is, 0 or 1; a futex.
    pub(super) turn: AtomicU32,
    /// When the turn was given, `CLOCK_MONOTONIC` in nanoseconds; 0 before the first time.
    pub(super) given_ns: AtomicU64,
}

/// One per worker; only that worker writes, the parent reads.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Slot {
    /// 1 once everything below is final.
    pub(super) done: AtomicU32,
    /// CPU of the last iteration.
    pub(super) last_cpu: AtomicU32,
    /// Since when the worker could have run its next iteration, `CLOCK_MONOTONIC` in nanoseconds.
    pub(super) runnable_ns: AtomicU64,
    pub(super) iterations: AtomicU64,
    pub(super) work_units: AtomicU64,
    pub(super) wall_ns: AtomicU64,
    pub(super) cpu_ns: AtomicU64,
    /// [`ABSENT`] where the kernel does not tell.
    pub(super) run_delay_ns: AtomicU64,
    pub(super) migrations: AtomicU64,
    /// Those of them that led to another NUMA node.
    pub(super) node_migrations: AtomicU64,
    /// 1 where the kernel told the nodes of the working set's pages.
    pub(super) pages_known: AtomicU32,
    /// Pages of the working set by NUMA node.
    pub(super) pages: [AtomicU32; NODES],
    pub(super) max_gap_ns: AtomicU64,
    pub(super) max_gap_cpu: AtomicU32,
    /// [`UNDER`], [`NOT_UNDER`] or 0.
    pub(super) under_sched_ext: AtomicU32,
    /// Wake-ups seen, of which at most [`SAMPLES`] latencies are kept.
    pub(super) wakes: AtomicU64,
    pub(super) max_wake_ns: AtomicU64,
    /// Iterations by the CPU they ended on.
    pub(super) residence: [AtomicU64; CPUS],
    /// The last entry of `residence` also counts CPUs beyond the array; this says how many.
    pub(super) beyond: AtomicU64,
    pub(super) samples: [AtomicU64; SAMPLES],
}

/// Adds to a cell that only this process writes: cheaper than an atomic addition.
fn add(cell: &AtomicU64, amount: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(amount), Relaxed);
}

/// A worker's view of the run: counts iterations and says when to stop.
#[derive(Debug)]
pub(super) struct Recorder<'a> {
    slot: &'a Slot,
    control: &'a Control,
    deadline_ns: u64,
    runnable_ns: u64,
    /// None before the first iteration.
    cpu: Option<u32>,
    max_gap_ns: u64,
    random: u64,
    cpus: CpuMap,
    memory: Option<WorkingSet>,
}

impl<'a> Recorder<'a> {
    /// To be made after the release. `seed` picks the wake-up latencies that are kept once there
    /// are too many; the same seed picks the same positions.
    pub(super) fn new(slot: &'a Slot, control: &'a Control, seed: u64, cpus: CpuMap) -> Self {
        let runnable_ns = control.released_ns.load(Relaxed);
        slot.runnable_ns.store(runnable_ns, Relaxed);
        Self {
            slot,
            control,
            deadline_ns: control.deadline_ns.load(Relaxed),
            runnable_ns,
            cpu: None,
            max_gap_ns: 0,
            // Odd multiplier and a set bit: xorshift never reaches zero from here.
            random: (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1,
            cpus,
            // The first touch decides where a page is: here, and not before the worker is in its cgroup.
            memory: WorkingSet::new().ok(),
        }
    }

    /// When the run ends, `CLOCK_MONOTONIC` in nanoseconds.
    pub(super) fn deadline_ns(&self) -> u64 {
        self.deadline_ns
    }

    /// Whether the run is over at `now_ns`.
    pub(super) fn is_over(&self, now_ns: u64) -> bool {
        now_ns >= self.deadline_ns || self.control.stop.load(Relaxed) != 0
    }

    /// One pass of the worker's loop ended, which did `units` of work. False: the run is over.
    pub(super) fn iteration(&mut self, units: u64) -> bool {
        let now = clock::monotonic_ns();
        let cpu = clock::current_cpu();
        self.count(now, cpu, units);
        !self.is_over(now)
    }

    fn count(&mut self, now: u64, cpu: u32, units: u64) {
        let slot = self.slot;
        let gap = now.saturating_sub(self.runnable_ns);
        if gap > self.max_gap_ns || self.cpu.is_none() {
            self.max_gap_ns = gap;
            slot.max_gap_ns.store(gap, Relaxed);
            slot.max_gap_cpu.store(cpu, Relaxed);
        }
        if let Some(last) = self.cpu.filter(|last| *last != cpu) {
            add(&slot.migrations, 1);
            if self.cpus.node_of(last) != self.cpus.node_of(cpu) {
                add(&slot.node_migrations, 1);
            }
        }
        if let Some(memory) = &mut self.memory {
            memory.touch_next();
        }
        match slot.residence.get(cpu as usize) {
            Some(cell) => add(cell, 1),
            None => add(&slot.beyond, 1),
        }
        self.cpu = Some(cpu);
        slot.last_cpu.store(cpu, Relaxed);
        add(&slot.iterations, 1);
        add(&slot.work_units, units);
        self.runnable_since(now);
    }

    /// The worker waited until `ns` on purpose: gaps count from there.
    pub(super) fn runnable_since(&mut self, ns: u64) {
        self.runnable_ns = ns;
        self.slot.runnable_ns.store(ns, Relaxed);
    }

    /// The worker slept, became runnable at `due_ns` and ran again at `now_ns`.
    pub(super) fn woke(&mut self, due_ns: u64, now_ns: u64) {
        let latency = now_ns.saturating_sub(due_ns);
        let slot = self.slot;
        let seen = slot.wakes.load(Relaxed);
        slot.wakes.store(seen + 1, Relaxed);
        if latency > slot.max_wake_ns.load(Relaxed) {
            slot.max_wake_ns.store(latency, Relaxed);
        }
        // Algorithm R: every wake-up has the same chance to be among those that are kept.
        let position = if seen < SAMPLES as u64 {
            seen
        } else {
            self.next_random() % (seen + 1)
        };
        if let Some(cell) = slot.samples.get(position as usize) {
            cell.store(latency, Relaxed);
        }
    }

    /// Looks where the pages of the working set are, once the run is over.
    pub(super) fn locate_pages(&self) {
        let Some(nodes) = self.memory.as_ref().and_then(WorkingSet::nodes) else {
            return;
        };
        for node in nodes {
            match self.slot.pages.get(node as usize) {
                Some(cell) => cell.store(cell.load(Relaxed) + 1, Relaxed),
                None => return,
            }
        }
        self.slot.pages_known.store(1, Relaxed);
    }

    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

#[cfg(test)]
mod tests {
    use super::super::os::Shared;
    use super::*;

    /// CPUs 0 and 1 on the one node, 2 and 3 on the other.
    const MACHINE: Topology = Topology::constant(2, 2, 2, 1);

    fn with_recorder(test: impl FnOnce(&mut Recorder<'_>, &Slot)) {
        let control = Shared::<Control>::new(1).unwrap();
        control[0].released_ns.store(1_000, Relaxed);
        control[0].deadline_ns.store(10_000, Relaxed);
        let slots = Shared::<Slot>::new(1).unwrap();
        test(
            &mut Recorder::new(&slots[0], &control[0], 7, MACHINE.into()),
            &slots[0],
        );
    }

    #[test]
    fn gaps_count_from_the_release_and_name_the_cpu_they_end_on() {
        with_recorder(|recorder, slot| {
            recorder.count(1_400, 2, 5);
            recorder.count(1_500, 2, 5);
            assert_eq!(slot.max_gap_ns.load(Relaxed), 400);
            recorder.count(2_500, 3, 5);
            recorder.count(2_600, 1, 5);
            assert_eq!(slot.max_gap_ns.load(Relaxed), 1_000);
            assert_eq!(slot.max_gap_cpu.load(Relaxed), 3);
            assert_eq!(slot.migrations.load(Relaxed), 2);
            assert_eq!(slot.node_migrations.load(Relaxed), 1);
            assert_eq!(slot.iterations.load(Relaxed), 4);
            assert_eq!(slot.work_units.load(Relaxed), 20);
            assert_eq!(slot.residence[2].load(Relaxed), 2);
        });
    }

    #[test]
    fn sleep_on_purpose_is_no_gap() {
        with_recorder(|recorder, slot| {
            recorder.count(1_100, 0, 1);
            recorder.runnable_since(5_000);
            recorder.count(5_050, 0, 1);
            assert_eq!(slot.max_gap_ns.load(Relaxed), 100);
        });
    }

    #[test]
    fn every_page_of_the_working_set_has_a_node() {
        with_recorder(|recorder, slot| {
            recorder.count(1_100, 0, 1);
            recorder.locate_pages();
            let known = slot.pages_known.load(Relaxed) == 1;
            let pages: u32 = slot.pages.iter().map(|cell| cell.load(Relaxed)).sum();
            // A kernel without NUMA does not tell.
            assert!(!known || pages as usize == WorkingSet::PAGES, "{pages}");
        });
    }

    #[test]
    fn ends_at_the_deadline_and_counts_cpus_beyond_the_array() {
        with_recorder(|recorder, slot| {
            assert!(!recorder.is_over(9_999));
            assert!(recorder.is_over(10_000));
            recorder.count(2_000, u32::MAX, 1);
            assert_eq!(slot.beyond.load(Relaxed), 1);
        });
    }

    #[test]
    fn keeps_a_bounded_fair_sample_of_wake_ups() {
        with_recorder(|recorder, slot| {
            let seen = 20 * SAMPLES as u64;
            for latency in 0..seen {
                recorder.woke(0, latency);
            }
            assert_eq!(slot.wakes.load(Relaxed), seen);
            assert_eq!(slot.max_wake_ns.load(Relaxed), seen - 1);
            let sum: u64 = slot.samples.iter().map(|cell| cell.load(Relaxed)).sum();
            let mean = sum / SAMPLES as u64;
            let expected = seen / 2;
            assert!(mean.abs_diff(expected) < expected / 10, "{mean} {expected}");
        });
    }
}
