//! Attempts: whether one failed for good, whether it is too slow, and when to make the next.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::error::FetchError;
use super::options::RemoteOptions;
use crate::progress::{Event, Progress, Transfer};

/// Longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How far an attempt must get so that failures before it do not count, bytes.
const FURTHER: u64 = 1 << 20;
/// Most attempts of all.
const MOST_TRIES: u32 = 100;

/// Why an attempt failed, and whether another one may succeed.
#[derive(Debug)]
pub(super) struct AttemptError {
    pub(super) error: FetchError,
    pub(super) temporary: bool,
    /// How long the server asks to wait.
    pub(super) wait: Option<Duration>,
}

impl AttemptError {
    pub(super) fn temporary(error: FetchError) -> Self {
        Self {
            error,
            temporary: true,
            wait: None,
        }
    }
}

impl From<FetchError> for AttemptError {
    fn from(error: FetchError) -> Self {
        Self {
            error,
            temporary: false,
            wait: None,
        }
    }
}

/// Measures how fast the body of an answer arrives.
#[derive(Debug, Default)]
pub(super) struct RateMonitor {
    since: Option<Instant>,
    bytes: u64,
}

impl RateMonitor {
    /// Counts `n` more bytes that arrived by `now`; returns whether too few did within the last `stall_timeout`.
    pub(super) fn is_too_slow(&mut self, n: u64, now: Instant, options: &RemoteOptions) -> bool {
        let since = *self.since.get_or_insert(now);
        self.bytes += n;
        let took = now.saturating_duration_since(since);
        if took < options.stall_timeout {
            return false;
        }
        let slow = (self.bytes as f64) < options.slowest as f64 * took.as_secs_f64();
        *self = Self::default();
        slow
    }
}

/// Decides whether to try again, and when.
#[derive(Debug)]
pub(super) struct Retries {
    tries: u32,
    first_wait: Duration,
    failed: u32,
    failed_in_all: u32,
}

impl Retries {
    pub(super) fn new(tries: u32, first_wait: Duration) -> Self {
        Self {
            tries,
            first_wait,
            failed: 0,
            failed_in_all: 0,
        }
    }

    /// Waits until the next attempt, or gives up with its error. The last one transferred `further` bytes.
    pub(super) fn again(
        &mut self,
        failed: AttemptError,
        further: u64,
        name: &str,
        progress: &dyn Progress,
    ) -> Result<(), FetchError> {
        if further >= FURTHER {
            self.failed = 0;
        }
        self.failed += 1;
        self.failed_in_all += 1;
        let enough = self.failed >= self.tries || self.failed_in_all >= MOST_TRIES;
        let asked = failed.wait.unwrap_or_default();
        // A server refuses requests before that, and may block a client that sends some.
        if !failed.temporary || enough || asked > LONGEST_WAIT {
            return Err(failed.error);
        }
        let wait = self.first_wait * 2u32.saturating_pow(self.failed - 1);
        let wait = wait.max(asked).min(LONGEST_WAIT);
        let why = failed.error.why();
        let state = Transfer::Retrying { why: &why, wait };
        progress.event(Event::Transfer { name, state });
        sleep(wait);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_too_slow_by_the_bytes_of_its_last_while() {
        let options = RemoteOptions {
            stall_timeout: Duration::from_secs(30),
            slowest: 1000,
            ..RemoteOptions::default()
        };
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut rate = RateMonitor::default();
        // Nothing is said before a whole while is over, and a pause shorter than one is none.
        assert!(!rate.is_too_slow(1, at(0), &options));
        assert!(!rate.is_too_slow(1, at(29), &options));
        // Just enough over that while, however unevenly it came.
        assert!(!rate.is_too_slow(29_998, at(30), &options));
        // The next while begins with what comes next: what came before is no merit.
        assert!(!rate.is_too_slow(1, at(40), &options));
        assert!(!rate.is_too_slow(29_998, at(69), &options));
        assert!(rate.is_too_slow(0, at(70), &options));
        // An answer that goes on after a verdict is judged anew.
        assert!(!rate.is_too_slow(0, at(80), &options));
        assert!(!rate.is_too_slow(30_000, at(110), &options));
    }
}
