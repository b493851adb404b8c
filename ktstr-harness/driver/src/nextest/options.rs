//! The options of `cargo nextest run`: what each of them decides.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What an option decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decides {
    /// Which tests exist, or where they and their configuration are found: every run of the same tests needs it.
    Tests,
    /// Which of them run.
    Selection,
    /// How the tests run, and what is shown.
    Manner,
}
use Decides::{Manner, Selection, Tests};

/// Whether an option has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    No,
    Yes,
    /// Optional, and only after `=`.
    Optional,
}
use Value::{No, Optional, Yes};

/// An option with all of its names; the first one is the key by which callers ask for it.
struct Spec {
    names: &'static [&'static str],
    value: Value,
    decides: Decides,
}

const fn spec(names: &'static [&'static str], value: Value, decides: Decides) -> Spec {
    Spec {
        names,
        value,
        decides,
    }
}

/// Every option of nextest 0.9.143, in the order of its help, and the old names that it still accepts.
const OPTIONS: &[Spec] = &[
    spec(&["--color"], Yes, Manner),
    spec(&["--no-pager"], No, Manner),
    spec(&["--verbose", "-v"], No, Manner),
    spec(&["--help", "-h"], No, Manner),
    // Packages.
    spec(&["--package", "-p"], Yes, Tests),
    spec(&["--workspace", "--all"], No, Tests),
    spec(&["--exclude"], Yes, Tests),
    // Targets.
    spec(&["--lib"], No, Tests),
    spec(&["--bin"], Yes, Tests),
    spec(&["--bins"], No, Tests),
    spec(&["--example"], Yes, Tests),
    spec(&["--examples"], No, Tests),
    spec(&["--test"], Yes, Tests),
    spec(&["--tests"], No, Tests),
    spec(&["--bench"], Yes, Tests),
    spec(&["--benches"], No, Tests),
    spec(&["--all-targets"], No, Tests),
    // Features.
    spec(&["--features", "-F"], Yes, Tests),
    spec(&["--all-features"], No, Tests),
    spec(&["--no-default-features"], No, Tests),
    // Compilation.
    spec(&["--build-jobs"], Yes, Manner),
    spec(&["--release", "-r"], No, Tests),
    spec(&["--cargo-profile"], Yes, Tests),
    spec(&["--target"], Yes, Tests),
    spec(&["--target-dir"], Yes, Tests),
    spec(&["--unit-graph"], No, Manner),
    spec(&["--timings"], Optional, Manner),
    // Manifest.
    spec(&["--manifest-path"], Yes, Tests),
    spec(&["--frozen"], No, Tests),
    spec(&["--locked"], No, Tests),
    spec(&["--offline"], No, Tests),
    // Other cargo options.
    spec(&["--cargo-message-format"], Yes, Manner),
    spec(&["--cargo-quiet"], No, Manner),
    spec(&["--cargo-verbose"], No, Manner),
    spec(&["--ignore-rust-version"], No, Tests),
    spec(&["--future-incompat-report"], No, Manner),
    spec(&["--config"], Yes, Tests),
    spec(&["-Z"], Yes, Tests),
    // Filters.
    spec(&["--rerun", "-R"], Yes, Selection),
    spec(&["--run-ignored"], Yes, Selection),
    spec(&["--partition"], Yes, Selection),
    spec(&["--platform-filter"], Yes, Selection),
    spec(&["--filterset", "-E", "--filter-expr"], Yes, Selection),
    // It stays with tests that the default filter would leave out.
    spec(&["--ignore-default-filter"], No, Tests),
    // Runner.
    spec(&["--no-run"], No, Manner),
    spec(&["--test-threads", "-j", "--jobs"], Yes, Manner),
    spec(&["--retries"], Yes, Manner),
    spec(&["--flaky-result"], Yes, Manner),
    spec(&["--fail-fast", "--ff"], No, Manner),
    spec(&["--no-fail-fast", "--nff"], No, Manner),
    spec(&["--max-fail"], Yes, Manner),
    spec(&["--debugger"], Yes, Manner),
    spec(&["--tracer"], Yes, Manner),
    spec(&["--no-tests"], Yes, Manner),
    spec(&["--no-capture", "--nocapture"], No, Manner),
    // Stress.
    spec(&["--stress-count"], Yes, Manner),
    spec(&["--stress-duration"], Yes, Manner),
    // Reporter.
    spec(&["--failure-output"], Yes, Manner),
    spec(&["--success-output"], Yes, Manner),
    spec(&["--status-level"], Yes, Manner),
    spec(&["--final-status-level"], Yes, Manner),
    spec(&["--no-output-indent"], No, Manner),
    spec(&["--show-progress"], Yes, Manner),
    spec(&["--hide-progress-bar"], No, Manner),
    spec(&["--no-input-handler"], No, Manner),
    spec(&["--max-progress-running"], Yes, Manner),
    spec(&["--message-format"], Yes, Manner),
    spec(&["--message-format-version"], Yes, Manner),
    // Reused builds.
    spec(&["--archive-file"], Yes, Tests),
    spec(&["--archive-format"], Yes, Tests),
    spec(&["--extract-to"], Yes, Tests),
    spec(&["--extract-overwrite"], No, Tests),
    spec(&["--persist-extract-tempdir"], No, Manner),
    spec(&["--cargo-metadata"], Yes, Tests),
    spec(&["--workspace-remap"], Yes, Tests),
    spec(&["--binaries-metadata"], Yes, Tests),
    spec(&["--target-dir-remap"], Yes, Tests),
    spec(&["--build-dir-remap"], Yes, Tests),
    // Configuration.
    spec(&["--config-file"], Yes, Tests),
    spec(&["--user-config-file"], Yes, Tests),
    spec(&["--tool-config-file"], Yes, Tests),
    spec(&["--override-version-check"], No, Tests),
    spec(&["--profile", "-P"], Yes, Tests),
];

