//! The few statistics that verdicts rest on.

/// The smallest sample that at least `percent` % of the samples do not exceed (nearest rank).
///
/// `None` without samples. Sorts `samples` in place.
pub fn percentile(samples: &mut [u64], percent: f64) -> Option<u64> {
    if samples.is_empty() {
        return None;
    }
    samples.sort_unstable();
    let rank = (percent.clamp(0.0, 100.0) / 100.0 * samples.len() as f64).ceil() as usize;
    samples.get(rank.saturating_sub(1)).copied()
}

/// Largest minus smallest; `None` without values.
pub fn range(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values = values.into_iter();
    let first = values.next()?;
    let (low, high) = values.fold((first, first), |(low, high), v| (low.min(v), high.max(v)));
    Some(high - low)
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
    fn range_of_values() {
        assert_eq!(range([3.0, 1.0, 2.5]), Some(2.0));
        assert_eq!(range([]), None);
    }
}
