//! [`WorkType::CachePressure`](crate::workload::WorkType::CachePressure).
//!
//! Presses on what a migration costs: `task_hot` and `sched_migration_cost_ns` of the balancer, and a scheduler's
//! attachment of tasks to a last-level cache. Measures work units, which are fewer where the cache is cold or shared.

use std::ops::RangeInclusive;

use crate::workload::failure::{Call, Failure};
use crate::workload::region::Region;
use crate::workload::slot::Recorder;

pub(super) const KIB: RangeInclusive<u32> = 4..=65_536;

const LINE: usize = 64;

/// Cache lines of an iteration, which count as a work unit.
const LINES: usize = 1024;

pub(super) fn run(recorder: &mut Recorder<'_>, kib: u32) -> Result<(), Failure> {
    let mut region = Region::new(kib as usize * 1024).map_err(Failure::of(Call::Memory))?;
    let lines = region.len() / LINE;
    let stride = stride(lines);
    let mut line = 0;
    loop {
        for _ in 0..LINES {
            region.touch(line * LINE);
            line = (line + stride) % lines;
        }
        recorder.add(0, LINES as u64);
        if !recorder.iteration(1) {
            return Ok(());
        }
    }
}

/// How far each jump goes: about two fifths of the lines, and without a divisor in common with their number, so that every
/// line has its turn.
fn stride(lines: usize) -> usize {
    let mut stride = (lines * 2 / 5) | 1;
    while greatest_common_divisor(stride, lines) != 1 {
        stride += 2;
    }
    stride
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_its_turn() {
        for kib in [4, 5, 48, 1000] {
            let lines = kib * 1024 / LINE;
            let stride = stride(lines);
            let mut seen = vec![false; lines];
            let mut line = 0;
            for _ in 0..lines {
                seen[line] = true;
                line = (line + stride) % lines;
            }
            assert!(seen.into_iter().all(|seen| seen), "{kib}");
        }
    }
}
