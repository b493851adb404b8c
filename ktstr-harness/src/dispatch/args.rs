//! The command line of a test binary: what nextest, `cargo test` and editors pass.
//!
//! Nextest's contract: <https://nexte.st/docs/design/custom-test-harnesses/>. Options of libtest are accepted if this
//! harness can honour them; the others are refused with a message.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};

/// What a test binary was asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// List instead of run.
    pub list: bool,
    /// Answer this as JSON instead of running tests.
    pub question: Option<Question>,
    /// Selection by the ignored mark.
    pub which: Which,
    /// Selection by name; empty selects all tests.
    pub filters: Vec<String>,
    /// Filters are whole names.
    pub exact: bool,
    /// Tests whose names contain one of these are skipped.
    pub skip: Vec<String>,
    /// Print one character for each result.
    pub quiet: bool,
    /// Whether results are coloured.
    pub color: Color,
    /// Print how long each test took.
    pub report_time: bool,
    /// Seed of a random order of the tests.
    pub shuffle: Option<u64>,
    /// Stop after the first failure.
    pub fail_fast: bool,
    /// File that gets a line for each result.
    pub logfile: Option<PathBuf>,
    /// The command line asks for more tests at a time than this harness runs.
    pub threads: bool,
    /// Print the usage and end.
    pub help: bool,
}

/// What a test binary can be asked about its tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// What the selected tests are judged by.
    Thresholds,
    /// The machines of the selected tests.
    Machines,
    /// The schedulers that are declared and tested.
    Schedulers,
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

/// Whether to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// On a terminal.
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

/// The names by which a command line can select a test.
#[derive(Debug, Clone, Copy)]
pub struct Names<'n> {
    /// The name that nextest knows it by.
    pub case: &'n str,
    /// Name of its function; empty for what has none.
    pub function: &'n str,
    /// Path of the module that the function is in, from the crate's name on.
    pub module: &'n str,
    /// Whether the function's name alone selects this case. It does not select variants.
    pub is_base: bool,
}

impl Names<'_> {
    /// Whether `filter` selects this test.
    fn matches(&self, filter: &str, exact: bool) -> bool {
        if exact {
            return self.case == filter
                || (self.is_base && self.paths().iter().any(|path| path == filter));
        }
        self.case.contains(filter) || self.paths().iter().any(|path| path.contains(filter))
    }

    /// The path of its function without the crate's name, as libtest would call it, and with it.
    fn paths(&self) -> Vec<String> {
        if self.function.is_empty() {
            return Vec::new();
        }
        let whole = match self.module {
            "" => self.function.to_owned(),
            module => format!("{module}::{}", self.function),
        };
        let inner = match self.module.split_once("::") {
            Some((_, inner)) => format!("{inner}::{}", self.function),
            None => self.function.to_owned(),
        };
        // The function's name alone is unique in a binary.
        vec![self.function.to_owned(), inner, whole]
    }
}

/// Shown for `--help`.
pub(super) const USAGE: &str = "\
Usage: TEST-BINARY [OPTIONS] [FILTER]...

Runs the ktstr tests whose names contain a FILTER, each in a fresh virtual machine.
Most people run them by `cargo ktstr test` or `cargo nextest run`.
A test goes by its case (ktstr/NAME), its function (NAME) and that one's path (MODULE::NAME).

Options:
      --list             List test names instead of running them
      --thresholds       Print what the tests are judged by, as JSON, and run none
      --machines         Print what machines the tests run on, as JSON, and run none
      --schedulers       Print which schedulers are declared, and their tests, as JSON, and
                         run none
      --ignored          Ignored tests alone (gauntlet variants, demos)
      --include-ignored  Ignored tests as well
      --exact            A FILTER is a whole name
      --skip FILTER      Leave out names that contain FILTER (repeatable)
  -q, --quiet            One character for each result (also --format terse)
      --format FORMAT    pretty or terse; lists are one name a line in both
      --color WHEN       auto, always or never
      --report-time      Tell how long each test took
      --shuffle          Run tests in random order
      --shuffle-seed N   Run tests in the random order that N makes
      --fail-fast        Run nothing after the first failure
      --logfile PATH     Write a line for each result to PATH as well
      --test-threads N   Accepted: tests of one process run one after another; nextest
                         runs them in parallel
      --nocapture, --no-capture, --show-output
                         Accepted: output is never captured here
      --test, --force-run-in-process, --exclude-should-panic, -Z unstable-options
                         Accepted: they change nothing here
  -h, --help             This text
