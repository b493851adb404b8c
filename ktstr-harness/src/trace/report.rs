//! What a watch came to.

use std::time::Duration;

use ktstr_core::record::{CpuWakes, Reading, TaskWakes, Traced, WakeToRun, Wasted};
use ktstr_core::{Outcome, Verdict};

use super::event::Event;
use super::latency::{Latency, TaskLatency};
use super::machine::Waste;
use super::rule::{Broken, Ruled};
use super::session::Counts;
use crate::check::{judge_traced, traced_metrics};
use crate::{AssertResult, Checks};

/// Tasks that are recorded, those with the longest times.
const RECORDED_TASKS: usize = 8;

/// What a watch saw. It holds figures and a few events; the stream itself is not kept.
#[derive(Debug, Clone)]
pub struct Report {
    pub(super) began: Duration,
    pub(super) wall: Duration,
    pub(super) cpus: usize,
    pub(super) cpu_time: Duration,
    pub(super) setup_cpu_time: Duration,
    pub(super) buffer_kib: u32,
    pub(super) fullest_pct: u32,
    pub(super) counts: Counts,
    pub(super) overflowed: bool,
    pub(super) looks: u64,
    pub(super) tasks_read: u64,
    pub(super) wasted: Option<Waste>,
    pub(super) by_cpu: Vec<Latency>,
    pub(super) by_task: Vec<TaskLatency>,
    pub(super) rules: Vec<Ruled>,
    pub(super) limits: Checks,
}

impl Report {
    /// When the watch began, by the guest's `CLOCK_MONOTONIC`, as in [`Event::at`].
    pub fn began(&self) -> Duration {
        self.began
    }

    /// How long it lasted.
    pub fn wall(&self) -> Duration {
        self.wall
    }

    /// How many events there were, and how many were lost.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// CPU time that reading and judging took. What the kernel spent on writing the events is not in it.
    pub fn cpu_time(&self) -> Duration {
        self.cpu_time
    }

    /// CPU time that it took to begin.
    pub fn setup_cpu_time(&self) -> Duration {
        self.setup_cpu_time
    }

    /// [`Report::cpu_time`] as a share of the CPU time of the machine, in percent.
    pub fn cost_pct(&self) -> f64 {
        let capacity = self.wall.as_secs_f64() * self.cpus as f64;
        if capacity > 0.0 {
            100.0 * self.cpu_time.as_secs_f64() / capacity
        } else {
            0.0
        }
    }

    /// Size of the ring buffer of each CPU in KiB, and how much of the fullest was full when it was read, in percent.
    pub fn buffers(&self) -> (u32, u32) {
        (self.buffer_kib, self.fullest_pct)
    }

    /// How often the buffers were read, and how often `/proc` was asked what a task may use.
    pub fn reads(&self) -> (u64, u64) {
        (self.looks, self.tasks_read)
    }

    /// The longest time for which a CPU was idle while a task waited that may use it; `None` if there was none of 0.1
    /// ms.
    pub fn wasted(&self) -> Option<&Waste> {
        self.wasted.as_ref()
    }

    /// Wake-to-run times by CPU, from CPU 0 on.
    pub fn wake_to_run_by_cpu(&self) -> &[Latency] {
        &self.by_cpu
    }

    /// Wake-to-run times by task, that with the longest first. Of more than 1024 tasks the others share the account of
    /// the worst of them.
    pub fn wake_to_run_by_task(&self) -> &[TaskLatency] {
        &self.by_task
    }

    /// What the rules came to, in the order in which they were added.
    pub fn rules(&self) -> &[Ruled] {
        &self.rules
    }

    /// The same, by the name of the rule.
    pub fn rule(&self, name: &str) -> Option<&Ruled> {
        self.rules.iter().find(|rule| rule.name == name)
    }

    /// The figures that are recorded.
    pub fn traced(&self) -> Traced {
        Traced {
            events: self.counts.events,
            switches: self.counts.switches,
            // A task that is not followed is as good as lost.
            lost: self.counts.lost + u64::from(self.overflowed),
            wall_s: self.wall.as_secs_f64(),
            cpu_s: self.cpu_time.as_secs_f64(),
            buffer_kib: self.buffer_kib,
            wasted: self.wasted.as_ref().map(|waste| self.wasted_record(waste)),
            wake_to_run: self.wake_to_run(),
        }
    }

    /// Seconds since the watch began.
    fn since_begin(&self, at: Duration) -> f64 {
        at.saturating_sub(self.began).as_secs_f64()
    }

