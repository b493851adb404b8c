//! Arguments of nextest for another run of some of a session's cases.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use crate::nextest::{Decides, Word, parse};

/// Options of which one replaces the others.
const GROUPS: &[&[&str]] = &[
    &["--package", "--workspace", "--exclude"],
    &["--release", "--cargo-profile"],
    &["--fail-fast", "--no-fail-fast", "--max-fail"],
    &["--stress-count", "--stress-duration"],
];

/// Options that no other run of the same tests has.
const NOT_AGAIN: &[&str] = &["--help", "--no-run"];

/// Options of an archive that are taken: the others name programs and files, or have cargo run some.
const HARMLESS: &[&str] = &[
    "--all-features",
    "--all-targets",
    "--bench",
    "--benches",
    "--bin",
    "--bins",
    "--cargo-profile",
    "--example",
    "--examples",
    "--exclude",
    "--fail-fast",
    "--failure-output",
    "--features",
    "--final-status-level",
    "--frozen",
    "--ignore-default-filter",
    "--lib",
    "--locked",
    "--max-fail",
    "--no-capture",
    "--no-default-features",
    "--no-fail-fast",
    "--offline",
    "--package",
    "--profile",
    "--release",
    "--retries",
    "--status-level",
    "--stress-count",
    "--stress-duration",
    "--success-output",
    "--test",
    "--test-threads",
    "--tests",
    "--workspace",
];

/// Splits the arguments of a session whose file anybody may have written: what is harmless, and the rest of what another
/// run would take.
pub(super) fn trusted(args: &[OsString]) -> (Vec<OsString>, Vec<OsString>) {
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for word in parse(args) {
        let Word::Option {
            name,
            decides,
            value,
            args,
        } = word
        else {
            continue;
        };
        let is_word = |value: &OsString| !value.as_bytes().starts_with(b"-");
        if HARMLESS.contains(&name) && value.as_ref().is_none_or(is_word) {
            taken.extend(args);
        } else if decides != Decides::Selection {
            refused.extend(args);
        }
    }
    (taken, refused)
}

/// The options of a session with the arguments `before`, in a run with the arguments `now`: those of its options that are
/// given again, and what selected its tests, are left out. `without` are further options to leave out.
pub(super) fn merged(before: &[OsString], now: &[OsString], without: &[&str]) -> Vec<OsString> {
    let mut replaced: BTreeSet<&str> = options(now).collect();
    replaced.extend(without.iter().chain(NOT_AGAIN));
    for group in GROUPS {
        if group.iter().any(|name| replaced.contains(name)) {
            replaced.extend(*group);
        }
    }
    let mut args = Vec::new();
    for word in parse(before) {
        if let Word::Option {
            name,
            decides,
            args: words,
            ..
        } = word
            && decides != Decides::Selection
            && !replaced.contains(name)
        {
            args.extend(words);
        }
    }
    // Nextest unpacks an archive over an earlier one only where it is told to.
    let again = has(&args, "--extract-to") && !has(&args, "--extract-overwrite");
    if again && !replaced.contains("--extract-overwrite") {
        args.push("--extract-overwrite".into());
    }
    args.extend(now.iter().cloned());
    args
}

/// Whether `args` have the option whose first name is `name`.
pub(super) fn has(args: &[OsString], name: &str) -> bool {
    options(args).any(|other| other == name)
}

fn options(args: &[OsString]) -> impl Iterator<Item = &'static str> {
    parse(args).into_iter().filter_map(|word| match word {
        Word::Option { name, .. } => Some(name),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nextest::words::{line, words};

    #[test]
    fn what_is_given_again_replaces_what_a_session_had() {
        let of =
            |before: &str, now: &str| line(merged(&words(before), &words(now), &["--profile"]));
        for (before, now, expected) in [
            ("", "", ""),
            (
                "-p x --retries 2 -E a some -- --skip b",
                "",
                "-p x --retries 2",
            ),
            (
                "-p x --retries 2 -j4",
                "--retries=3",
                "-p x -j 4 --retries=3",
            ),
            (
                "--workspace --no-fail-fast -P ci",
                "-p x --fail-fast",
                "-p x --fail-fast",
            ),
            (
                "--no-run --partition count:1/2 --run-ignored all",
                "-- some",
                "-- some",
            ),
            (
                "--features a -r",
                "--features b --cargo-profile y",
                "--features b --cargo-profile y",
            ),
            (
                "--archive-file a --extract-to d",
                "",
                "--archive-file a --extract-to d --extract-overwrite",
            ),
        ] {
            let (said, expected) = (of(before, now), words(expected));
            let same =
                said == line(expected.clone()) || said == line(expected).replace("-j 4", "-j4");
            assert!(same, "{before} / {now}: {said}");
        }
    }

    #[test]
    fn an_archive_has_nothing_run() {
        let (taken, refused) = trusted(&words(
            "-p x --config build.rustc=evil --debugger evil --retries 2 -E a -F --config=b --manifest-path /x name -- y",
        ));
        assert_eq!(line(taken), "-p x --retries 2");
        assert_eq!(
            line(refused),
            "--config build.rustc=evil --debugger evil -F --config=b --manifest-path /x"
        );
    }

    #[test]
    fn what_is_harmless_is_an_option_of_nextest() {
        for name in HARMLESS.iter().chain(GROUPS.iter().copied().flatten()) {
            let args = [OsString::from(format!("{name}=x"))];
            assert!(has(&args, name), "{name}");
        }
    }
}
