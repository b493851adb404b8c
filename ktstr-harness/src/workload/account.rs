//! What a worker counts over a stretch of its run, in memory that its parent reads.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, Release};

use super::os::WorkingSet;
use super::slot::{ABSENT, NOT_UNDER, SAMPLES, Slot, UNDER};
use super::{clock, sched_ext};

/// The whole run, or a step of it.
#[derive(Debug)]
pub(super) struct Account<'a> {
    slot: &'a Slot,
    opened_ns: u64,
    cpu_ns: u64,
    run_delay_ns: Option<u64>,
    /// None before the first iteration.
    max_gap_ns: Option<u64>,
}

impl<'a> Account<'a> {
    /// An account in `slot`, which must be empty, from `now` on.
    pub(super) fn open(slot: &'a Slot, now: u64) -> Self {
        Self {
            slot,
            opened_ns: now,
            cpu_ns: clock::cpu_ns(),
            run_delay_ns: clock::run_delay_ns(),
            max_gap_ns: None,
        }
    }

    /// Counts an iteration that ended on `cpu` after `gap`; with a migration, also whether it led to another NUMA node.
    pub(super) fn count(&mut self, gap: u64, cpu: u32, units: u64, migration: Option<bool>) {
        let slot = self.slot;
        if self.max_gap_ns.is_none_or(|longest| gap > longest) {
            self.max_gap_ns = Some(gap);
            slot.max_gap_ns.store(gap, Relaxed);
            slot.max_gap_cpu.store(cpu, Relaxed);
        }
        if let Some(to_another_node) = migration {
            add(&slot.migrations, 1);
            add(&slot.node_migrations, u64::from(to_another_node));
        }
        match slot.residence.get(cpu as usize) {
            Some(cell) => add(cell, 1),
            None => add(&slot.beyond, 1),
        }
        add(&slot.iterations, 1);
        add(&slot.work_units, units);
    }

    /// Counts a wake-up. `random` decides whether its latency is kept where there are too many.
    pub(super) fn woke(&mut self, latency: u64, random: u64) {
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
            random % (seen + 1)
        };
        if let Some(cell) = slot.samples.get(position as usize) {
            cell.store(latency, Relaxed);
        }
    }

    /// Adds to the work type's own figure of this index.
    pub(super) fn add(&mut self, index: usize, amount: u64) {
        if let Some(cell) = self.slot.counts.get(index) {
            add(cell, amount);
        }
    }

    /// Notes what the kernel counted meanwhile and where the worker's pages are. Nothing may be counted after it.
    pub(super) fn close(&mut self, now: u64, memory: Option<&WorkingSet>) {
        let slot = self.slot;
        let delay = match (self.run_delay_ns, clock::run_delay_ns()) {
            // A worker that has never waited has no account yet at the start: it shows zeros.
            (before, Some(after)) => after.saturating_sub(before.unwrap_or(0)),
            (_, None) => ABSENT,
        };
        self.locate_pages(memory);
        slot.run_delay_ns.store(delay, Relaxed);
        slot.cpu_ns
            .store(clock::cpu_ns().saturating_sub(self.cpu_ns), Relaxed);
        slot.wall_ns
            .store(now.saturating_sub(self.opened_ns), Relaxed);
        let under = match sched_ext::is_over_this_task() {
            Some(true) => UNDER,
            Some(false) => NOT_UNDER,
            None => 0,
        };
        slot.under_sched_ext.store(under, Relaxed);
        slot.done.store(1, Release);
    }

    /// Looks where the pages of the working set are.
    pub(super) fn locate_pages(&self, memory: Option<&WorkingSet>) {
        let Some(nodes) = memory.and_then(WorkingSet::nodes) else {
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
}

/// Adds to a cell that only this process writes: cheaper than an atomic addition.
fn add(cell: &AtomicU64, amount: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(amount), Relaxed);
}
