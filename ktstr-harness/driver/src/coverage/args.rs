//! The words of `cargo llvm-cov nextest`: its own, and nextest's.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// Options of cargo-llvm-cov 0.9 that have a value.
const WITH_VALUE: &[&str] = &[
    "--dep-coverage",
    EXCLUDE_FROM_TEST,
    "--exclude-from-report",
    "--fail-uncovered-functions",
    "--fail-uncovered-lines",
    "--fail-uncovered-regions",
    "--fail-under-file-lines",
    "--fail-under-functions",
    "--fail-under-lines",
    "--fail-under-regions",
    "--failure-mode",
    "--ignore-filename-regex",
    "--output-dir",
    "--output-path",
];

/// Those without.
const SWITCHES: &[&str] = &[
    "--branch",
    "--cobertura",
    "--codecov",
    "--coverage-host-only",
    "--coverage-target-only",
    "--disable-default-ignore-filename-regex",
    "--hide-instantiations",
    "--html",
    "--ignore-run-fail",
    "--include-build-script",
    "--include-ffi",
    "--json",
    "--lcov",
    "--mcdc",
    "--no-cfg-coverage",
    "--no-cfg-coverage-nightly",
    "--no-clean",
    "--no-default-ignore-filename-regex",
    "--no-report",
    "--no-rustc-wrapper",
    "--open",
    "--remap-path-prefix",
    "--show-instantiations",
    "--show-missing-lines",
    "--skip-functions",
    "--summary-only",
    "--text",
];

/// Those that decide how is built.
const OF_BUILD: &[&str] = &[
    "--branch",
    "--coverage-host-only",
    "--coverage-target-only",
    "--dep-coverage",
    "--include-ffi",
    "--mcdc",
    "--no-cfg-coverage",
    "--no-cfg-coverage-nightly",
    "--no-rustc-wrapper",
    "--remap-path-prefix",
];

const EXCLUDE_FROM_TEST: &str = "--exclude-from-test";

/// The arguments of `cargo llvm-cov nextest`, by whose they are. Its own are taken out wherever they stand, before `--`.
///
/// ```
/// use ktstr_driver::coverage::LlvmCovArgs;
///
/// let args = LlvmCovArgs::split(["--workspace", "--lcov", "--output-path", "lcov.info", "-E", "test(a)"]);
/// assert_eq!(args.own, ["--lcov", "--output-path", "lcov.info"]);
/// assert_eq!(args.nextest, ["--workspace", "-E", "test(a)"]);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LlvmCovArgs {
    /// Those of cargo-llvm-cov.
    pub own: Vec<OsString>,
    /// The others.
    pub nextest: Vec<OsString>,
    /// Packages whose tests do not run, though they are measured.
    pub excluded: Vec<OsString>,
    /// Those of its own that decide how is built.
    build: Vec<OsString>,
}

impl LlvmCovArgs {
    /// Tells whose each of `args` is.
    pub fn split<A: Into<OsString>>(args: impl IntoIterator<Item = A>) -> Self {
        let mut args: VecDeque<OsString> = args.into_iter().map(Into::into).collect();
        let mut split = Self::default();
        while let Some(arg) = args.pop_front() {
            if arg == "--" {
                split.nextest.push(arg);
                split.nextest.extend(args);
                break;
            }
            let name = name(&arg);
            let is_with_value = WITH_VALUE.contains(&name.as_str());
            if !is_with_value && !SWITCHES.contains(&name.as_str()) {
                split.nextest.push(arg);
                continue;
            }
            let joined = arg.as_bytes().contains(&b'=');
            let value = if is_with_value && !joined {
                args.pop_front()
            } else {
                None
            };
            if name == EXCLUDE_FROM_TEST {
                let joined = arg.to_string_lossy();
                let joined = joined.split_once('=').map(|(_, value)| value.into());
                split.excluded.extend(value.clone().or(joined));
            }
            let words: Vec<OsString> = [arg].into_iter().chain(value).collect();
            if OF_BUILD.contains(&name.as_str()) {
                split.build.extend(words.iter().cloned());
            }
            split.own.extend(words);
        }
        split
    }

