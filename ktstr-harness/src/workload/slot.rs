//! What workers and their parent share, and the bookkeeping a worker does in it.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

use ktstr_core::Topology;

use super::account::Account;
use super::clock;
use super::failure::Failure;
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
    /// Number of the step, from 1, that has an account of its own now; 0 where there is none.
    pub(super) step: AtomicU32,
    /// `CLOCK_MONOTONIC` at the release, in nanoseconds.
    pub(super) released_ns: AtomicU64,
    /// `CLOCK_MONOTONIC` at which workers end, in nanoseconds.
    pub(super) deadline_ns: AtomicU64,
}

/// Figures that a work type may count of its own.
pub(super) const COUNTS: usize = 2;

/// One per worker, for what workers of a team do together; see the work types.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Cell {
    /// A futex.
    pub(super) word: AtomicU32,
    pub(super) count: AtomicU32,
    /// When somebody was given the turn, `CLOCK_MONOTONIC` in nanoseconds; 0 before the first time.
    pub(super) given_ns: AtomicU64,
}

/// One per worker: the parent writes, the worker reads.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Stop {
    /// 1 when the worker must end before the deadline; a futex.
    pub(super) now: AtomicU32,
}

/// What a worker counts over its whole run, or over a step of it; only that worker writes, the parent reads.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Slot {
    /// 1 once everything below is final.
    pub(super) done: AtomicU32,
    /// The worker's thread; 0 before it began.
    pub(super) tid: AtomicU32,
    /// Number of the [`Call`](super::failure::Call) that was refused, and ended the worker; 0 where none was.
    pub(super) refused_call: AtomicU32,
    /// The error number of that call.
    pub(super) refused_errno: AtomicU32,
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
    /// What the work type counts of its own.
    pub(super) counts: [AtomicU64; COUNTS],
    /// Iterations by the CPU they ended on.
    pub(super) residence: [AtomicU64; CPUS],
    /// The last entry of `residence` also counts CPUs beyond the array; this says how many.
    pub(super) beyond: AtomicU64,
    pub(super) samples: [AtomicU64; SAMPLES],
}

/// What a worker shares with its parent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cells<'a> {
    pub(super) control: &'a Control,
    pub(super) stop: &'a Stop,
    /// Its account of the whole run.
    pub(super) whole: &'a Slot,
    /// Its accounts of steps.
    pub(super) steps: &'a [Slot],
}

/// A worker's view of the run: counts iterations and says when to stop.
#[derive(Debug)]
pub(super) struct Recorder<'a> {
    cells: Cells<'a>,
    whole: Account<'a>,
    /// The account of the step that `number` is of.
    step: Option<Account<'a>>,
    number: u32,
    deadline_ns: u64,
    runnable_ns: u64,
    /// None before the first iteration.
    cpu: Option<u32>,
    random: u64,
    cpus: CpuMap,
    memory: Option<WorkingSet>,
}

