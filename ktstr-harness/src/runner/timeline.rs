//! The run queues over the time of a run, for a person to read.

use std::fmt::Write as _;

use ktstr_core::record::{Moment, Sampled};

/// Lines that are shown.
const LINES: usize = 16;

/// Columns for the CPUs.
const WIDTH: usize = 47;

/// A line for each of some moments at even distances; empty where nothing was sampled.
pub(super) fn render(sampled: &Sampled) -> String {
    let moments = &sampled.timeline;
    let Some(cpus) = moments.iter().map(|moment| moment.runnable.len()).max() else {
        return String::new();
    };
    let each = cpus.div_ceil(WIDTH).max(1);
    let whose = match each {
        1 => "each CPU".to_owned(),
        _ => format!("the busiest of every {each} CPUs"),
    };
    let mut text = format!("time s  tasks  local DSQ  tasks of {whose}; + is 10 or more\n");
    let step = moments.len().div_ceil(LINES);
    // From the end: the last moment is the one that matters most.
    let mut shown: Vec<&Moment> = moments.iter().rev().step_by(step).collect();
    shown.reverse();
    for moment in shown {
        let tasks: u64 = moment.runnable.iter().map(|tasks| u64::from(*tasks)).sum();
        let deepest = (0_u32..)
            .zip(&moment.local_dsq)
            .max_by_key(|(_, depth)| **depth);
        let deepest = match deepest {
            Some((cpu, depth)) if *depth > 0 => format!("{depth} on {cpu}"),
            Some(_) => "0".to_owned(),
            None => "-".to_owned(),
        };
        let row: String = moment.runnable.chunks(each).map(glyph).collect();
        let _ = writeln!(text, "{:6.2} {tasks:>6}  {deepest:<9}  {row}", moment.at_s);
    }
    text
}

/// The longest of some run queues in one character.
fn glyph(runnable: &[u32]) -> char {
    match runnable.iter().max() {
        None | Some(0) => '.',
        Some(tasks) => char::from_digit(*tasks, 10).unwrap_or('+'),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ktstr_core::record::Reading;

    use super::*;

    fn sampled(moments: impl IntoIterator<Item = Moment>) -> Sampled {
        Sampled {
            samples: 0,
            wall_s: 1.0,
            cpu_s: 0.0,
            run_queues: Reading::Absent(String::new()),
            events: Reading::Read(BTreeMap::new()),
            timeline: moments.into_iter().collect(),
        }
    }

    fn moment(at_s: f64, runnable: &[u32], local_dsq: &[u32]) -> Moment {
        Moment {
            at_s,
            runnable: runnable.to_vec(),
            local_dsq: local_dsq.to_vec(),
        }
    }

    #[test]
    fn every_cpu_has_a_character() {
        let text = render(&sampled([
            moment(0.02, &[0, 1, 12, 3], &[]),
            moment(0.5, &[0, 0, 9, 0], &[0, 0, 8, 0]),
        ]));
        let expected = "\
time s  tasks  local DSQ  tasks of each CPU; + is 10 or more
  0.02     16  -          .1+3
  0.50      9  8 on 2     ..9.
";
        assert_eq!(text, expected);
        assert_eq!(render(&sampled([])), "");
    }

    #[test]
    fn long_runs_and_large_machines_fit() {
        let many = (0..64).map(|at| moment(f64::from(at), &[1; 512], &[0; 512]));
        let text = render(&sampled(many));
        assert_eq!(text.lines().count(), 1 + LINES);
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        assert!(text.contains("the busiest of every 11 CPUs") && text.contains(" 63.00 "));
    }
}