";

impl Args {
    /// Reads the arguments after the program's name.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, lexopt::Error> {
        let mut parsed = Self {
            list: false,
            question: None,
            which: Which::Plain,
            filters: Vec::new(),
            exact: false,
            skip: Vec::new(),
            quiet: false,
            color: Color::Auto,
            report_time: false,
            shuffle: None,
            fail_fast: false,
            logfile: None,
            threads: false,
            help: false,
        };
        let mut parser = Parser::from_args(args);
        while let Some(arg) = parser.next()? {
            match arg {
                Arg::Long("list") => parsed.list = true,
                Arg::Long("thresholds") => parsed.question = Some(Question::Thresholds),
                Arg::Long("machines") => parsed.question = Some(Question::Machines),
                Arg::Long("schedulers") => parsed.question = Some(Question::Schedulers),
                Arg::Long("ignored") => parsed.which = Which::Ignored,
                Arg::Long("include-ignored") => parsed.which = Which::All,
                Arg::Long("exact") => parsed.exact = true,
                Arg::Long("skip") => parsed.skip.push(parser.value()?.string()?),
                Arg::Long("quiet") | Arg::Short('q') => parsed.quiet = true,
                Arg::Long("help") | Arg::Short('h') => parsed.help = true,
                Arg::Value(filter) => parsed.filters.push(filter.string()?),
                Arg::Long(name) => {
                    let name = name.to_owned();
                    parsed.word_of_libtest(&name, &mut parser)?;
                }
                Arg::Short('Z') => {
                    let feature = parser.value()?.string()?;
                    if feature != "unstable-options" {
                        return Err(format!("-Z {feature}: only unstable-options is known").into());
                    }
                }
                Arg::Short(_) => return Err(arg.unexpected()),
            }
        }
        Ok(parsed)
    }

    /// Reads `--{name}`, one of libtest's rarely used options.
    fn word_of_libtest(&mut self, name: &str, parser: &mut Parser) -> Result<(), lexopt::Error> {
        let refused = |why: &str| Err(format!("--{name}: {why}").into());
        match name {
            "nocapture"
            | "no-capture"
            | "show-output"
            | "test"
            | "force-run-in-process"
            | "exclude-should-panic" => {}
            "format" => {
                let format = parser.value()?.string()?;
                match format.as_str() {
                    "pretty" => self.quiet = false,
                    "terse" => self.quiet = true,
                    "json" | "junit" => {
                        return Err(format!(
                            "--format {format}: only `terse` and `pretty` are written here; cargo nextest run writes JUnit (its profile's `junit`) and JSON (--message-format)"
                        )
                        .into());
                    }
                    _ => {
                        return Err(format!(
                            "--format {format}: only `terse` and `pretty` are known"
                        )
                        .into());
                    }
                }
            }
            "color" => {
                let color = parser.value()?.string()?;
                self.color = match color.as_str() {
                    "auto" => Color::Auto,
                    "always" => Color::Always,
                    "never" => Color::Never,
                    _ => {
                        return Err(format!("--color {color}: give auto, always or never").into());
                    }
                };
            }
            "test-threads" => {
                let value = parser.value()?;
                match value.parse::<u32>() {
                    Ok(0) | Err(_) => return refused("give a number, 1 or more"),
                    Ok(threads) => self.threads = threads > 1,
                }
            }
            "report-time" => {
                // Older versions of libtest had `=plain` and `=colored`.
                let _ = parser.optional_value();
                self.report_time = true;
            }
            "shuffle" => {
                self.shuffle = self.shuffle.or_else(|| Some(seed()));
            }
            "shuffle-seed" => match parser.value()?.parse() {
                Ok(seed) => self.shuffle = Some(seed),
                Err(_) => return refused("give a number"),
            },
            "fail-fast" => self.fail_fast = true,
            "logfile" => self.logfile = Some(parser.value()?.into()),
            "ensure-time" => {
                return refused("the time that a test may take is its own (`duration_s`)");
            }
            "bench" => return refused("there are no benchmarks here"),
            _ => return Err(Arg::Long(name).unexpected()),
        }
        Ok(())
    }

    /// Whether a test with these names and this mark is selected.
    pub fn selects(&self, names: &Names<'_>, ignored: bool) -> bool {
        let by_mark = match self.which {
            Which::Plain => !ignored,
            Which::Ignored => ignored,
            Which::All => true,
        };
        by_mark && self.selects_name(names)
    }

    /// Whether a test with these names is selected, ignored or not.
    pub fn selects_name(&self, names: &Names<'_>) -> bool {
        let matches = |filter: &String| names.matches(filter, self.exact);
        let wanted = self.filters.is_empty() || self.filters.iter().any(matches);
        wanted && !self.skip.iter().any(matches)
    }
}

