//! The frequency of the host's time stamp counter.
#![allow(unsafe_code)]

use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Long enough for an error far below what delay loops care about.
const SAMPLE: Duration = Duration::from_millis(2);

/// Frequency of the host's TSC in Hz, measured once per process.
///
/// An emulated machine on an x86-64 host counts with the same frequency: QEMU hands the host's counter
/// through, with an offset.
pub(crate) fn frequency() -> u64 {
    static FREQUENCY: OnceLock<u64> = OnceLock::new();
    *FREQUENCY.get_or_init(|| {
        let (begin, from) = (Instant::now(), read());
        sleep(SAMPLE);
        let (took, to) = (begin.elapsed(), read());
        let hz = u128::from(to.saturating_sub(from)) * 1_000_000_000 / took.as_nanos().max(1);
        u64::try_from(hz).unwrap_or(0)
    })
}

fn read() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and Linux lets userspace execute it unless a
    // process asked for the opposite (`PR_SET_TSC`), which nothing here does.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_that_of_a_processor() {
        assert!(
            (100_000_000..20_000_000_000).contains(&frequency()),
            "{}",
            frequency()
        );
    }
}
