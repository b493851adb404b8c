//! Wake-to-run time by task and by CPU.

use std::collections::HashMap;
use std::time::Duration;

use super::event::Task;

/// Tasks that have an account of their own; the others share one.
const MAX_TASKS: usize = 1024;

/// Steps of a histogram between two powers of two.
const STEPS: u32 = 4;

/// Up to 2^40 ns, a quarter of an hour.
const BUCKETS: usize = 41 * STEPS as usize;

/// Times from wake-up to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latency {
    /// How many there were.
    pub count: u64,
    /// The longest.
    pub max: Duration,
    /// When the longest ended, by the guest's `CLOCK_MONOTONIC`.
    pub max_at: Duration,
    /// Their sum.
    pub sum: Duration,
    buckets: Vec<u32>,
}

/// The times of one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskLatency {
    /// The task.
    pub task: Task,
    /// How often it was woken and ran.
    pub count: u64,
    /// Its longest time.
    pub max: Duration,
    /// When that ended, by the guest's `CLOCK_MONOTONIC`.
    pub max_at: Duration,
    /// The CPU that it then ran on.
    pub max_cpu: u32,
    /// The sum of its times.
    pub sum: Duration,
}

/// All of a watch.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    pub(super) by_cpu: Vec<Latency>,
    by_task: HashMap<i32, TaskLatency>,
    /// Of those that found no place in `by_task`.
    others: Option<TaskLatency>,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            count: 0,
            max: Duration::ZERO,
            max_at: Duration::ZERO,
            sum: Duration::ZERO,
            buckets: vec![0; BUCKETS],
        }
    }
}

impl Latency {
    fn take(&mut self, at: Duration, time: Duration) {
        self.count += 1;
        self.sum = self.sum.saturating_add(time);
        if time > self.max {
            (self.max, self.max_at) = (time, at);
        }
        let bucket = &mut self.buckets[bucket(time)];
        *bucket = bucket.saturating_add(1);
    }

    /// Adds those of another CPU.
    pub(super) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        if other.max > self.max {
            (self.max, self.max_at) = (other.max, other.max_at);
        }
        for (to, from) in self.buckets.iter_mut().zip(&other.buckets) {
            *to = to.saturating_add(*from);
        }
    }

    /// The time that `percent` of them do not exceed, to within a fifth: the upper end of a step of the histogram.
    /// `None` without any.
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        let rank = (self.count as f64 * percent / 100.0).ceil().max(1.0) as u64;
        let mut seen = 0;
        let found = self.buckets.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank
        });
        Some(upper(found?).min(self.max))
    }
}

/// The bucket of a time: the power of two below it and the two bits that follow.
fn bucket(time: Duration) -> usize {
    let ns = time.as_nanos() as u64;
    if ns < u64::from(STEPS) {
        return ns as usize;
    }
    let power = ns.ilog2();
    let step = ns >> (power - 2) & u64::from(STEPS - 1);
    let bucket = (power - 1) * STEPS + step as u32;
    (bucket as usize).min(BUCKETS - 1)
}

/// The longest time in a bucket.
fn upper(bucket: usize) -> Duration {
    let (power, step) = (bucket as u32 / STEPS + 1, bucket as u64 % u64::from(STEPS));
    if bucket < STEPS as usize {
        return Duration::from_nanos(bucket as u64);
    }
    Duration::from_nanos(((u64::from(STEPS) + step + 1) << (power - 2)) - 1)
}

impl Latencies {
    pub(super) fn take(&mut self, at: Duration, cpu: u32, task: Task, time: Duration) {
        let index = cpu as usize;
        if self.by_cpu.len() <= index {
            self.by_cpu.resize(index + 1, Latency::default());
        }
        self.by_cpu[index].take(at, time);
        let is_full = self.by_task.len() >= MAX_TASKS && !self.by_task.contains_key(&task.pid);
        let first = TaskLatency {
            task,
            count: 0,
            max: Duration::ZERO,
            max_at: at,
            max_cpu: cpu,
            sum: Duration::ZERO,
        };
        let own = if is_full {
            self.others.get_or_insert(first)
        } else {
            self.by_task.entry(task.pid).or_insert(first)
        };
        own.count += 1;
        own.sum = own.sum.saturating_add(time);
        if time >= own.max {
            (own.task, own.max, own.max_at, own.max_cpu) = (task, time, at, cpu);
        }
    }

    /// The tasks, the one with the longest time first.
    pub(super) fn into_tasks(self) -> Vec<TaskLatency> {
        let mut tasks: Vec<_> = self.by_task.into_values().chain(self.others).collect();
        tasks.sort_by_key(|task| (std::cmp::Reverse(task.max), task.task.pid));
        tasks
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::event::tests::task;
    use super::*;

    const fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    #[test]
    fn the_worst_of_each_task_and_cpu() {
        let mut all = Latencies::default();
        for (at, cpu, pid, time) in [(10, 0, 7, 5), (20, 1, 7, 9), (30, 1, 8, 1), (40, 0, 8, 2)] {
            all.take(us(at), cpu, task(pid), us(time));
        }
        assert_eq!(
            (all.by_cpu[1].count, all.by_cpu[1].max, all.by_cpu[1].max_at),
            (2, us(9), us(20))
        );
        let tasks = all.into_tasks();
        assert_eq!(
            (
                tasks[0].task.pid,
                tasks[0].max,
                tasks[0].max_cpu,
                tasks[0].sum
            ),
            (7, us(9), 1, us(14))
        );
        assert_eq!(
            (tasks[1].task.pid, tasks[1].max, tasks[1].max_cpu),
            (8, us(2), 0)
        );
    }

    #[test]
    fn more_tasks_than_there_is_room_for_share_an_account() {
        let mut all = Latencies::default();
        for pid in 1..=i32::try_from(MAX_TASKS).unwrap() + 10 {
            all.take(us(1), 0, task(pid), us(pid as u64));
        }
        let tasks = all.into_tasks();
        assert_eq!(tasks.len(), MAX_TASKS + 1);
        assert_eq!(
            (tasks[0].count, tasks[0].max),
            (10, us(MAX_TASKS as u64 + 10))
        );
    }

    proptest! {
        #[test]
        fn percentiles_are_close(times in prop::collection::vec(0..1_u64 << 36, 1..60), percent in 0.0..100.0_f64) {
            let mut latency = Latency::default();
            for ns in &times {
                latency.take(Duration::ZERO, Duration::from_nanos(*ns));
            }
            let mut sorted = times;
            sorted.sort_unstable();
            let rank = ((sorted.len() as f64 * percent / 100.0).ceil() as usize).max(1);
            let exact = sorted[rank - 1];
            let found = latency.percentile(percent).unwrap().as_nanos() as u64;
            prop_assert!(found >= exact && found <= exact + exact / 4 + 1, "{found} {exact}");
        }
    }
}
