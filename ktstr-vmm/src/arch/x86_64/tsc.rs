//! The frequency of the host's time stamp counter.
#![allow(unsafe_code)]

use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Time between the two readings: if each reads both clocks within 100 ns, the result is exact to 0.01 %.
const SAMPLE: Duration = Duration::from_millis(1);

/// Number of readings, of which the best one is used: the thread may be preempted during one.
const TRIES: usize = 16;

/// Frequency of the host's TSC in kHz, measured once per process.
///
/// An emulated machine on an x86-64 host has the same frequency: QEMU passes the host's TSC through, with an offset.
pub(super) fn frequency_khz() -> u64 {
    static FREQUENCY: OnceLock<u64> = OnceLock::new();
    *FREQUENCY.get_or_init(|| {
        let (begin, from) = reading();
        sleep(SAMPLE);
        let (end, to) = reading();
        let nanos = end.duration_since(begin).as_nanos().max(1);
        let khz = u128::from(to.saturating_sub(from)) * 1_000_000 / nanos;
        u64::try_from(khz).unwrap_or(0)
    })
}

/// The TSC, and the time at which it was read.
fn reading() -> (Instant, u64) {
    let one = || {
        let before = Instant::now();
        let ticks = read();
        let width = before.elapsed();
        (width, before + width / 2, ticks)
    };
    let best = (0..TRIES).map(|_| one()).min_by_key(|(width, _, _)| *width);
    let (_, at, ticks) = best.unwrap_or_else(one);
    (at, ticks)
}

fn read() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and Linux allows it in user space unless a process disables
    // it by `PR_SET_TSC`, which nothing here does.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(test)]
mod tests {
    #[test]
    fn is_that_of_a_processor() {
        let khz = super::frequency_khz();
        assert!((100_000..20_000_000).contains(&khz), "{khz}");
    }
}
