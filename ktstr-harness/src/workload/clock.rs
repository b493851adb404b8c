//! Clocks, CPU number and scheduler statistics, without allocation: workers call these.

use std::num::NonZeroU32;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Acquire;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{ClockId, clock_nanosleep_absolute, futex, sched_getcpu};
use rustix::time::{Timespec, clock_gettime};

const NS_PER_S: u64 = 1_000_000_000;

/// `CLOCK_MONOTONIC` in nanoseconds; no system call where the vDSO serves it.
pub(super) fn monotonic_ns() -> u64 {
    to_ns(clock_gettime(rustix::time::ClockId::Monotonic))
}

/// `CLOCK_REALTIME` in nanoseconds.
pub(super) fn realtime_ns() -> u64 {
    to_ns(clock_gettime(rustix::time::ClockId::Realtime))
}

/// CPU time of this thread in nanoseconds; a system call.
pub(super) fn cpu_ns() -> u64 {
    to_ns(clock_gettime(rustix::time::ClockId::ThreadCPUTime))
}

/// The CPU this thread runs on.
pub(super) fn current_cpu() -> u32 {
    sched_getcpu() as u32
}

/// Sleeps until `CLOCK_MONOTONIC` reads `ns`.
pub(super) fn sleep_until(ns: u64) {
    // An interrupted sleep is begun anew; any other error would be a clock that does not exist.
    while clock_nanosleep_absolute(ClockId::Monotonic, &timespec(ns))
        == Err(rustix::io::Errno::INTR)
    {}
}

/// Sleeps until `CLOCK_MONOTONIC` reads `ns`, or until `flag` is not 0 and was woken. The timer is the same as that of
/// `clock_nanosleep`: `hrtimer_sleeper` of the kernel's `kernel/time/hrtimer.c`.
pub(super) fn sleep_unless(flag: &AtomicU32, ns: u64) {
    let until = timespec(ns);
    while flag.load(Acquire) == 0 {
        let all = NonZeroU32::MAX;
        match futex::wait_bitset(flag, futex::Flags::empty(), 0, Some(&until), all) {
            // Somebody woke it, or a signal did: the flag tells.
            Ok(()) | Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return,
        }
    }
}

/// Time that this thread was runnable and waited for a CPU, in nanoseconds.
///
/// Second field of `/proc/thread-self/schedstat` (`proc_pid_schedstat` in the kernel's `fs/proc/base.c`).
/// `None` when there is no such file, or the kernel keeps no such account: it then shows three zeros.
pub(super) fn run_delay_ns() -> Option<u64> {
    let file = rustix::fs::open(
        c"/proc/thread-self/schedstat",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .ok()?;
    let mut buffer = [0; 96];
    let length = rustix::io::read(&file, &mut buffer).ok()?;
    parse_schedstat(std::str::from_utf8(buffer.get(..length)?).ok()?)
}

fn parse_schedstat(text: &str) -> Option<u64> {
    let mut fields = text.split_ascii_whitespace();
    let [on_cpu, waited, slices] = [fields.next()?, fields.next()?, fields.next()?];
    if [on_cpu, waited, slices] == ["0", "0", "0"] {
        return None;
    }
    waited.parse().ok()
}

/// `ns` since the epoch of a clock as the kernel takes it.
pub(super) fn timespec(ns: u64) -> Timespec {
    Timespec {
        tv_sec: (ns / NS_PER_S).cast_signed(),
        tv_nsec: (ns % NS_PER_S).cast_signed(),
    }
}

/// `time` in nanoseconds; the most there is where it does not fit.
pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn to_ns(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let ns = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(NS_PER_S).saturating_add(ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedstat_fields() {
        assert_eq!(parse_schedstat("120 45 3\n"), Some(45));
        assert_eq!(parse_schedstat("120 0 3\n"), Some(0));
        assert_eq!(parse_schedstat("0 0 0\n"), None);
        assert_eq!(parse_schedstat("1 x 3"), None);
        assert_eq!(parse_schedstat(""), None);
    }

    #[test]
    fn times_round_trip() {
        for ns in [0, 1, 999_999_999, 1_000_000_000, 12_345_678_901] {
            assert_eq!(to_ns(timespec(ns)), ns);
        }
        let before = monotonic_ns();
        sleep_until(before + 2_000_000);
        assert!(monotonic_ns() >= before + 2_000_000);
    }
}
