//! Compares two sides: plain data in, a report out.

use std::collections::BTreeSet;

use ktstr_core::Metric;
use ktstr_harness::check::all_metrics;

use super::gates::{Direction, Gates, Rules};
use super::policy::Correction;
use super::report::{
    Caveat, Comparison, FailedRuns, Finding, Incomparable, Missing, Mode, PerfDelta, Separation,
    SideInfo, SideName, SkippedCase,
};
use super::samples::{CaseRuns, PerfCase, Side};
use super::statistics::{
    ALPHA, Samples, are_disjoint, benjamini_hochberg, chance_of_disjoint, welch,
};

/// A side of a comparison with its name.
#[derive(Debug, Clone)]
pub(super) struct Named {
    /// The commit, in full.
    pub(super) commit: String,
    pub(super) label: String,
    pub(super) origin: Option<String>,
    pub(super) side: Side,
}

impl Named {
    fn info(&self) -> SideInfo {
        SideInfo {
            commit: self.commit.clone(),
            label: self.label.clone(),
            origin: self.origin.clone(),
            cases: self.side.cases.len(),
            runs: self.side.most_runs(),
        }
    }
}

/// Compares `head` with `base` by `rules`.
pub(super) fn compare(base: &Named, head: &Named, mode: Mode, rules: &Rules) -> PerfDelta {
    let mut found = Found::default();
    let cases: BTreeSet<&PerfCase> = base
        .side
        .cases
        .keys()
        .chain(head.side.cases.keys())
        .collect();
    for case in cases {
        let sides = [base, head].map(|named| named.side.cases.get(case));
        match sides {
            [Some(base), Some(head)] => found.case(case, base, head, rules),
            [before, _] => {
                let (side, other) = match before {
                    Some(_) => (SideName::Head, head),
                    None => (SideName::Base, base),
                };
                let why = other.side.skipped.get(case);
                found.missing.push(Missing {
                    case: case.clone(),
                    metric: None,
                    side,
                    why: why.map(|why| format!("skipped: {why}")),
                });
            }
        }
    }
    found.decide(rules.correction());
    report(base, head, mode, rules, found)
}

/// What was found so far.
#[derive(Debug, Default)]
struct Found {
    comparisons: Vec<Comparison>,
    missing: Vec<Missing>,
    incomparable: Vec<Incomparable>,
}

impl Found {
    fn case(&mut self, case: &PerfCase, base: &CaseRuns, head: &CaseRuns, rules: &Rules) {
        if let Some(why) = why_incomparable(base, head) {
            self.incomparable.push(Incomparable {
                case: case.clone(),
                metric: None,
                why,
            });
            return;
        }
        let names: BTreeSet<&String> = base.values.keys().chain(head.values.keys()).collect();
        for name in names {
            // A program's is what the tested commit says it is.
            let of_program = [head, base].map(|side| side.definitions.get(name));
            let mut of_program = of_program.into_iter().flatten();
            let known = all_metrics().find(|metric| metric.name == name);
            let Some(metric) = known.or_else(|| of_program.next().map(|it| it.metric())) else {
                let why = "this ktstr does not know the metric, so nobody says which way is better";
                self.incomparable(case, name, why);
                continue;
            };
            let Some(gates) = rules.gates(&case.test, &metric) else {
                continue;
            };
            match (base.values.get(name), head.values.get(name)) {
                (Some(base), Some(head)) => self.metric(case, &metric, gates, base, head),
                (base, _) => self.missing.push(Missing {
                    case: case.clone(),
                    metric: Some(name.clone()),
                    side: match base {
                        Some(_) => SideName::Head,
                        None => SideName::Base,
                    },
                    why: None,
                }),
            }
        }
    }

    fn metric(
        &mut self,
        case: &PerfCase,
        metric: &Metric<'_>,
        gates: Gates,
        base: &[f64],
        head: &[f64],
    ) {
        let sides = [base, head].map(|values| Samples::new(values.to_vec()));
        match sides {
            [Ok(base), Ok(head)] => {
                let comparison = comparison(case, metric, gates, &base, &head);
                self.comparisons.push(comparison);
            }
            [Err(error), _] | [_, Err(error)] => {
                self.incomparable(case, metric.name, &error.to_string());
            }
        }
    }