/// A word of nextest's command line, together with the next word where that is its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    /// An option that nextest has.
    Option {
        /// The first of its names.
        name: &'static str,
        /// What it decides.
        decides: Decides,
        /// Its value, if it has one.
        value: Option<OsString>,
        /// The words as they were written.
        args: Vec<OsString>,
    },
    /// A filter.
    Filter(OsString),
    /// An option that is not in [`OPTIONS`].
    Unknown(OsString),
    /// `--` and what follows: filters and options of the test binaries.
    Rest(Vec<OsString>),
}

/// Reads arguments of `cargo nextest run` as nextest does.
pub(crate) fn parse(args: &[OsString]) -> Vec<Word> {
    let mut words = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let bytes = arg.as_bytes();
        if bytes == b"--" {
            words.push(Word::Rest(
                std::iter::once(arg).chain(args).cloned().collect(),
            ));
            break;
        }
        if bytes.starts_with(b"--") {
            words.push(long(arg, &mut args));
        } else if bytes.len() > 1 && bytes[0] == b'-' {
            shorts(arg, &mut args, &mut words);
        } else {
            words.push(Word::Filter(arg.clone()));
        }
    }
    words
}

fn long<'a>(arg: &OsString, rest: &mut impl Iterator<Item = &'a OsString>) -> Word {
    let bytes = arg.as_bytes();
    let (name, value) = match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
        None => (bytes, None),
    };
    let Some(spec) = find(name) else {
        return Word::Unknown(arg.clone());
    };
    let mut args = vec![arg.clone()];
    let value = match (value, spec.value) {
        (Some(value), _) => Some(OsStr::from_bytes(value).to_owned()),
        (None, Yes) => rest.next().cloned(),
        (None, No | Optional) => None,
    };
    if !bytes.contains(&b'=') {
        args.extend(value.clone());
    }
    option(spec, value, args)
}

