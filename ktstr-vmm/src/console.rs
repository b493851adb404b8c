//! Output of any length in bounded memory.

use std::collections::VecDeque;

/// How many bytes of the beginning are kept: the boot.
const HEAD: usize = 256 << 10;

/// How many bytes of the end are kept: the failure.
const TAIL: usize = 4 << 20;

/// Collects output. Of long output it keeps the beginning and the end.
#[derive(Debug, Clone)]
pub struct BoundedLog {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    left_out: u64,
    head_limit: usize,
    tail_limit: usize,
}

impl BoundedLog {
    /// A log for a console: keeps 256 KiB of the beginning and 4 MiB of the end.
    pub fn console() -> Self {
        Self::with_limits(HEAD, TAIL)
    }

    /// A log that keeps so many bytes of the beginning and of the end.
    pub fn with_limits(head_limit: usize, tail_limit: usize) -> Self {
        Self {
            head: Vec::new(),
            tail: VecDeque::new(),
            left_out: 0,
            head_limit,
            tail_limit,
        }
    }

    /// Adds `bytes`.
    pub fn push(&mut self, bytes: &[u8]) {
        let room = self.head_limit - self.head.len();
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(head);
        self.tail.extend(rest);
        let excess = self.tail.len().saturating_sub(self.tail_limit);
        self.tail.drain(..excess);
        self.left_out += excess as u64;
    }

    /// Returns the kept output, with a note at the place of what was left out.
    pub fn into_bytes(self) -> Vec<u8> {
        let mut bytes = self.head;
        if self.left_out > 0 {
            let gap = format!("\n[ktstr: {} bytes left out]\n", self.left_out);
            bytes.extend_from_slice(gap.as_bytes());
        }
        let (first, second) = self.tail.as_slices();
        bytes.extend_from_slice(first);
        bytes.extend_from_slice(second);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_output_is_kept_whole() {
        let mut console = BoundedLog::with_limits(4, 4);
        console.push(b"abc");
        console.push(b"defgh");
        assert_eq!(console.into_bytes(), b"abcdefgh");
    }

    #[test]
    fn long_output_keeps_both_ends() {
        let mut console = BoundedLog::with_limits(2, 3);
        for byte in b"abcdefghij" {
            console.push(&[*byte]);
        }
        let text = String::from_utf8(console.into_bytes()).unwrap();
        assert_eq!(text, "ab\n[ktstr: 5 bytes left out]\nhij");
    }
}