    fn wasted_record(&self, waste: &Waste) -> Wasted {
        Wasted {
            cpu: waste.cpu,
            ms: ms(waste.length()),
            at_s: self.since_begin(waste.from),
            pid: waste.task.pid,
            task: waste.task.name(),
            waited_ms: ms(waste.to.saturating_sub(waste.waited_since)),
            moments: moments(&waste.moments, waste.from),
        }
    }

    fn wake_to_run(&self) -> Option<WakeToRun> {
        let mut all = Latency::default();
        for cpu in &self.by_cpu {
            all.add(cpu);
        }
        let tasks = self
            .by_task
            .iter()
            .take(RECORDED_TASKS)
            .map(|task| TaskWakes {
                pid: task.task.pid,
                task: task.task.name(),
                count: task.count,
                mean_ms: ms(task.sum) / task.count.max(1) as f64,
                max_ms: ms(task.max),
                at_s: self.since_begin(task.max_at),
                cpu: task.max_cpu,
            });
        let percentile = |of: &Latency, percent| of.percentile(percent).map_or(0.0, ms);
        let cpus = (0..)
            .zip(&self.by_cpu)
            .filter(|(_, latency)| latency.count > 0);
        (all.count > 0).then(|| WakeToRun {
            count: all.count,
            p50_ms: percentile(&all, 50.0),
            p99_ms: percentile(&all, 99.0),
            tasks: tasks.collect(),
            cpus: cpus
                .map(|(cpu, latency)| CpuWakes {
                    cpu,
                    count: latency.count,
                    p99_ms: percentile(latency, 99.0),
                    max_ms: ms(latency.max),
                })
                .collect(),
        })
    }

    /// What the limits and rules of the watch say of it.
    ///
    /// A limit that is broken fails the test, also where events were lost: what broke it was seen. One that is not is
    /// inconclusive then.
    pub fn verdict(&self) -> Verdict {
        let mut verdict = judge_traced(&self.limits, Some(&Reading::Read(self.traced())));
        for rule in &self.rules {
            self.judge_rule(&mut verdict, rule);
        }
        verdict
    }

    /// The verdict and the figures as a result of a test, to be merged into that of its scenario.
    pub fn into_result(self) -> AssertResult {
        let mut metrics = traced_metrics(&self.traced());
        for rule in &self.rules {
            let value = if rule.is_count {
                Some(rule.count as f64)
            } else {
                rule.max.map(|max| max as f64)
            };
            metrics.extend(value.map(|value| (rule.name.clone(), value)));
        }
        AssertResult {
            verdict: self.verdict(),
            metrics,
            ..AssertResult::default()
        }
    }

    fn judge_rule(&self, verdict: &mut Verdict, rule: &Ruled) {
        let name = &rule.name;
        if let Some(first) = &rule.first {
            verdict.record(Outcome::Fail, name, self.broken(rule, first));
            return;
        }
        if self.counts.lost > 0 {
            let lost = self.counts.lost;
            verdict.record(Outcome::Inconclusive, name, lost_words(lost));
            return;
        }
        let value = if rule.is_count {
            Some(rule.count.cast_signed())
        } else {
            rule.max
        };
        if let Some(least) = rule.at_least {
            match value {
                Some(value) => verdict.at_least(
                    name,
                    value as f64,
                    least as f64,
                    "the events that were watched",
                ),
                None => {
                    verdict.record(Outcome::Inconclusive, name, "there was no event to measure");
                }
            }
        }
    }

    fn broken(&self, rule: &Ruled, first: &Broken) -> String {
        let how = match (rule.is_count, rule.at_most, rule.max) {
            (true, Some(most), _) => format!("{} > {most} events; the one too many", rule.count),
            (false, Some(most), Some(max)) => format!("{max} > {most}; first"),
            (_, _, Some(ns)) => format!(
                "{} of {} took too long, up to {:.3} ms; first",
                rule.broken,
                rule.count,
                ns as f64 / 1e6
            ),
            _ => format!("broken by {} of {} events; first", rule.broken, rule.count),
        };
        let at = self.since_begin(first.event.at);
        let lines = moments(&first.moments, first.event.at);
        let lines = lines
            .iter()
            .fold(String::new(), |text, line| text + "\n" + line);
        format!("{how} {at:.3} s into the watch, {}{lines}", first.event)
    }
}

/// What is said of a judgement that some events are missing from.
pub(crate) fn lost_words(lost: u64) -> String {
    format!("{lost} events were lost, so what was seen is not all there was")
}

/// A line for each event, with its time from `zero` on.
fn moments(events: &[Event], zero: Duration) -> Vec<String> {
    let lines = events.iter().map(|event| {
        let ms = event.at.as_secs_f64() * 1e3 - zero.as_secs_f64() * 1e3;
        format!("{ms:>+10.3} ms  {event}")
    });
    lines.collect()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