impl<'a> Recorder<'a> {
    /// To be made after the release. `seed` picks the wake-up latencies that are kept once there
    /// are too many; the same seed picks the same positions.
    pub(super) fn new(cells: Cells<'a>, seed: u64, cpus: CpuMap) -> Self {
        let released_ns = cells.control.released_ns.load(Relaxed);
        cells.whole.runnable_ns.store(released_ns, Relaxed);
        Self {
            cells,
            whole: Account::open(cells.whole, released_ns),
            step: None,
            number: 0,
            deadline_ns: cells.control.deadline_ns.load(Relaxed),
            runnable_ns: released_ns,
            cpu: None,
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
        now_ns >= self.deadline_ns || self.cells.stop.now.load(Relaxed) != 0
    }

    /// Sleeps until `CLOCK_MONOTONIC` reads `ns`, the run is over, or the worker is stopped.
    pub(super) fn sleep_until(&self, ns: u64) {
        clock::sleep_unless(&self.cells.stop.now, ns.min(self.deadline_ns));
    }

    /// One pass of the worker's loop ended, which did `units` of work. False: the run is over.
    pub(super) fn iteration(&mut self, units: u64) -> bool {
        let now = clock::monotonic_ns();
        // Before the CPU is looked at: what the step changed holds there then.
        self.turn_to(self.cells.control.step.load(Acquire), now);
        let cpu = clock::current_cpu();
        self.count(now, cpu, units);
        !self.is_over(now)
    }

    /// Closes the account of the last step and opens that of step `number`, where that is another one.
    fn turn_to(&mut self, number: u32, now: u64) {
        if number == self.number {
            return;
        }
        self.number = number;
        if let Some(mut step) = self.step.take() {
            step.close(now, self.memory.as_ref());
        }
        let index = number.checked_sub(1).map(|index| index as usize);
        let slot = index.and_then(|index| self.cells.steps.get(index));
        self.step = slot.map(|slot| Account::open(slot, now));
    }

    fn count(&mut self, now: u64, cpu: u32, units: u64) {
        let migration = self.cpu.filter(|last| *last != cpu).map(|last| {
            // Whether it leads to another node.
            self.cpus.node_of(last) != self.cpus.node_of(cpu)
        });
        if let Some(memory) = &mut self.memory {
            memory.touch_next();
        }
        let gap = now.saturating_sub(self.runnable_ns);
        for account in self.accounts() {
            account.count(gap, cpu, units, migration);
        }
        self.cpu = Some(cpu);
        self.cells.whole.last_cpu.store(cpu, Relaxed);
        self.runnable_since(now);
    }

    fn accounts(&mut self) -> impl Iterator<Item = &mut Account<'a>> {
        std::iter::once(&mut self.whole).chain(self.step.as_mut())
    }

    /// The worker waited until `ns` on purpose: gaps count from there.
    pub(super) fn runnable_since(&mut self, ns: u64) {
        self.runnable_ns = ns;
        self.cells.whole.runnable_ns.store(ns, Relaxed);
    }

    /// The worker slept, became runnable at `due_ns` and ran again at `now_ns`.
    pub(super) fn woke(&mut self, due_ns: u64, now_ns: u64) {
        let latency = now_ns.saturating_sub(due_ns);
        let random = self.next_random();
        for account in self.accounts() {
            account.woke(latency, random);
        }
    }

    /// Adds to the work type's own figure of this index.
    pub(super) fn add(&mut self, index: usize, amount: u64) {
        for account in self.accounts() {
            account.add(index, amount);
        }
    }

    /// Closes all accounts: the parent may read them.
    pub(super) fn finish(mut self) {
        let (now, memory) = (clock::monotonic_ns(), self.memory.take());
        if let Some(mut step) = self.step.take() {
            step.close(now, memory.as_ref());
        }
        self.whole.close(now, memory.as_ref());
    }

