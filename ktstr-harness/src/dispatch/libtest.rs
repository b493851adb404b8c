//! Prints the results of several tests in libtest's format.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write;
use std::time::Duration;

use ktstr_core::Outcome;

/// Results on one line, where each is a character.
const PER_LINE: usize = 88;

/// The format of results.
#[derive(Debug, Default)]
pub(super) struct Style {
    /// A character for each.
    pub quiet: bool,
    /// In colour.
    pub color: bool,
    /// With the time that each took.
    pub time: bool,
}

/// Prints and counts results. It goes on counting when nobody reads the output any more.
#[derive(Debug)]
pub(super) struct LibtestOutput<W> {
    out: W,
    style: Style,
    log: Option<File>,
    passed: usize,
    ignored: usize,
    failed: Vec<String>,
    on_line: usize,
}

impl<W: Write> LibtestOutput<W> {
    pub(super) fn new(out: W, style: Style, log: Option<File>) -> Self {
        Self {
            out,
            style,
            log,
            passed: 0,
            ignored: 0,
            failed: Vec::new(),
            on_line: 0,
        }
    }

    /// `count` results will follow.
    pub(super) fn begin(&mut self, count: usize, seed: Option<u64>) {
        let s = if count == 1 { "" } else { "s" };
        let seed = seed.map(|seed| format!(" (shuffle seed: {seed})"));
        let seed = seed.unwrap_or_default();
        let _ = writeln!(self.out, "\nrunning {count} test{s}{seed}");
    }

    /// A test ended; `why` is the reason of a skip.
    pub(super) fn ended(&mut self, name: &str, outcome: Outcome, why: &str, took: Duration) {
        let took = if self.style.time {
            format!(" <{:.3}s>", took.as_secs_f64())
        } else {
            String::new()
        };
        match outcome {
            Outcome::Pass => {
                self.passed += 1;
                self.tell(name, Word::Ok, &took);
            }
            Outcome::Skip => self.ignored(name, &format!(", {why}{took}")),
            Outcome::Inconclusive => {
                self.failed.push(name.to_owned());
                self.tell(name, Word::Failed, &format!(", inconclusive{took}"));
            }
            Outcome::Fail => {
                self.failed.push(name.to_owned());
                self.tell(name, Word::Failed, &took);
            }
        }
    }

    /// A test does not run; `rest` follows on its line.
    pub(super) fn ignored(&mut self, name: &str, rest: &str) {
        self.ignored += 1;
        self.tell(name, Word::Ignored, rest);
    }

    /// Prints the end; `unlisted` more tests were ignored, `filtered_out` were not selected.
    pub(super) fn end(mut self, unlisted: usize, filtered_out: usize, took: Duration) {
        let mut text = String::new();
        if self.style.quiet && self.on_line > 0 {
            text.push('\n');
        }
        if !self.failed.is_empty() {
            text.push_str("\nfailures:\n");
            self.failed.sort();
            for name in &self.failed {
                let _ = writeln!(text, "    {name}");
            }
        }
        let word = if self.failed.is_empty() {
            Word::Ok
        } else {
            Word::Failed
        };
        let _ = writeln!(
            self.out,
            "{text}\ntest result: {}. {} passed; {} failed; {} ignored; 0 measured; {filtered_out} filtered out; finished in {:.2}s\n",
            self.colored(word),
            self.passed,
            self.failed.len(),
            self.ignored + unlisted,
            took.as_secs_f64(),
        );
        let _ = self.out.flush();
    }

    fn tell(&mut self, name: &str, word: Word, rest: &str) {
        if let Some(log) = &mut self.log {
            let _ = writeln!(log, "{} {name}", word.in_log());
        }
        let word = if self.style.quiet {
            self.on_line += 1;
            let end = if self.on_line.is_multiple_of(PER_LINE) {
                "\n"
            } else {
                ""
            };
            write!(self.out, "{}{end}", self.colored(word))
        } else {
            writeln!(self.out, "test {name} ... {}{rest}", self.colored(word))
        };
        let _ = word.and_then(|()| self.out.flush());
    }

    fn colored(&self, word: Word) -> String {
        let text = match (self.style.quiet, word) {
            (true, Word::Ok) => ".",
            (true, Word::Failed) => "F",
            (true, Word::Ignored) => "i",
            (false, word) => word.text(),
        };
        if !self.style.color {
            return text.to_owned();
        }
        let color = match word {
            Word::Ok => 32,
            Word::Failed => 31,
            Word::Ignored => 33,
        };
        format!("\x1b[{color}m{text}\x1b[0m")
    }
}

#[derive(Debug, Clone, Copy)]
enum Word {
    Ok,
    Failed,
    Ignored,
}

impl Word {
    const fn text(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "FAILED",
            Self::Ignored => "ignored",
        }
    }

    const fn in_log(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Ignored => "ignored",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn told(style: Style, end: (usize, usize)) -> String {
        let mut out = Vec::new();
        let mut report = LibtestOutput::new(&mut out, style, None);
        report.begin(4, None);
        report.ended("ktstr/b", Outcome::Fail, "", SECOND);
        report.ended("ktstr/a", Outcome::Inconclusive, "", SECOND);
        report.ended("ktstr/c", Outcome::Pass, "", SECOND);
        report.ended("ktstr/d", Outcome::Skip, "no such device", SECOND);
        report.end(end.0, end.1, 4 * SECOND);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn reads_as_libtest() {
        let expected = "
running 4 tests
test ktstr/b ... FAILED
test ktstr/a ... FAILED, inconclusive
test ktstr/c ... ok
test ktstr/d ... ignored, no such device

failures:
    ktstr/a
    ktstr/b

test result: FAILED. 1 passed; 2 failed; 26 ignored; 0 measured; 3 filtered out; finished in 4.00s

";
        assert_eq!(told(Style::default(), (25, 3)), expected);
    }

    #[test]
    fn a_character_for_each_in_colour_and_with_times() {
        let quiet = Style {
            quiet: true,
            ..Style::default()
        };
        assert!(told(quiet, (0, 0)).starts_with("\nrunning 4 tests\nFF.i\n\nfailures:\n"));
        let loud = Style {
            color: true,
            time: true,
            ..Style::default()
        };
        let text = told(loud, (0, 0));
        assert!(
            text.contains("test ktstr/c ... \x1b[32mok\x1b[0m <1.000s>\n"),
            "{text}"
        );
        assert!(
            text.contains("test result: \x1b[31mFAILED\x1b[0m. 1 passed"),
            "{text}"
        );
    }

    #[test]
    fn one_is_a_test_and_none_are_ok() {
        let mut out = Vec::new();
        let mut report = LibtestOutput::new(&mut out, Style::default(), None);
        report.begin(1, Some(5));
        report.end(0, 7, Duration::ZERO);
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with("\nrunning 1 test (shuffle seed: 5)\n\ntest result: ok. 0 passed")
        );
        assert!(text.contains("7 filtered out; finished in 0.00s"), "{text}");
    }
}