    /// Those that `cargo llvm-cov show-env` takes.
    pub(super) fn of_build(&self) -> &[OsString] {
        &self.build
    }

    /// Whether the option `wanted` is among its own, or among nextest's.
    pub(super) fn has(&self, wanted: &str) -> bool {
        let words = self.own.iter().chain(&self.nextest);
        words
            .take_while(|word| *word != "--")
            .any(|word| name(word) == wanted)
    }
}

/// The name of an option, without a value that is joined to it.
fn name(arg: &OsString) -> String {
    let text = arg.to_string_lossy();
    text.split('=').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> (String, String, String) {
        let args = LlvmCovArgs::split(line.split_whitespace());
        let join = |words: &[OsString]| words.join(" ".as_ref()).to_string_lossy().into_owned();
        (join(&args.own), join(&args.nextest), join(&args.build))
    }

    #[test]
    fn words_go_to_whom_they_belong() {
        for (line, own, nextest, build) in [
            ("", "", "", ""),
            (
                "--html -p a --no-cfg-coverage some --output-dir=d -E x",
                "--html --no-cfg-coverage --output-dir=d",
                "-p a some -E x",
                "--no-cfg-coverage",
            ),
            (
                "--dep-coverage a,b --lcov -- --lcov --exact",
                "--dep-coverage a,b --lcov",
                "-- --lcov --exact",
                "--dep-coverage a,b",
            ),
            ("--output-path", "--output-path", "", ""),
            (
                "--no-fail-fast --profile ci",
                "",
                "--no-fail-fast --profile ci",
                "",
            ),
        ] {
            let expected = (own.to_owned(), nextest.to_owned(), build.to_owned());
            assert_eq!(split(line), expected, "{line}");
        }
    }

    #[test]
    fn packages_that_are_not_tested_are_known() {
        for line in ["--exclude-from-test x", "--exclude-from-test=x"] {
            assert_eq!(LlvmCovArgs::split(line.split(' ')).excluded, ["x"]);
        }
        let args = LlvmCovArgs::split(["--no-run", "--failure-mode=any", "--", "--html"]);
        assert!(args.has("--no-run") && args.has("--failure-mode") && !args.has("--html"));
    }

    /// By the help of the one that is installed.
    #[test]
    fn every_option_of_cargo_llvm_cov_is_known() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = std::process::Command::new(cargo)
            .args(["llvm-cov", "--help"])
            .output()
            .unwrap();
        if !output.status.success() {
            eprintln!("SKIP: cargo llvm-cov is not installed, whose help is read here");
            return;
        }
        let help = String::from_utf8(output.stdout).unwrap();
        let mut seen = 0;
        for line in help.lines() {
            let text = line.trim_start();
            // What is further right is prose.
            if !text.starts_with('-') || line.len() - text.len() > 8 {
                continue;
            }
            let line = text;
            let is_with_value = line.contains('<');
            for name in line.split([' ', ',']).filter(|word| word.starts_with("--")) {
                let name = name.split(['[', '=']).next().unwrap();
                seen += 1;
                let known = if is_with_value { WITH_VALUE } else { SWITCHES };
                // Those of cargo's and nextest's have their meaning there, or none for nextest.
                let other = crate::nextest::parse(&[name.into(), "x".into()]);
                let is_other = !matches!(other[0], crate::nextest::Word::Unknown(_));
                let is_none = [
                    "--doctests",
                    "--doc",
                    "--jobs",
                    "--profraw-only",
                    "--version",
                    "--keep-going",
                    "--quiet",
                ];
                assert!(
                    known.contains(&name) || is_other || is_none.contains(&name),
                    "{name}: say in args.rs whether it has a value"
                );
            }
        }
        assert!(seen > 50, "the help reads otherwise: {seen}");
    }
}