/// A random seed, for an order that nobody chose.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, lexopt::Error> {
        Args::parse(line.split_whitespace().map(OsString::from))
    }

    /// The case `case` of the function `steady`, two modules deep.
    fn named(case: &str) -> Names<'_> {
        Names {
            case,
            function: "steady",
            module: "sched::a::b",
            is_base: case.starts_with("ktstr/"),
        }
    }

    fn selects(args: &str, case: &str, ignored: bool) -> bool {
        parse(args).unwrap().selects(&named(case), ignored)
    }

    #[test]
    fn takes_what_nextest_sends() {
        let list = parse("--list --format terse --ignored").unwrap();
        assert!(list.list && list.which == Which::Ignored);
        let run = "ktstr/steady --exact --nocapture";
        assert!(selects(run, "ktstr/steady", false));
        assert!(!selects(run, "ktstr/steadyb", false));
        let ignored = "--exact gauntlet/steady/p --nocapture --ignored";
        assert!(selects(ignored, "gauntlet/steady/p", true));
    }

    #[test]
    fn takes_what_cargo_test_sends() {
        let some = "steady --skip gauntlet --include-ignored --test-threads=1";
        assert!(selects(some, "ktstr/steady", false));
        assert!(!selects(some, "gauntlet/steady/x", true));
        assert!(selects("", "ktstr/steady", false));
        assert!(!selects("", "ktstr/steady", true));
    }

    #[test]
    fn takes_what_editors_send() {
        for name in [
            "steady",
            "a::b::steady",
            "sched::a::b::steady",
            "ktstr/steady",
        ] {
            let run = format!("{name} --exact --show-output --include-ignored");
            assert!(selects(&run, "ktstr/steady", false), "{name}");
            // A click on a function does not run its variants.
            assert!(!selects(&run, "gauntlet/steady/p", true), "{name}");
        }
        for name in ["b::steady", "::steady", "stead", "a::b", "a::b::steady2"] {
            let run = format!("{name} --exact");
            assert!(!selects(&run, "ktstr/steady", false), "{name}");
        }
        // A module's tests, and its variants where they are asked for.
        assert!(selects("a::b --nocapture", "ktstr/steady", false));
        assert!(selects("a::b --ignored", "gauntlet/steady/p", true));
        assert!(!selects("--skip a::b", "ktstr/steady", false));
        assert!(!selects("--skip steady --exact", "ktstr/steady", false));
    }

    #[test]
    fn takes_the_words_of_libtest() {
        let all = "-Z unstable-options --color=always --format pretty --test-threads 4 --report-time \
            --nocapture --no-capture --show-output --test --fail-fast --logfile /x \
            --force-run-in-process --exclude-should-panic --shuffle-seed 7";
        let args = parse(all).unwrap();
        assert_eq!(args.color, Color::Always);
        assert!(args.threads && args.report_time && args.fail_fast && !args.quiet);
        assert_eq!(args.logfile, Some("/x".into()));
        assert_eq!(args.shuffle, Some(7));
        assert!(parse("-q").unwrap().quiet && parse("--format terse").unwrap().quiet);
        assert!(parse("--shuffle").unwrap().shuffle.is_some());
        assert!(
            parse("--report-time=plain -Zunstable-options")
                .unwrap()
                .report_time
        );
        assert!(!parse("--test-threads 1").unwrap().threads);
    }

    #[test]
    fn refuses_the_rest() {
        for bad in [
            "--bench",
            "--ensure-time",
            "--format json",
            "--format yaml",
            "--test-threads 0",
            "--test-threads x",
            "--color blue",
            "--shuffle-seed x",
            "-Z other",
            "--skip",
            "-x",
            "--nonsense",
            "--exact=1",
        ] {
            let error = parse(bad).map(|_| ()).unwrap_err().to_string();
            let word = bad.split([' ', '=']).next().unwrap();
            assert!(error.contains(word), "{bad}: {error}");
        }
    }
}
