//! Checks of what was sampled beside the workers: run queues and the counters of sched_ext.

use std::collections::BTreeMap;

use ktstr_core::record::Sampled;
use ktstr_core::{Metric, Outcome, Verdict};

use super::{Check, Checks};

/// `ops.select_cpu()` chose a CPU that the task may not use, and another one was taken.
const FALLBACK: &str = "SCX_EV_SELECT_CPU_FALLBACK";

/// A CPU kept running its task because the scheduler gave it no other.
const KEEP_LAST: &str = "SCX_EV_DISPATCH_KEEP_LAST";

/// Finds what a check judges.
type Find = fn(&Sampled) -> Value;

/// Each check of samples, and what finds the value that may be at most its limit.
const JUDGED: [(Check, Find); 4] = [
    (Check::named("max_imbalance_ratio"), imbalance),
    (Check::named("max_local_dsq_depth"), local_dsq_depth),
    (Check::named("max_fallback_rate"), |sampled| {
        rate(sampled, FALLBACK)
    }),
    (Check::named("max_keep_last_rate"), |sampled| {
        rate(sampled, KEEP_LAST)
    }),
];

/// Judges what was sampled during a run; `sampled` is `None` where nothing was.
///
/// A check whose source the kernel lacks is [`Outcome::Inconclusive`] and says what is missing.
///
/// ```
/// use ktstr_core::Outcome;
/// use ktstr_harness::check::{Checks, judge_sampled};
///
/// let checks = Checks { max_local_dsq_depth: Some(8), ..Checks::NONE };
/// assert_eq!(judge_sampled(&checks, None).outcome(), Outcome::Inconclusive);
/// assert_eq!(judge_sampled(&Checks::NONE, None).outcome(), Outcome::Pass);
/// ```
#[must_use]
pub fn judge_sampled(checks: &Checks, sampled: Option<&Sampled>) -> Verdict {
    let mut verdict = Verdict::pass();
    for (check, find) in JUDGED {
        let Some(limit) = check.asked_by(checks) else {
            continue;
        };
        match sampled.map_or_else(|| Err(NOTHING.to_owned()), find) {
            Ok((value, place)) => verdict.at_most(check.name, value, limit.limit(), &place),
            Err(why) => verdict.record(Outcome::Inconclusive, check.name, why),
        }
    }
    verdict
}

/// The first of these checks that `checks` ask for.
pub(super) fn asked(checks: &Checks) -> Option<&'static str> {
    let mut all = JUDGED.iter().map(|(check, _)| check);
    all.find(|check| check.asked_by(checks).is_some())
        .map(|check| check.name)
}

/// The figures that come from samples, by the names of their metrics; what was not there is left out.
pub fn sampled_metrics(sampled: &Sampled) -> BTreeMap<String, f64> {
    let figures = JUDGED.into_iter().filter_map(|(check, find)| {
        let (value, _) = find(sampled).ok()?;
        Some((check.metric?.name.to_owned(), value))
    });
    figures.collect()
}

/// The metrics of [`sampled_metrics`].
pub(super) fn recorded() -> impl Iterator<Item = Metric<'static>> {
    JUDGED.into_iter().filter_map(|(check, _)| check.metric)
}

const NOTHING: &str = "nothing was sampled: that takes a machine whose test body ran";

/// A value and where it was found, or why there is none.
type Value = Result<(f64, String), String>;

fn imbalance(sampled: &Sampled) -> Value {
    let queues = sampled.run_queues.get()?;
    let ratio = queues.imbalance.ok_or("no sample found a runnable task")?;
    Ok((ratio, format!("the mean of {} samples", sampled.samples)))
}

fn local_dsq_depth(sampled: &Sampled) -> Value {
    let queues = sampled.run_queues.get()?;
    let deepest = queues
        .local_dsq
        .ok_or("this kernel has no local dispatch queues (CONFIG_SCHED_CLASS_EXT)")?;
    let place = format!(
        "the queue of CPU {}, {:.2} s into the run",
        deepest.cpu, deepest.at_s
    );
    Ok((f64::from(deepest.depth), place))
}

