//! Checks of what was sampled beside the workers: run queues and the counters of sched_ext.

use std::collections::BTreeMap;

use ktstr_core::record::Sampled;
use ktstr_core::{Outcome, Verdict};

use super::Checks;

/// `ops.select_cpu()` chose a CPU that the task may not use, and another one was taken.
const FALLBACK: &str = "SCX_EV_SELECT_CPU_FALLBACK";

/// A CPU kept running its task because the scheduler gave it no other.
const KEEP_LAST: &str = "SCX_EV_DISPATCH_KEEP_LAST";

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
    let mut hold = |check: &str, limit: Option<f64>, found: &dyn Fn(&Sampled) -> Value| {
        let Some(limit) = limit else { return };
        match sampled.map_or_else(|| Err(NOTHING.to_owned()), found) {
            Ok((value, place)) => verdict.at_most(check, value, limit, &place),
            Err(why) => verdict.record(Outcome::Inconclusive, check, why),
        }
    };
    hold(
        "max_imbalance_ratio",
        checks.max_imbalance_ratio,
        &imbalance,
    );
    let depth = checks.max_local_dsq_depth.map(|depth| depth as f64);
    hold("max_local_dsq_depth", depth, &local_dsq_depth);
    let rate_of = |event: &'static str| move |sampled: &Sampled| rate(sampled, event);
    hold(
        "max_fallback_rate",
        checks.max_fallback_rate,
        &rate_of(FALLBACK),
    );
    hold(
        "max_keep_last_rate",
        checks.max_keep_last_rate,
        &rate_of(KEEP_LAST),
    );
    verdict
}

/// The figures of [`ktstr_core::Metric::ALL`] that come from samples; what was not there is left out.
pub fn sampled_metrics(sampled: &Sampled) -> BTreeMap<String, f64> {
    let figures = [
        ("imbalance_ratio", imbalance(sampled)),
        ("local_dsq_depth", local_dsq_depth(sampled)),
        ("fallbacks_per_second", rate(sampled, FALLBACK)),
        ("keep_lasts_per_second", rate(sampled, KEEP_LAST)),
    ];
    let present = figures
        .into_iter()
        .filter_map(|(name, found)| Some((name.to_owned(), found.ok()?.0)));
    present.collect()
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
    use ktstr_core::Metric;
    use ktstr_core::record::{LocalDsq, RunQueues, Source};

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
            run_queues: Source::Read(RunQueues {
                imbalance: Some(imbalance),
                local_dsq: Some(LocalDsq {
                    depth,
                    cpu: 3,
                    at_s: 1.25,
                }),
            }),
            events: Source::Read(events.map(|(name, count)| (name.to_owned(), count)).into()),
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
        assert!(metrics.keys().all(|name| Metric::by_name(name).is_some()));
    }

    #[test]
    fn what_a_kernel_lacks_is_inconclusive_and_never_zero() {
        let bare = Sampled {
            run_queues: Source::Absent("no BTF".to_owned()),
            events: Source::Read(BTreeMap::new()),
            ..sampled(1.0, 0, 0)
        };
        let verdict = judge_sampled(&CHECKS, Some(&bare));
        assert_eq!(verdict.outcome(), Outcome::Inconclusive);
        assert_eq!(verdict.decisive().count(), 4, "{verdict:?}");
        assert!(lines(&bare)[2].contains("does not count SCX_EV"));
        assert!(sampled_metrics(&bare).is_empty());
        let older = Sampled {
            run_queues: Source::Read(RunQueues {
                imbalance: None,
                local_dsq: None,
            }),
            wall_s: 0.0,
            ..sampled(1.0, 0, 0)
        };
        assert_eq!(judge_sampled(&CHECKS, Some(&older)).decisive().count(), 4);
    }
}
