//! Sampling of the kernel's scheduling while a test runs.
//!
//! Init takes the samples between its other duties, at a priority above the scheduler under test: it also sees tasks
//! that a broken scheduler leaves waiting. The interval grows with the cost of a sample, so that sampling takes a small
//! part of the machine's CPU time.

mod bpf;
mod events;
mod insn;
mod layout;
mod run_queues;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use ktstr_core::record::{LocalDsq, Moment, Reading, RunQueues, Sampled};
use rustix::time::{ClockId, clock_gettime};

use run_queues::{Reader, RunQueue};

/// The shortest and the longest time between two samples.
const INTERVAL: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Time before the first sample, whose set-up takes some 60 ms of an emulated CPU. A run that ends earlier has no
/// samples.
const HEAD_START: Duration = Duration::from_millis(100);

/// A sample takes at most one part in this many of the machine's CPU time until the next one.
const COST_PARTS: u32 = 400;

/// Lower bound on the cost of a sample.
const LEAST_COST: Duration = Duration::from_micros(10);

/// Moments that are kept; when there are more, every second one is dropped.
const MOMENTS: usize = 64;

/// Takes samples from the start of a body to its end.
#[derive(Debug)]
pub(super) struct Sampler {
    cpus: u32,
    start: Instant,
    due: Instant,
    /// CPU time of all samples.
    cost: Duration,
    /// Typical CPU time of a sample.
    typical: Duration,
    samples: u64,
    /// Made with the first sample: the body need not wait for it.
    reader: Option<Result<Reader, String>>,
    balance: Balance,
    local_dsq: Option<LocalDsq>,
    first_events: Result<BTreeMap<String, u64>, String>,
    last_events: BTreeMap<String, u64>,
    timeline: Timeline,
}

impl Sampler {
    /// Starts; the scheduler under test is enabled by now.
    pub(super) fn start(cpus: u32) -> Self {
        let now = Instant::now();
        let first_events = events::read(Path::new(events::PATH));
        Self {
            cpus,
            start: now,
            due: now + HEAD_START,
            cost: Duration::ZERO,
            typical: LEAST_COST,
            samples: 0,
            reader: None,
            balance: Balance::default(),
            local_dsq: None,
            last_events: first_events.clone().unwrap_or_default(),
            first_events,
            timeline: Timeline::default(),
        }
    }

    /// How long until the next sample.
    pub(super) fn due_in(&self) -> Duration {
        self.due.saturating_duration_since(Instant::now())
    }

    /// Takes a sample where one is due.
    pub(super) fn sample_if_due(&mut self) {
        if !self.due_in().is_zero() {
            return;
        }
        let before = cpu_time();
        let is_first = self.reader.is_none();
        self.sample();
        let cost = cpu_time().saturating_sub(before);
        self.cost += cost;
        if is_first {
            // It includes the set-up, so its cost says nothing about the others.
            self.due = Instant::now() + INTERVAL.0;
            return;
        }
        // A sample that loses its CPU to something on the host seems to cost a lot: only a lasting rise counts.
        self.typical = cost.min(2 * self.typical).max(LEAST_COST);
        let wait = self.typical * COST_PARTS / self.cpus.max(1);
        self.due = Instant::now() + wait.clamp(INTERVAL.0, INTERVAL.1);
    }

    fn sample(&mut self) {
        let cpus = self.cpus;
        let reader = self.reader.get_or_insert_with(|| Reader::new(cpus));
        if let Ok(reader) = reader {
            let at = self.start.elapsed();
            match reader.read() {
                Ok(queues) => self.take(at, &queues),
                Err(why) => self.reader = Some(Err(why)),
            }
        }
        self.count_events();
        self.samples += 1;
    }

    fn count_events(&mut self) {
        // The counters disappear with the scheduler.
        if self.first_events.is_ok()
            && let Ok(events) = events::read(Path::new(events::PATH))
        {
            self.last_events = events;
        }
    }

    fn take(&mut self, at: Duration, queues: &[Option<RunQueue>]) {
        let present: Vec<(u32, RunQueue)> = (0..)
            .zip(queues)
            .filter_map(|(cpu, queue)| Some((cpu, (*queue)?)))
            .collect();
        let runnable: Vec<u32> = present.iter().map(|(_, queue)| queue.runnable).collect();
        self.balance.take(&runnable);
        let depths = present
            .iter()
            .filter_map(|(cpu, queue)| Some((*cpu, queue.local_dsq?)));
        let local_dsq: Vec<u32> = depths.clone().map(|(_, depth)| depth).collect();
        if let Some((cpu, depth)) = depths.max_by_key(|(_, depth)| *depth)
            && self.local_dsq.is_none_or(|deepest| depth > deepest.depth)
        {
            let at_s = at.as_secs_f64();
            self.local_dsq = Some(LocalDsq { depth, cpu, at_s });
        }
        self.timeline.push(Moment {
            at_s: at.as_secs_f64(),
            runnable,
            local_dsq,
        });
    }