    fn incomparable(&mut self, case: &PerfCase, metric: &str, why: &str) {
        self.incomparable.push(Incomparable {
            case: case.clone(),
            metric: Some(metric.to_owned()),
            why: why.to_owned(),
        });
    }

    /// Allows for the number of metrics, and decides about each.
    fn decide(&mut self, correction: Correction) {
        // What was not tested cannot be adjusted.
        let tested: Vec<&mut Comparison> = self
            .comparisons
            .iter_mut()
            .filter(|it| it.adjusted_p.is_some())
            .collect();
        let p: Vec<f64> = tested.iter().filter_map(|it| it.adjusted_p).collect();
        for (comparison, adjusted) in tested.into_iter().zip(benjamini_hochberg(&p)) {
            comparison.adjusted_p = Some(adjusted);
        }
        for comparison in &mut self.comparisons {
            comparison.verdict = finding(comparison, correction);
        }
    }
}

/// Compares one metric. Its `adjusted_p` is not adjusted yet, and its verdict open.
fn comparison(
    case: &PerfCase,
    metric: &Metric<'_>,
    gates: Gates,
    base: &Samples,
    head: &Samples,
) -> Comparison {
    let (from, to) = (base.mean(), head.mean());
    let change = to - from;
    let change_pct = Some(100.0 * (change / from.abs())).filter(|pct| pct.is_finite());
    let test = welch(base, head);
    let disjoint = are_disjoint(base, head);
    let (separation, p) = match test {
        None => (Separation::Untested, None),
        Some(test) => {
            let separation = if test.p < ALPHA {
                Separation::Welch
            } else if disjoint {
                Separation::DisjointRanges
            } else {
                Separation::Overlapping
            };
            let chance = disjoint.then(|| chance_of_disjoint(base.runs(), head.runs()));
            (separation, Some(test.p.min(chance.unwrap_or(1.0))))
        }
    };
    Comparison {
        case: case.clone(),
        metric: metric.name.to_owned(),
        unit: metric.unit.to_owned(),
        better: metric.better,
        base: base.summary(),
        head: head.summary(),
        change,
        change_pct,
        direction: Direction::of(from, to, metric.better),
        gates,
        material: gates.pass(from, to),
        separation,
        p: test.map(|test| test.p),
        adjusted_p: p,
        verdict: Finding::Unchanged,
    }
}

/// What follows from a comparison.
fn finding(comparison: &Comparison, correction: Correction) -> Finding {
    if !comparison.material || comparison.separation == Separation::Overlapping {
        return Finding::Unchanged;
    }
    let by_chance = comparison.adjusted_p.is_some_and(|p| p >= ALPHA);
    if by_chance && correction == Correction::BenjaminiHochberg {
        return Finding::Unconfirmed;
    }
    match comparison.direction {
        Direction::Same => Finding::Unchanged,
        Direction::Better => Finding::Improvement,
        Direction::Worse => Finding::Regression,
    }
}

/// Why figures of two sides cannot be compared.
fn why_incomparable(base: &CaseRuns, head: &CaseRuns) -> Option<String> {
    if base.topologies != head.topologies {
        let shapes = |runs: &CaseRuns| {
            let shapes = runs.topologies.iter().flatten();
            list(shapes.cloned())
        };
        let (from, to) = (shapes(base), shapes(head));
        return Some(format!("its machine changed from {from} to {to}"));
    }
    if base.backends != head.backends {
        let names = |runs: &CaseRuns| list(runs.backends.iter().flatten().cloned());
        let (from, to) = (names(base), names(head));
        return Some(format!(
            "it ran on {from} at the base and on {to} at the head"
        ));
    }
    if base.modes != head.modes {
        let why = "one side ran in performance mode and the other did not; run both the same way";
        return Some(why.to_owned());
    }
    None
}

fn list(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    if names.is_empty() {
        return "none".to_owned();
    }
    names.join(", ")
}

