//! Pictures of a line: of values, and of shares.

use crate::Style;

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const DIGITS: [char; 10] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];

/// A character for each of `values`, which are finite: the least is the lowest, the largest the highest.
pub(super) fn sparkline(values: &[f64], style: &Style) -> String {
    let levels: &[char] = if style.unicode { &BLOCKS } else { &DIGITS };
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // Half of it, as the whole may be more than any number.
    let range = most / 2.0 - least / 2.0;
    let level = |value: &f64| {
        let share = if range > 0.0 {
            (value / 2.0 - least / 2.0) / range
        } else {
            0.0
        };
        levels[((share * levels.len() as f64) as usize).min(levels.len() - 1)]
    };
    values.iter().map(level).collect()
}

/// A bar of at most `width` characters for `total` of `most`, divided into `parts`. Each part has a character of its own,
/// and one that is not nothing has at least one of them.
pub(super) fn bar<const N: usize>(
    parts: [(f64, char); N],
    total: f64,
    most: f64,
    width: usize,
) -> String {
    if total <= 0.0 || most <= 0.0 {
        return String::new();
    }
    let length = ((total / most * width as f64).ceil() as usize).clamp(1, width.max(1));
    let mut bar = String::new();
    for (part, c) in parts {
        if part <= 0.0 {
            continue;
        }
        let count = (part / total * length as f64).round() as usize;
        bar.extend(std::iter::repeat_n(c, count.clamp(1, length)));
    }
    bar.chars().take(width).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_drawn_from_the_least_to_the_largest() {
        let plain = Style::default();
        let blocks = Style {
            unicode: true,
            ..plain.clone()
        };
        assert_eq!(sparkline(&[0.0, 10.0, 5.0], &plain), "095");
        assert_eq!(sparkline(&[0.0, 7.0, 3.5], &blocks), "▁█▅");
        assert_eq!(sparkline(&[3.0; 3], &plain), "000");
        assert_eq!(sparkline(&[], &plain), "");
        assert_eq!(sparkline(&[f64::MIN, f64::MAX, 0.0], &plain), "095");
    }

    #[test]
    fn bars_are_as_long_as_their_share() {
        let parts = [(1.0, 'w'), (3.0, 's'), (0.0, 't')];
        assert_eq!(bar(parts, 4.0, 4.0, 8), "wwssssss");
        assert_eq!(bar(parts, 4.0, 8.0, 8), "wsss");
        // What is there is seen.
        assert_eq!(bar([(0.001, 'w'), (9.0, 's')], 9.001, 9.001, 4), "wsss");
        assert_eq!(bar(parts, 0.0, 8.0, 8), "");
        assert_eq!(bar([(1.0, 'x')], 1.0, f64::MAX, 8), "x");
        assert_eq!(bar([(f64::MAX, 'x')], f64::MAX, f64::MAX, 0), "");
    }
}