    /// Finishes with a last read of the counters.
    pub(super) fn finish(mut self) -> Sampled {
        let wall_s = self.start.elapsed().as_secs_f64();
        self.count_events();
        let last = self.last_events;
        Sampled {
            samples: self.samples,
            wall_s,
            cpu_s: self.cost.as_secs_f64(),
            run_queues: match self.reader {
                Some(Ok(_)) => Reading::Read(RunQueues {
                    imbalance: self.balance.mean(),
                    local_dsq: self.local_dsq,
                }),
                Some(Err(why)) => Reading::Absent(why),
                None => Reading::Absent("the run ended before the first sample".to_owned()),
            },
            events: match self.first_events {
                Ok(first) => Reading::Read(difference(&first, last)),
                Err(why) => Reading::Absent(why),
            },
            timeline: self.timeline.moments,
        }
    }
}

/// What was added to the counters from `first` to `last`.
fn difference(first: &BTreeMap<String, u64>, last: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let count = |(name, value): (String, u64)| {
        let before = first.get(&name).copied().unwrap_or(0);
        (name, value.saturating_sub(before))
    };
    last.into_iter().map(count).collect()
}

/// How evenly tasks were spread.
#[derive(Debug, Default)]
struct Balance {
    sum: f64,
    samples: u32,
}

impl Balance {
    fn take(&mut self, runnable: &[u32]) {
        let tasks: u64 = runnable.iter().map(|tasks| u64::from(*tasks)).sum();
        let Some(longest) = runnable.iter().max().filter(|_| tasks > 0) else {
            return;
        };
        let even = tasks.div_ceil(runnable.len() as u64);
        self.sum += f64::from(*longest) / even as f64;
        self.samples += 1;
    }

    fn mean(&self) -> Option<f64> {
        (self.samples > 0).then(|| self.sum / f64::from(self.samples))
    }
}

/// Moments at even distances over a run of unknown length.
#[derive(Debug)]
struct Timeline {
    moments: Vec<Moment>,
    /// One of so many samples is kept.
    stride: u64,
    seen: u64,
}

impl Default for Timeline {
    fn default() -> Self {
        Self {
            moments: Vec::new(),
            stride: 1,
            seen: 0,
        }
    }
}

impl Timeline {
    fn push(&mut self, moment: Moment) {
        if self.seen.is_multiple_of(self.stride) {
            if self.moments.len() == MOMENTS {
                let mut index = 0;
                self.moments.retain(|_| {
                    index += 1;
                    index % 2 == 1
                });
                self.stride *= 2;
            }
            if self.seen.is_multiple_of(self.stride) {
                self.moments.push(moment);
            }
        }
        self.seen += 1;
    }
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(samples: &[&[u32]]) -> Option<f64> {
        let mut balance = Balance::default();
        for runnable in samples {
            balance.take(runnable);
        }
        balance.mean()
    }

    #[test]
    fn balance_is_measured_by_what_an_even_spread_leaves() {
        assert_eq!(mean(&[]), None);
        assert_eq!(mean(&[&[0, 0]]), None);
        assert_eq!(mean(&[&[1, 0, 0, 0]]), Some(1.0));
        assert_eq!(mean(&[&[2, 1, 1, 1]]), Some(1.0));
        assert_eq!(mean(&[&[4, 0, 0, 0]]), Some(4.0));
        assert_eq!(mean(&[&[4, 0], &[0, 0], &[2, 2]]), Some(1.5));
    }

    #[test]
    fn a_timeline_of_any_length_stays_small_and_even() {
        let mut timeline = Timeline::default();
        for at in 0..1000 {
            timeline.push(Moment {
                at_s: f64::from(at),
                runnable: Vec::new(),
                local_dsq: Vec::new(),
            });
        }
        let times: Vec<f64> = timeline.moments.iter().map(|moment| moment.at_s).collect();
        assert!(times.len() <= MOMENTS && times.len() > MOMENTS / 2);
        assert_eq!(times[0], 0.0);
        let steps = times.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(steps.into_iter().all(|step| step == 16.0), "{times:?}");
    }

    #[test]
    fn counters_that_begin_during_the_run_count_from_zero() {
        let counters = |pairs: &[(&str, u64)]| {
            let pairs = pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), *value));
            pairs.collect::<BTreeMap<_, _>>()
        };
        let first = counters(&[("a", 5), ("b", 7)]);
        let last = counters(&[("a", 9), ("b", 3), ("c", 2)]);
        assert_eq!(
            difference(&first, last),
            counters(&[("a", 4), ("b", 0), ("c", 2)])
        );
    }
}
