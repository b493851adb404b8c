//! Times for which a CPU was wasted.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::event::{Event, Task};

/// Events that are kept to be shown.
const HISTORY: usize = 64;

/// Events that are shown before the end and after it.
const BEFORE: usize = 6;
const AFTER: usize = 6;

/// Wastes that may still turn out to be none.
const MAX_UNSURE: usize = 16;

/// The longest time for which a CPU was idle while a task waited that may use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waste {
    /// The CPU.
    pub cpu: u32,
    /// When that began, by the guest's `CLOCK_MONOTONIC`.
    pub from: Duration,
    /// When it ended.
    pub to: Duration,
    /// The task that waited longest meanwhile.
    pub task: Task,
    /// Since when that task waited.
    pub waited_since: Duration,
    /// The moments before and after.
    pub moments: Vec<Event>,
    /// What it rests on was read at this time.
    excluded: Duration,
    sure_at: Duration,
    waited: Waited,
    after: usize,
}

impl Waste {
    /// How long, without the time for which the task that watches ran on the CPU.
    pub fn length(&self) -> Duration {
        self.to.saturating_sub(self.from + self.excluded)
    }
}

/// A time for which a CPU has been wasted so far.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) from: Duration,
    pub(super) to: Duration,
    /// For how long the observer ran there meanwhile.
    pub(super) excluded: Duration,
    /// What it rests on was read at this time: a change that is seen later may have come before.
    pub(super) sure_at: Duration,
    longest: Duration,
    task: Task,
    waited_since: Duration,
    began: [Option<Event>; 2],
    /// Tasks that waited; all where there are too many to tell.
    waited: Waited,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Waited {
    pids: Vec<i32>,
    is_cut: bool,
}

/// Tasks whose ids are kept.
const MAX_WAITED: usize = 32;

impl Waited {
    fn add(&mut self, pid: i32) {
        if self.pids.contains(&pid) {
            return;
        }
        if self.pids.len() < MAX_WAITED {
            self.pids.push(pid);
        } else {
            self.is_cut = true;
        }
    }

    fn has(&self, pid: i32) -> bool {
        self.is_cut || self.pids.contains(&pid)
    }
}

impl Run {
    pub(super) fn new(
        from: Duration,
        to: Duration,
        sure_at: Duration,
        task: Task,
        waited_since: Duration,
        began: [Option<Event>; 2],
    ) -> Self {
        Self {
            from,
            to,
            excluded: Duration::ZERO,
            sure_at,
            longest: to.saturating_sub(from),
            task,
            waited_since,
            began,
            waited: Waited {
                pids: vec![task.pid],
                is_cut: false,
            },
        }
    }

    /// Whether it rests on what was read of the task after its CPUs changed at `at`.
    pub(super) fn is_doubtful(&self, pid: i32, at: Duration) -> bool {
        self.sure_at >= at && self.waited.has(pid)
    }

    /// Joins another that is not apart from this one.
    pub(super) fn extend(&mut self, segment: &Self) {
        self.from = self.from.min(segment.from);
        self.to = self.to.max(segment.to);
        self.excluded += segment.excluded;
        self.sure_at = self.sure_at.max(segment.sure_at);
        for pid in &segment.waited.pids {
            self.waited.add(*pid);
        }
        self.waited.is_cut |= segment.waited.is_cut;
        if segment.longest > self.longest {
            self.longest = segment.longest;
            self.task = segment.task;
            self.waited_since = segment.waited_since;
            self.began = segment.began;
        }
    }
}

/// The longest waste so far.
#[derive(Debug, Default)]
pub(super) struct Wastes {
    sure: Option<Waste>,
    unsure: Vec<Waste>,
    history: VecDeque<Event>,
}

impl Wastes {
    /// Keeps the event, and adds it to what is to be shown after an end.
    pub(super) fn saw(&mut self, event: &Event) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(*event);
        if self.unsure.is_empty() && self.sure.as_ref().is_none_or(|waste| waste.after == 0) {
            return;
        }
        for waste in self.sure.iter_mut().chain(&mut self.unsure) {
            if waste.after > 0 && (event.is_on(waste.cpu) || event.is_about(waste.task.pid)) {
                waste.after -= 1;
                waste.moments.push(*event);
            }
        }
        self.settle(event.at);
    }

    pub(super) fn pass(&mut self, now: Duration) {
        self.settle(now);
    }

    /// A time is over.
    pub(super) fn close(&mut self, cpu: u32, run: Run) {
        let length = run.to.saturating_sub(run.from + run.excluded);
        if self
            .sure
            .as_ref()
            .is_some_and(|longest| longest.length() >= length)
        {
            return;
        }
        let mut moments: Vec<Event> = run.began.into_iter().flatten().collect();
        moments.sort_by_key(|event| event.at);
        let concerned = |event: &&Event| event.is_on(cpu) || event.is_about(run.task.pid);
        let recent = self.history.iter().rev().filter(concerned).take(BEFORE);
        let mut recent: Vec<Event> = recent.copied().collect();
        recent.retain(|event| !moments.contains(event));
        moments.extend(recent.into_iter().rev());
        moments.sort_by_key(|event| event.at);
        let waste = Waste {
            cpu,
            from: run.from,
            to: run.to,
            excluded: run.excluded,
            task: run.task,
            waited_since: run.waited_since,
            moments,
            sure_at: run.sure_at,
            waited: run.waited,
            after: AFTER,
        };
        if self.unsure.len() == MAX_UNSURE {
            let shortest = (0..MAX_UNSURE).min_by_key(|index| self.unsure[*index].length());
            self.unsure.swap_remove(shortest.unwrap_or(0));
        }
        self.unsure.push(waste);
    }

    /// Every change before `now` was seen: what was read before was true.
    fn settle(&mut self, now: Duration) {
        let (sure, unsure) = std::mem::take(&mut self.unsure)
            .into_iter()
            .partition::<Vec<_>, _>(|waste| waste.sure_at < now);
        self.unsure = unsure;
        let all = sure.into_iter().chain(self.sure.take());
        self.sure = all.max_by_key(Waste::length);
    }

    /// The CPUs of the task changed at `at`: what was read of it later does not say what was so before.
    pub(super) fn doubt(&mut self, pid: i32, at: Duration) {
        let is_doubtful = |waste: &Waste| waste.sure_at >= at && waste.waited.has(pid);
        self.unsure.retain(|waste| !is_doubtful(waste));
    }

    /// The longest; what is not sure yet counts: the stream is at its end.
    pub(super) fn longest(&mut self) -> Option<Waste> {
        self.settle(Duration::MAX);
        self.sure.take()
    }
}
