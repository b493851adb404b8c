//! The statistics that verdicts are based on.

/// The smallest sample that at least `percent` % of the samples do not exceed (nearest rank).
///
/// `None` if there are no samples. Sorts `samples` in place.
pub fn percentile(samples: &mut [u64], percent: f64) -> Option<u64> {
    if samples.is_empty() {
        return None;
    }
    samples.sort_unstable();
    let rank = (percent.clamp(0.0, 100.0) / 100.0 * samples.len() as f64).ceil() as usize;
    samples.get(rank.saturating_sub(1)).copied()
}

/// The smallest sample for which it and all smaller ones carry at least `percent` % of the total weight.
///
/// Samples are `(value, weight)`: a sample that stands for ten has a weight of ten. `None` if the total weight is zero.
/// Sorts `samples` in place. With equal weights this is [`percentile`].
///
/// ```
/// use ktstr_core::stats::weighted_percentile;
///
/// assert_eq!(weighted_percentile(&mut [(5, 1.0), (1, 9.0)], 90.0), Some(1));
/// assert_eq!(weighted_percentile(&mut [(5, 1.0), (1, 9.0)], 91.0), Some(5));
/// ```
pub fn weighted_percentile(samples: &mut [(u64, f64)], percent: f64) -> Option<u64> {
    samples.sort_unstable_by_key(|(value, _)| *value);
    let total: f64 = samples.iter().map(|(_, weight)| weight).sum();
    let wanted = percent.clamp(0.0, 100.0) / 100.0 * total;
    // Sums of floats round: for 100 %, the last sample must still be found.
    let wanted = wanted - total * 1e-12;
    let mut weight = 0.0;
    samples
        .iter()
        .filter(|(_, own)| *own > 0.0)
        .find(|(_, own)| {
            weight += own;
            weight >= wanted
        })
        .map(|(value, _)| *value)
}

/// The largest value minus the smallest; `None` if there are none.
pub fn range(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values = values.into_iter();
    let first = values.next()?;
    let (low, high) = values.fold((first, first), |(low, high), v| (low.min(v), high.max(v)));
    Some(high - low)
}

/// The weighted standard deviation divided by the mean; `None` if there are no values or the mean is zero.
///
/// ```
/// use ktstr_core::stats::coefficient_of_variation;
/// assert_eq!(coefficient_of_variation([(1.0, 1.0), (3.0, 1.0)]), Some(0.5));
/// assert_eq!(coefficient_of_variation([]), None);
/// ```
pub fn coefficient_of_variation(values: impl IntoIterator<Item = (f64, f64)>) -> Option<f64> {
    // Welford's algorithm with weights (West 1979), which avoids the difference of two large sums.
    let (mut weight, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for (value, own) in values.into_iter().filter(|(_, own)| *own > 0.0) {
        weight += own;
        let before: f64 = value - mean;
        mean += before * own / weight;
        squares += own * before * (value - mean);
    }
    (weight > 0.0 && mean != 0.0).then(|| (squares / weight).sqrt() / mean.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_rank() {
        let mut hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(percentile(&mut hundred, 99.0), Some(99));
        assert_eq!(percentile(&mut hundred, 100.0), Some(100));
        assert_eq!(percentile(&mut hundred, 0.0), Some(1));
        assert_eq!(percentile(&mut [7], 50.0), Some(7));
        assert_eq!(percentile(&mut [], 50.0), None);
    }

    #[test]
    fn equal_weights_are_the_nearest_rank() {
        for percent in [0.0, 1.0, 50.0, 99.0, 99.5, 100.0] {
            let mut plain: Vec<u64> = (0..257).rev().collect();
            for weight in [1.0, 0.1, 7.3] {
                let mut weighted: Vec<_> = plain.iter().map(|v| (*v, weight)).collect();
                assert_eq!(
                    weighted_percentile(&mut weighted, percent),
                    percentile(&mut plain, percent),
                    "{percent} {weight}"
                );
            }
        }
        assert_eq!(weighted_percentile(&mut [], 50.0), None);
        assert_eq!(weighted_percentile(&mut [(1, 0.0)], 50.0), None);
    }

    #[test]
    fn range_of_values() {
        assert_eq!(range([3.0, 1.0, 2.5]), Some(2.0));
        assert_eq!(range([]), None);
    }
}
