//! The statistics that tell a change from noise. Nothing here knows what is measured.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Level of Welch's t-test, two-sided: the chance at which it separates two sides that do not differ.
pub const ALPHA: f64 = 0.05;

/// Values of one metric on one side, one for each run: at least one, all finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples(Vec<f64>);

/// Values that cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SamplesError {
    /// There are none.
    #[error("there is no value")]
    Empty,
    /// One is infinite or not a number.
    #[error("a value is not a finite number")]
    NotFinite,
}

/// What is told of the values of one side.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// How many values there are.
    pub runs: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, of the population that they are drawn from; absent for a single value.
    pub deviation: Option<f64>,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

/// The result of Welch's t-test: do the means of two sides differ, whose variances need not be equal?
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Welch {
    /// The difference of the means (first minus second) in standard errors; infinite if neither side has any spread and
    /// they differ.
    pub t: f64,
    /// Degrees of freedom, by Welch and Satterthwaite.
    pub degrees: f64,
    /// The two-sided probability of a `t` of at least that size if the means are equal.
    pub p: f64,
}

impl Samples {
    /// Takes `values` if they can be compared.
    pub fn new(values: Vec<f64>) -> Result<Self, SamplesError> {
        if values.is_empty() {
            return Err(SamplesError::Empty);
        }
        if values.iter().any(|value| !value.is_finite()) {
            return Err(SamplesError::NotFinite);
        }
        Ok(Self(values))
    }

    /// How many values there are.
    pub fn runs(&self) -> usize {
        self.0.len()
    }

    /// Their mean.
    pub fn mean(&self) -> f64 {
        let scale = self.scale();
        mean(&self.scaled(scale)) * scale
    }

    /// The smallest value.
    pub fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The largest value.
    pub fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// What is told of them.
    pub fn summary(&self) -> Summary {
        let scale = self.scale();
        let scaled = self.scaled(scale);
        let deviation = (self.runs() > 1).then(|| variance(&scaled).sqrt() * scale);
        Summary {
            runs: self.runs(),
            mean: self.mean(),
            deviation,
            min: self.min(),
            max: self.max(),
        }
    }

    /// The largest magnitude; 1 if all values are zero. Divided by it, no value overflows when it is squared.
    fn scale(&self) -> f64 {
        let largest = self
            .0
            .iter()
            .fold(0.0_f64, |most, value| most.max(value.abs()));
        if largest > 0.0 { largest } else { 1.0 }
    }

    fn scaled(&self, scale: f64) -> Vec<f64> {
        self.0.iter().map(|value| value / scale).collect()
    }
}

/// Welch's t-test of `a` against `b`; `None` if a side has fewer than two values.
///
/// Where neither side has any spread, `p` is the limit: 0 if they differ, 1 if they do not.
///
/// ```
/// use ktstr_driver::perf_delta::{Samples, welch};
///
/// // The data set `sleep` of R: `t.test(extra ~ group)` gives p = 0.07939.
/// let a = Samples::new(vec![0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])?;
/// let b = Samples::new(vec![1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])?;
/// let test = welch(&a, &b).unwrap();
/// assert_eq!(format!("{:.4} {:.3} {:.5}", test.t, test.degrees, test.p), "-1.8608 17.776 0.07939");
/// # Ok::<(), ktstr_driver::perf_delta::SamplesError>(())
/// ```
pub fn welch(a: &Samples, b: &Samples) -> Option<Welch> {
    if a.runs() < 2 || b.runs() < 2 {
        return None;
    }
    // The test does not depend on the unit.
    let scale = a.scale().max(b.scale());
    let sides = [a.scaled(scale), b.scaled(scale)];
    let means = [mean(&sides[0]), mean(&sides[1])];
    // Squared standard errors of the means.
    let errors = [0, 1].map(|side: usize| variance(&sides[side]) / sides[side].len() as f64);
    let difference = means[0] - means[1];
    let error = (errors[0] + errors[1]).sqrt();
    let largest = means[0].abs().max(means[1].abs());
    if error <= 10.0 * f64::EPSILON * largest {
        return Some(without_spread(difference, largest, a.runs() + b.runs()));
    }
    let parts = [0, 1].map(|side: usize| {
        let share = errors[side] / (errors[0] + errors[1]);
        share * share / (sides[side].len() - 1) as f64
    });
    let (t, degrees) = (difference / error, 1.0 / (parts[0] + parts[1]));
    let distribution = StudentsT::new(0.0, 1.0, degrees).ok()?;
    let p = (2.0 * distribution.cdf(-t.abs())).min(1.0);
    Some(Welch { t, degrees, p })
}

/// Both sides are constant, but for rounding.
fn without_spread(difference: f64, largest: f64, values: usize) -> Welch {
    let degrees = (values - 2) as f64;
    if difference.abs() <= 10.0 * f64::EPSILON * largest {
        return Welch {
            t: 0.0,
            degrees,
            p: 1.0,
        };
    }
    Welch {
        t: difference.signum() * f64::INFINITY,
        degrees,
        p: 0.0,
    }
}

/// Whether every value of one side is greater than every value of the other.
pub fn are_disjoint(a: &Samples, b: &Samples) -> bool {
    a.max() < b.min() || b.max() < a.min()
}

/// How likely it is that the ranges of `a` and of `b` values are disjoint if both sides are drawn from the same continuous
/// distribution, whichever that is: 1/3 for two and two, 0.008 for five and five.
pub fn chance_of_disjoint(a: usize, b: usize) -> f64 {
    // 2 / (a + b choose a), without its large factorials.
    let ratio = |index: usize| index as f64 / (b + index) as f64;
    (2.0 * (1..=a).map(ratio).product::<f64>()).min(1.0)
}

/// `p` values of several tests, adjusted by Benjamini and Hochberg: of the tests whose adjusted value is below a level, no
/// more than that share is expected to be wrong; and if nothing differs at all, the chance that any of them is below it is
/// no more than the level, if the tests are independent or depend on each other positively.
pub fn benjamini_hochberg(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut adjusted = vec![1.0; p.len()];
    let mut least: f64 = 1.0;
    for (rank, index) in order.into_iter().enumerate().rev() {
        least = least.min(p[index] * (p.len() as f64 / (rank + 1) as f64));
        adjusted[index] = least;
    }
    adjusted
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The unbiased variance: of at least two values.
fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    squares / (values.len() - 1) as f64
}

#[cfg(test)]
mod tests;