/// Events per second.
fn rate(sampled: &Sampled, event: &str) -> Value {
    let events = sampled.events.get()?;
    let count = *events
        .get(event)
        .ok_or_else(|| format!("this kernel does not count {event}"))?;
    if sampled.wall_s <= 0.0 {
        return Err("no time passed, so there is no rate".to_owned());
    }
    let place = format!("each second ({count} {event} in {:.1} s)", sampled.wall_s);
    Ok((count as f64 / sampled.wall_s, place))
}

#[cfg(test)]
mod tests {
    use ktstr_core::record::{LocalDsq, Reading, RunQueues};

    use super::*;

    const CHECKS: Checks = Checks {
        max_imbalance_ratio: Some(1.5),
        max_local_dsq_depth: Some(4),
        max_fallback_rate: Some(10.0),
        max_keep_last_rate: Some(10.0),
        ..Checks::NONE
    };

    fn sampled(imbalance: f64, depth: u32, fallbacks: u64) -> Sampled {
        let events = [(FALLBACK, fallbacks), (KEEP_LAST, 0)];
        Sampled {
            samples: 100,
            wall_s: 2.0,
            cpu_s: 0.001,
            run_queues: Reading::Read(RunQueues {
                imbalance: Some(imbalance),
                local_dsq: Some(LocalDsq {
                    depth,
                    cpu: 3,
                    at_s: 1.25,
                }),
            }),
            events: Reading::Read(events.map(|(name, count)| (name.to_owned(), count)).into()),
            timeline: Vec::new(),
        }
    }

    fn lines(sampled: &Sampled) -> Vec<String> {
        let verdict = judge_sampled(&CHECKS, Some(sampled));
        verdict.decisive().map(ToString::to_string).collect()
    }

    #[test]
    fn each_limit_has_its_own_line() {
        let sound = sampled(1.0, 4, 20);
        assert_eq!(
            judge_sampled(&CHECKS, Some(&sound)).outcome(),
            Outcome::Pass
        );
        assert_eq!(
            lines(&sampled(2.25, 5, 42)),
            [
                "max_imbalance_ratio: 2.25 > 1.50 in the mean of 100 samples",
                "max_local_dsq_depth: 5 > 4 in the queue of CPU 3, 1.25 s into the run",
                "max_fallback_rate: 21 > 10 in each second (42 SCX_EV_SELECT_CPU_FALLBACK in 2.0 s)",
            ]
        );
        let metrics = sampled_metrics(&sound);
        assert_eq!(metrics["fallbacks_per_second"], 10.0);
        assert_eq!(metrics.len(), 4);
        assert!(recorded().all(|metric| metrics.contains_key(metric.name)));
    }

    #[test]
    fn what_a_kernel_lacks_is_inconclusive_and_never_zero() {
        let bare = Sampled {
            run_queues: Reading::Absent("no BTF".to_owned()),
            events: Reading::Read(BTreeMap::new()),
            ..sampled(1.0, 0, 0)
        };
        let verdict = judge_sampled(&CHECKS, Some(&bare));
        assert_eq!(verdict.outcome(), Outcome::Inconclusive);
        assert_eq!(verdict.decisive().count(), 4, "{verdict:?}");
        assert!(lines(&bare)[2].contains("does not count SCX_EV"));
        assert!(sampled_metrics(&bare).is_empty());
        let older = Sampled {
            run_queues: Reading::Read(RunQueues {
                imbalance: None,
                local_dsq: None,
            }),
            wall_s: 0.0,
            ..sampled(1.0, 0, 0)
        };
        assert_eq!(judge_sampled(&CHECKS, Some(&older)).decisive().count(), 4);
    }
}