fn report(base: &Named, head: &Named, mode: Mode, rules: &Rules, found: Found) -> PerfDelta {
    let count = |finding| {
        let comparisons = found.comparisons.iter();
        comparisons.filter(|it| it.verdict == finding).count()
    };
    let regressions = count(Finding::Regression);
    let (improvements, unconfirmed) = (count(Finding::Improvement), count(Finding::Unconfirmed));
    let has_regressed = |metric: &&String| {
        let mut comparisons = found.comparisons.iter();
        comparisons.any(|it| it.verdict == Finding::Regression && it.metric == **metric)
    };
    let must_fail = rules.failing_metrics().to_vec();
    let must_fail_regressed: Vec<String> =
        must_fail.iter().filter(has_regressed).cloned().collect();
    let fail_threshold = rules.fails_at();
    let is_there = |test: &str| {
        let sides = [base, head].into_iter().flat_map(|it| {
            let skipped = it.side.skipped.keys();
            it.side.cases.keys().chain(skipped)
        });
        sides.into_iter().any(|case| case.test == test)
    };
    PerfDelta {
        schema: PerfDelta::SCHEMA,
        mode,
        base: base.info(),
        head: head.info(),
        alpha: ALPHA,
        correction: rules.correction(),
        caveats: caveats(base, head, &found.comparisons),
        comparisons: found.comparisons,
        missing: found.missing,
        incomparable: found.incomparable,
        failures: failures(base, head),
        skipped: skipped(base, head),
        regressions,
        improvements,
        unconfirmed,
        fail_threshold,
        must_fail,
        failed: regressions >= fail_threshold || !must_fail_regressed.is_empty(),
        must_fail_regressed,
        unreadable: Vec::new(),
        unused_policy: rules.unused(is_there),
    }
}

fn sides<'n>(base: &'n Named, head: &'n Named) -> [(SideName, &'n Side); 2] {
    [(SideName::Base, &base.side), (SideName::Head, &head.side)]
}

fn failures(base: &Named, head: &Named) -> Vec<FailedRuns> {
    let all = sides(base, head).into_iter().flat_map(|(name, side)| {
        side.cases
            .iter()
            .map(move |(case, runs)| (name, case, runs))
    });
    let failed = all.filter(|(_, _, runs)| runs.failed > 0);
    let mut failures: Vec<FailedRuns> = failed
        .map(|(side, case, runs)| FailedRuns {
            case: case.clone(),
            side,
            failed: runs.failed,
            runs: runs.runs,
            why: runs.failure.clone().unwrap_or_default(),
        })
        .collect();
    failures.sort_by(|a, b| (&a.case, a.side).cmp(&(&b.case, b.side)));
    failures
}

fn skipped(base: &Named, head: &Named) -> Vec<SkippedCase> {
    let all = sides(base, head).into_iter().flat_map(|(name, side)| {
        side.skipped
            .iter()
            .map(move |(case, why)| (name, case, why))
    });
    let skipped = all.map(|(side, case, why)| SkippedCase {
        case: case.clone(),
        side,
        why: why.clone(),
    });
    skipped.collect()
}

fn caveats(base: &Named, head: &Named, comparisons: &[Comparison]) -> Vec<Caveat> {
    let mut caveats = Vec::new();
    let runs = || {
        let sides = [&base.side, &head.side].into_iter();
        sides.flat_map(|side| side.cases.values())
    };
    if base.commit == head.commit {
        caveats.push(Caveat::SameCommit);
    }
    if runs().any(|case| case.modes.contains(&false)) {
        caveats.push(Caveat::SharedCpus);
    }
    if runs().any(|case| case.backends.iter().flatten().any(|name| name == "qemu")) {
        caveats.push(Caveat::Emulated);
    }
    let untested = comparisons
        .iter()
        .filter(|it| it.separation == Separation::Untested)
        .count();
    if untested > 0 {
        caveats.push(Caveat::Untested { metrics: untested });
    }
    let models = |side: &Side| -> Vec<String> {
        let models = side.cases.values().flat_map(|case| &case.cpu_models);
        let models: BTreeSet<&String> = models.flatten().collect();
        models.into_iter().cloned().collect()
    };
    let (of_base, of_head) = (models(&base.side), models(&head.side));
    if of_base != of_head && !of_base.is_empty() && !of_head.is_empty() {
        caveats.push(Caveat::HostsDiffer {
            base: of_base,
            head: of_head,
        });
    }
    caveats
}

#[cfg(test)]
mod tests;
