//! What a person types to end the machine.

use std::time::{Duration, Instant};

/// `Ctrl-]`.
const KEY: u8 = 0x1d;

/// How often it is typed, one after the other.
const TIMES: usize = 3;

/// Within what time.
const WITHIN: Duration = Duration::from_secs(1);

/// Finds the escape in what is typed: `Ctrl-]` three times within a second, as `systemd-nspawn` and `machinectl` have it.
///
/// Every key still reaches the guest, where one of them has a meaning in editors, and nothing of `ssh`, `screen` and `tmux`
/// between a person and us is in the way.
#[derive(Debug, Default)]
pub(super) struct Escape {
    /// When the last ones in a row were typed.
    typed: Vec<Instant>,
}

impl Escape {
    /// Whether `bytes`, typed at `now`, complete it.
    pub(super) fn is_in(&mut self, bytes: &[u8], now: Instant) -> bool {
        for &byte in bytes {
            if byte != KEY {
                self.typed.clear();
                continue;
            }
            self.typed
                .retain(|then| now.duration_since(*then) <= WITHIN);
            self.typed.push(now);
            if self.typed.len() == TIMES {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_in_a_second_and_nothing_between() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let ends = |typed: &[(&[u8], u64)]| {
            let mut escape = Escape::default();
            let mut typed = typed.iter();
            typed.any(|(bytes, millis)| escape.is_in(bytes, at(*millis)))
        };
        assert!(ends(&[(b"\x1d\x1d\x1d", 0)]));
        assert!(ends(&[(b"ls\x1d", 0), (b"\x1d", 500), (b"\x1dx", 1000)]));
        assert!(!ends(&[(b"\x1d\x1d", 0), (b"x\x1d", 10)]));
        assert!(!ends(&[(b"\x1d", 0), (b"\x1d", 600), (b"\x1d", 1200)]));
        // The slow one in the beginning is forgotten.
        let slow: [(&[u8], u64); 4] = [
            (b"\x1d", 0),
            (b"\x1d", 900),
            (b"\x1d", 1200),
            (b"\x1d", 1300),
        ];
        assert!(ends(&slow));
    }
}
