//! The command line of a test binary: what nextest and `cargo test` pass.
//!
//! Nextest's contract: <https://nexte.st/docs/design/custom-test-harnesses/>.

use std::ffi::OsString;

use lexopt::{Arg, Parser, ValueExt};

/// What a test binary was asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// List instead of run.
    pub list: bool,
    /// Tell what they are judged by instead of running them.
    pub thresholds: bool,
    /// Which tests, as to being ignored.
    pub which: Which,
    /// Which tests, as to their names; all when empty.
    pub filters: Vec<String>,
    /// Filters are whole names.
    pub exact: bool,
    /// Names that contain one of these are left out.
    pub skip: Vec<String>,
    /// Print the usage and end.
    pub help: bool,
}

/// Selection by the ignored mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Tests that are not ignored.
    Plain,
    /// Ignored tests alone.
    Ignored,
    /// All tests.
    All,
}

/// Shown for `--help`.
pub(super) const USAGE: &str = "\
Usage: TEST-BINARY [OPTIONS] [FILTER]...

Runs the ktstr tests whose names contain a FILTER, each in a fresh virtual machine.
Most people run them by `cargo ktstr test` or `cargo nextest run`.

Options:
      --list             List test names instead of running them
      --thresholds       Tell what the tests are judged by instead of running them
      --format FORMAT    Of the list: pretty or terse (both are one name a line)
      --ignored          Ignored tests alone (gauntlet variants, demos)
      --include-ignored  Ignored tests as well
      --exact            A FILTER is a whole name
      --skip FILTER      Leave out names that contain FILTER (repeatable)
      --nocapture        Accepted: output is never captured here
      --test-threads N   1 (tests of one process run one after another; nextest runs
                         them in parallel)
  -h, --help             This text
";

impl Args {
    /// Reads the arguments after the program's name.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, lexopt::Error> {
        let mut parsed = Self {
            list: false,
            thresholds: false,
            which: Which::Plain,
            filters: Vec::new(),
            exact: false,
            skip: Vec::new(),
            help: false,
        };
        let mut parser = Parser::from_args(args);
        while let Some(arg) = parser.next()? {
            match arg {
                Arg::Long("list") => parsed.list = true,
                Arg::Long("thresholds") => parsed.thresholds = true,
                Arg::Long("format") => {
                    let format = parser.value()?.string()?;
                    if !["terse", "pretty"].contains(&format.as_str()) {
                        return Err(format!(
                            "--format {format}: only `terse` and `pretty` are known"
                        )
                        .into());
                    }
                }
                Arg::Long("ignored") => parsed.which = Which::Ignored,
                Arg::Long("include-ignored") => parsed.which = Which::All,
                Arg::Long("exact") => parsed.exact = true,
                Arg::Long("skip") => parsed.skip.push(parser.value()?.string()?),
                Arg::Long("nocapture" | "no-capture" | "show-output" | "quiet")
                | Arg::Short('q') => {}
                Arg::Long("test-threads") => {
                    let threads: u32 = parser.value()?.parse()?;
                    if threads != 1 {
                        let hint =
                            "tests of one process run one after another; use cargo nextest run";
                        return Err(format!("--test-threads {threads}: {hint}").into());
                    }
                }
                Arg::Long("help") | Arg::Short('h') => parsed.help = true,
                Arg::Value(filter) => parsed.filters.push(filter.string()?),
                other => return Err(other.unexpected()),
            }
        }
        Ok(parsed)
    }

    /// Whether a test of this name and mark was asked for.
    pub fn selects(&self, name: &str, ignored: bool) -> bool {
        let by_mark = match self.which {
            Which::Plain => !ignored,
            Which::Ignored => ignored,
            Which::All => true,
        };
        let matches = |filter: &String| {
            if self.exact {
                name == filter
            } else {
                name.contains(filter)
            }
        };
        let by_name = self.filters.is_empty() || self.filters.iter().any(matches);
        by_mark && by_name && !self.skip.iter().any(matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, lexopt::Error> {
        Args::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn takes_what_nextest_sends() {
        let list = parse("--list --format terse --ignored").unwrap();
        assert!(list.list && list.which == Which::Ignored);
        let run = parse("ktstr/a --exact --nocapture").unwrap();
        assert!(run.selects("ktstr/a", false));
        assert!(!run.selects("ktstr/ab", false));
        let ignored = parse("--exact gauntlet/a/p --nocapture --ignored").unwrap();
        assert!(ignored.selects("gauntlet/a/p", true));
    }

    #[test]
    fn takes_what_cargo_test_sends() {
        let some = parse("steady --skip gauntlet --include-ignored --test-threads=1").unwrap();
        assert!(some.selects("ktstr/steady", false));
        assert!(!some.selects("gauntlet/steady/x", true));
        assert!(parse("").unwrap().selects("anything", false));
        assert!(!parse("").unwrap().selects("anything", true));
    }

    #[test]
    fn refuses_the_rest() {
        for bad in [
            "--bench",
            "--format json",
            "--test-threads 4",
            "--skip",
            "-x",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