/// `-vE EXPR` and the like: several letters, of which the last may have a value.
fn shorts<'a>(
    arg: &OsString,
    rest: &mut impl Iterator<Item = &'a OsString>,
    words: &mut Vec<Word>,
) {
    let letters = &arg.as_bytes()[1..];
    for (at, letter) in letters.iter().enumerate() {
        let name = [b'-', *letter];
        let Some(spec) = find(&name) else {
            words.push(Word::Unknown(arg.clone()));
            return;
        };
        let own = OsString::from_vec(name.to_vec());
        if spec.value == No {
            words.push(option(spec, None, vec![own]));
            continue;
        }
        let joined = &letters[at + 1..];
        let joined = joined.strip_prefix(b"=").unwrap_or(joined);
        let value = if joined.is_empty() {
            rest.next().cloned()
        } else {
            Some(OsStr::from_bytes(joined).to_owned())
        };
        let mut args = vec![own];
        if at == 0 && !joined.is_empty() {
            // As it was written.
            args = vec![arg.clone()];
        } else {
            args.extend(value.clone());
        }
        words.push(option(spec, value, args));
        return;
    }
}

fn find(name: &[u8]) -> Option<&'static Spec> {
    OPTIONS
        .iter()
        .find(|spec| spec.names.iter().any(|known| known.as_bytes() == name))
}

fn option(spec: &'static Spec, value: Option<OsString>, args: Vec<OsString>) -> Word {
    Word::Option {
        name: spec.names[0],
        decides: spec.decides,
        value,
        args,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::words::{line, words};
    use super::*;

    /// Names and whether there is a value, by nextest's own help.
    fn in_help(help: &str) -> Vec<(Vec<String>, Value)> {
        let mut found: Vec<(Vec<String>, Value)> = Vec::new();
        for line in help.lines() {
            let text = line.trim_start();
            let indent = line.len() - text.len();
            if indent <= 6 && text.starts_with('-') {
                let value = match text.find('<') {
                    Some(at) if text[..at].ends_with("[=") => Optional,
                    Some(_) => Yes,
                    None => No,
                };
                let names = text
                    .split([' ', ',', '[', '='])
                    .filter(|word| word.starts_with('-'));
                let names = names.map(|name| name.trim_end_matches('.').to_owned());
                found.push((names.collect(), value));
            } else if let Some(aliases) = text
                .strip_prefix("[alias: ")
                .or_else(|| text.strip_prefix("[aliases: "))
                && let Some((names, _)) = found.last_mut()
            {
                let aliases = aliases.trim_end_matches(']').split(", ");
                names.extend(aliases.map(str::to_owned));
            }
        }
        found
    }

    #[test]
    fn every_option_of_nextest_is_known() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["nextest", "run", "--help"])
            .output()
            .unwrap();
        if !output.status.success() {
            eprintln!("SKIP: cargo nextest is not installed, whose help is read here");
            return;
        }
        let help = String::from_utf8(output.stdout).unwrap();
        let options = in_help(&help);
        assert!(options.len() > 70, "the help reads otherwise: {options:?}");
        for (names, value) in options {
            for name in &names {
                let spec = find(name.as_bytes())
                    .unwrap_or_else(|| panic!("{name}: say in OPTIONS what it decides"));
                assert_eq!(spec.value, value, "{name}");
            }
        }
    }

    #[test]
    fn no_name_stands_for_two() {
        let mut names: Vec<&str> = OPTIONS
            .iter()
            .flat_map(|spec| spec.names)
            .copied()
            .collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn words_are_read_as_nextest_reads_them() {
        let args = words("-rvE x --timings y --test-threads 4 -p=a -Fb --odd z -- -p c");
        let read: Vec<String> = parse(&args)
            .into_iter()
            .map(|word| match word {
                Word::Option { name, value, .. } => match value {
                    Some(value) => format!("{name}={}", value.display()),
                    None => name.to_owned(),
                },
                Word::Filter(filter) => format!("filter {}", filter.display()),
                Word::Unknown(word) => format!("unknown {}", word.display()),
                Word::Rest(rest) => format!("rest {}", line(rest)),
            })
            .collect();
        let expected = [
            "--release",
            "--verbose",
            "--filterset=x",
            "--timings",
            "filter y",
            "--test-threads=4",
            "--package=a",
            "--features=b",
            "unknown --odd",
            "filter z",
            "rest -- -p c",
        ];
        assert_eq!(read, expected);
    }
}
