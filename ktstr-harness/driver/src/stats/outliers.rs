//! Variants of a test that measured something else than the others.

use std::collections::BTreeMap;

use ktstr_core::record::MetricDefinition;
use ktstr_core::{Better, Metric, Outcome};
use ktstr_harness::check::all_metrics;
use serde::Serialize;

use super::facts::Facts;

/// Variants of a test that must have measured a metric: of fewer none can be told from the others.
pub const LEAST_VARIANTS: usize = 5;

/// A score above this makes an outlier: the value that Iglewicz and Hoaglin recommend for the modified z-score (*How to
/// Detect and Handle Outliers*, ASQC 1993).
pub const LIMIT: f64 = 3.5;

/// What the median absolute deviation of normally distributed values is multiplied by to estimate their standard
/// deviation, and the same for the mean absolute deviation.
const OF_MEDIAN: f64 = 1.4826;
const OF_MEAN: f64 = 1.253_314;

/// A value of a metric that is far from those of the same test's other gauntlet variants.
///
/// The gauntlet variants of a test under one scheduler on one kernel are compared, if at least [`LEAST_VARIANTS`] of them
/// measured the metric and were not skipped. The score of a value is its distance from their median, divided by 1.4826
/// times the median absolute deviation (MAD). Where the MAD is 0, because more than half of the values are the same, the
/// distance is divided by 1.2533 times the mean absolute deviation. A value is an outlier if its score is above
/// [`LIMIT`] and its distance is at least the absolute gate of the metric and its relative gate of the median.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outlier {
    /// The test function.
    pub test: String,
    /// Name of the metric.
    pub metric: String,
    /// Its unit; empty if it has none.
    pub unit: String,
    /// The case.
    pub case: String,
    /// The gauntlet preset.
    pub machine: String,
    /// Label of the kernel.
    pub kernel: Option<String>,
    /// The scheduler.
    pub scheduler: String,
    /// The value.
    pub value: f64,
    /// Median of all variants.
    pub median: f64,
    /// Median absolute deviation from it.
    pub mad: f64,
    /// How far the value is from the median, in estimated standard deviations; no more than 1e9.
    pub score: f64,
    /// Whether the value is worse than the median; absent for a metric that is not in the registry.
    pub worse: Option<bool>,
    /// The values of all variants, from the smallest machine to the largest.
    pub values: Vec<f64>,
    /// Which of `values` it is.
    pub position: usize,
}

/// Largest score that is told: a distance from values that hardly differ has no end.
const MOST: f64 = 1e9;

/// The outliers of `cases`: worse values first, then by score.
pub(super) fn outliers(cases: &[Facts]) -> Vec<Outlier> {
    let registry: BTreeMap<&str, Metric<'_>> =
        all_metrics().map(|metric| (metric.name, metric)).collect();
    let mut groups: BTreeMap<_, Vec<&Facts>> = BTreeMap::new();
    for facts in cases
        .iter()
        .filter(|facts| facts.is_gauntlet && facts.outcome() != Outcome::Skip)
    {
        let key = (&facts.test, &facts.target, &facts.scheduler, &facts.kernel);
        groups.entry(key).or_default().push(facts);
    }
    let mut found = Vec::new();
    for group in groups.values_mut() {
        group.sort_by_key(|facts| (facts.cpus, &facts.variant));
        let mut names: Vec<&String> = group
            .iter()
            .flat_map(|facts| facts.metrics.keys())
            .collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let mut definitions = group.iter().flat_map(|facts| &facts.definitions);
            let of_program = definitions.find(|it| it.name == *name);
            let of_program = of_program.map(MetricDefinition::metric);
            let metric = registry.get(name.as_str()).or(of_program.as_ref());
            of_metric(group, name, metric, &mut found);
        }
    }
    let rank = |outlier: &Outlier| outlier.worse.map_or(1, |worse| if worse { 0 } else { 2 });
    found.sort_by(|a, b| {
        (rank(a), b.score)
            .partial_cmp(&(rank(b), a.score))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    found
}

fn of_metric(group: &[&Facts], name: &str, metric: Option<&Metric<'_>>, found: &mut Vec<Outlier>) {
    let measured: Vec<(&Facts, f64)> = group
        .iter()
        .filter_map(|facts| Some((*facts, *facts.metrics.get(name)?)))
        .collect();
    let values: Vec<f64> = measured.iter().map(|(_, value)| *value).collect();
    let Some(spread) = Spread::of(&values) else {
        return;
    };
    for (position, (facts, value)) in measured.into_iter().enumerate() {
        let score = spread.score(value);
        let is_material = metric.is_none_or(|metric| {
            let least = metric.relative_gate_pct / 100.0 * spread.median.abs();
            spread.distance(value) >= metric.absolute_gate.max(least)
        });
        if score <= LIMIT || !is_material {
            continue;
        }
        let worse =
            |metric: &Metric<'_>| (value > spread.median) == (metric.better == Better::Lower);
        found.push(Outlier {
            test: facts.test.clone(),
            metric: name.to_owned(),
            unit: metric.map_or("", |metric| metric.unit).to_owned(),
            case: facts.case.clone(),
            machine: facts.variant.clone(),
            kernel: facts.kernel.clone(),
            scheduler: facts.scheduler.clone(),
            value,
            median: spread.median,
            mad: spread.mad,
            score,
            worse: metric.map(worse),
            values: values.clone(),
            position,
        });
    }
}

/// How values lie around their median.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) mad: f64,
    /// Estimate of the standard deviation.
    scale: f64,
}

impl Spread {
    /// Of `values`, which are finite; `None` of fewer than [`LEAST_VARIANTS`].
    pub(super) fn of(values: &[f64]) -> Option<Self> {
        if values.len() < LEAST_VARIANTS {
            return None;
        }
        let median = median(values)?;
        let distances: Vec<f64> = values
            .iter()
            .map(|value| distance(*value, median))
            .collect();
        let mad = self::median(&distances)?;
        let count = distances.len() as f64;
        let mean: f64 = distances.iter().map(|distance| distance / count).sum();
        let scale = if mad > 0.0 {
            OF_MEDIAN * mad
        } else {
            OF_MEAN * mean
        };
        Some(Self { median, mad, scale })
    }

    pub(super) fn distance(&self, value: f64) -> f64 {
        distance(value, self.median)
    }

    pub(super) fn score(&self, value: f64) -> f64 {
        let distance = self.distance(value);
        // All are the same.
        if distance == 0.0 {
            return 0.0;
        }
        // The product overflows where the values are as far apart as numbers go; nothing stands out there.
        let score = distance / self.scale;
        if score.is_nan() { 0.0 } else { score.min(MOST) }
    }
}

/// Finite, however far apart the two are.
fn distance(a: f64, b: f64) -> f64 {
    (a - b).abs().min(f64::MAX)
}

/// The middle of `values`, or the mean of the two middle ones; `None` if there are none.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let high = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(high);
    }
    Some(values[values.len() / 2 - 1] / 2.0 + high / 2.0)
}
