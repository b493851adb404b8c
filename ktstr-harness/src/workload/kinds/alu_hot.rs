//! [`WorkType::AluHot`](crate::workload::WorkType::AluHot).
//!
//! Presses on the placement over SMT siblings: `select_idle_core`, `sched_balance_rq` at the SMT domain, idle-core masks of
//! sched_ext. Measures work units, which two of these on one core slow down.

use std::hint::black_box;

use crate::workload::slot::Recorder;

/// Independent chains of multiplications: as many as keep the units of a core busy, where [`super::common::work`] waits for
/// its own last result.
const CHAINS: usize = 8;

pub(super) fn run(recorder: &mut Recorder<'_>, work_units: u32) {
    let units = u64::from(work_units);
    loop {
        hot(units);
        if !recorder.iteration(units) {
            return;
        }
    }
}

/// Does `units` times 1024 rounds, spread over the chains.
fn hot(units: u64) {
    let mut chains = black_box([0x9e37_79b9_7f4a_7c15_u64; CHAINS]);
    for round in 0..units * 1024 / CHAINS as u64 {
        for chain in &mut chains {
            *chain = chain.wrapping_mul(0xd134_2543_de82_ef95).rotate_left(23) ^ round;
        }
    }
    black_box(chains);
}
