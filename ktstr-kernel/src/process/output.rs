//! What a build says: its lines, the last of them, and the one that tells why it failed.

use std::collections::VecDeque;

/// How many lines a failure shows.
const TAIL: usize = 40;
/// A longer line is cut: no compiler's message is.
const LINE: usize = 4 << 10;

/// Output as it comes, in lines.
#[derive(Debug, Default)]
pub(super) struct Output {
    line: Vec<u8>,
    tail: VecDeque<String>,
    causes: [Option<String>; 3],
    full: bool,
}

impl Output {
    /// Takes more output and calls `on_line` for every line that it completes.
    pub(super) fn take(&mut self, bytes: &[u8], on_line: &mut dyn FnMut(&str)) {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            let room = LINE - self.line.len().min(LINE);
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            self.line.extend(&text[..text.len().min(room)]);
            if part.ends_with(b"\n") {
                self.end_line(on_line);
            }
        }
    }

    /// Takes the last line, which may lack its end.
    pub(super) fn finish(&mut self, on_line: &mut dyn FnMut(&str)) {
        if !self.line.is_empty() {
            self.end_line(on_line);
        }
    }

    fn end_line(&mut self, on_line: &mut dyn FnMut(&str)) {
        let line: String = String::from_utf8_lossy(&self.line)
            .chars()
            .map(|c| if c.is_control() && c != '\t' { ' ' } else { c })
            .collect();
        self.line.clear();
        self.full |= line.contains("No space left on device");
        if let Some(rank) = rank(&line) {
            let cause = || line.trim().chars().take(200).collect();
            self.causes[rank].get_or_insert_with(cause);
        }
        on_line(&line);
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    /// The first line of the most telling kind.
    pub(super) fn cause(&self) -> Option<String> {
        self.causes.iter().flatten().next().cloned()
    }

    /// The last lines.
    pub(super) fn tail(&self) -> Vec<String> {
        self.tail.iter().cloned().collect()
    }

    /// Whether something found no room to write.
    pub(super) fn device_full(&self) -> bool {
        self.full
    }
}

/// How much a line tells of a failure, 0 most: what compilers say, what other tools say, what make
/// makes of it.
fn rank(line: &str) -> Option<usize> {
    let lower = line.to_ascii_lowercase();
    if lower.contains("error:") || lower.contains("undefined reference") {
        Some(0)
    } else if lower.trim_start().starts_with("failed") || lower.contains("not found") {
        Some(1)
    } else if line.starts_with("make") && line.contains("*** ") {
        Some(2)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn output(text: &str) -> Output {
        let mut output = Output::default();
        output.take(text.as_bytes(), &mut |_| {});
        output.finish(&mut |_| {});
        output
    }

    #[test]
    fn the_compilers_word_counts_more_than_makes() {
        let text = "  CC a.o\nmake[2]: *** [Makefile:1: b.o] Error 1\na.c:1:2: error: `x' undeclared\na.c:3:1: error: second\n";
        let cause = output(text).cause();
        assert_eq!(cause.as_deref(), Some("a.c:1:2: error: `x' undeclared"));
        let text = "make[1]: *** [x] Error 2\nmake: *** [y] Error 2";
        assert_eq!(
            output(text).cause().as_deref(),
            Some("make[1]: *** [x] Error 2")
        );
        let failed = "FAILED: load BTF from vmlinux: Invalid argument\nmake: *** [x] Error 255\n";
        assert!(output(failed).cause().unwrap().contains("BTF"));
        assert_eq!(output("  CC a.o\n").cause(), None);
        assert!(output("cc1: x.s: No space left on device").device_full());
    }

    #[test]
    fn only_the_end_is_kept() {
        let lines: Vec<String> = (0..1000).map(|n| format!("line {n}")).collect();
        let tail = output(&lines.join("\n")).tail();
        assert_eq!(tail.len(), TAIL);
        assert_eq!(tail.last().map(String::as_str), Some("line 999"));
        assert_eq!(output(&"x".repeat(1 << 20)).tail()[0].len(), LINE);
    }

    proptest! {
        #[test]
        fn pieces_make_the_same_lines(text in "[a\\n\u{e9}]{0,40}", size in 1..9usize) {
            let lines = |pieces: &mut dyn Iterator<Item = &[u8]>| {
                let (mut output, mut lines) = (Output::default(), Vec::new());
                let mut on_line = |line: &str| lines.push(line.to_owned());
                for piece in pieces {
                    output.take(piece, &mut on_line);
                }
                output.finish(&mut on_line);
                lines
            };
            let expected: Vec<&str> = text.lines().collect();
            prop_assert_eq!(lines(&mut text.as_bytes().chunks(size)), expected);
        }
    }
}