    /// Leaves what ended the worker, without an account.
    pub(super) fn refused(self, failure: Failure) {
        let slot = self.cells.whole;
        slot.refused_errno
            .store(failure.errno.cast_unsigned(), Relaxed);
        slot.refused_call.store(failure.call as u32, Release);
    }

    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

impl Slot {
    /// Whether the worker is through, in whatever way it could tell.
    pub(super) fn has_ended(&self) -> bool {
        self.done.load(Acquire) != 0 || self.refused_call.load(Acquire) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::os::Shared;
    use super::*;

    /// CPUs 0 and 1 on the one node, 2 and 3 on the other.
    const MACHINE: Topology = Topology::constant(2, 2, 2, 1);

    /// Calls `test` with a recorder of one worker, and the cells it writes: of the whole run and of two steps.
    fn with_recorder(test: impl FnOnce(Recorder<'_>, &Cells<'_>)) {
        let control = Shared::<Control>::new(1).unwrap();
        control[0].released_ns.store(1_000, Relaxed);
        control[0].deadline_ns.store(10_000, Relaxed);
        let stop = Shared::<Stop>::new(1).unwrap();
        let slots = Shared::<Slot>::new(3).unwrap();
        let cells = Cells {
            control: &control[0],
            stop: &stop[0],
            whole: &slots[0],
            steps: &slots[1..],
        };
        test(Recorder::new(cells, 7, MACHINE.into()), &cells);
    }

    #[test]
    fn gaps_count_from_the_release_and_name_the_cpu_they_end_on() {
        with_recorder(|mut recorder, cells| {
            let slot = cells.whole;
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
        with_recorder(|mut recorder, cells| {
            let slot = cells.whole;
            recorder.count(1_100, 0, 1);
            recorder.runnable_since(5_000);
            recorder.count(5_050, 0, 1);
            assert_eq!(slot.max_gap_ns.load(Relaxed), 100);
        });
    }

    #[test]
    fn every_page_of_the_working_set_has_a_node() {
        with_recorder(|mut recorder, cells| {
            let slot = cells.whole;
            recorder.count(1_100, 0, 1);
            recorder.finish();
            let known = slot.pages_known.load(Relaxed) == 1;
            let pages: u32 = slot.pages.iter().map(|cell| cell.load(Relaxed)).sum();
            // A kernel without NUMA does not tell.
            assert!(!known || pages as usize == WorkingSet::PAGES, "{pages}");
        });
    }

    #[test]
    fn ends_at_the_deadline_and_counts_cpus_beyond_the_array() {
        with_recorder(|mut recorder, cells| {
            let slot = cells.whole;
            assert!(!recorder.is_over(9_999));
            assert!(recorder.is_over(10_000));
            cells.stop.now.store(1, Relaxed);
            assert!(recorder.is_over(1_001));
            recorder.count(2_000, u32::MAX, 1);
            assert_eq!(slot.beyond.load(Relaxed), 1);
        });
    }

    #[test]
    fn keeps_a_bounded_fair_sample_of_wake_ups() {
        with_recorder(|mut recorder, cells| {
            let slot = cells.whole;
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

    #[test]
    fn a_step_has_an_account_of_its_own_and_the_whole_run_has_all() {
        with_recorder(|mut recorder, cells| {
            recorder.count(1_400, 0, 1);
            recorder.turn_to(1, 1_400);
            recorder.count(1_700, 0, 2);
            recorder.woke(0, 9);
            recorder.count(1_800, 1, 2);
            // A step without an account.
            recorder.turn_to(0, 1_800);
            recorder.count(4_000, 1, 4);
            recorder.turn_to(2, 4_000);
            recorder.finish();
            let [first, second] = cells.steps else {
                panic!("two steps")
            };
            let read = |cell: &AtomicU64| cell.load(Relaxed);
            assert_eq!((read(&first.iterations), read(&first.work_units)), (2, 4));
            assert_eq!((read(&first.max_gap_ns), read(&first.migrations)), (300, 1));
            assert_eq!((read(&first.wall_ns), read(&first.wakes)), (400, 1));
            assert_eq!(first.done.load(Relaxed), 1);
            assert_eq!(
                (read(&second.iterations), second.done.load(Relaxed)),
                (0, 1)
            );
            let whole = cells.whole;
            assert_eq!((read(&whole.iterations), read(&whole.work_units)), (4, 9));
            assert_eq!((read(&whole.max_gap_ns), read(&whole.wakes)), (2_200, 1));
        });
    }

    #[test]
    fn a_step_that_nobody_has_an_account_for_is_none() {
        with_recorder(|mut recorder, cells| {
            recorder.turn_to(7, 1_100);
            recorder.count(1_200, 0, 1);
            recorder.finish();
            assert!(cells.steps.iter().all(|slot| slot.done.load(Relaxed) == 0));
        });
    }
}
