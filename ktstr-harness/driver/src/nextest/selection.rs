//! Selects the words of a nextest command line that another command needs too.

use std::ffi::{OsStr, OsString};

use super::options::Decides::{Manner, Tests};
use super::options::{Word, parse};

/// The words of `args` that decide which tests exist: what another run of the same tests needs.
pub(crate) fn build_selection(args: &[OsString]) -> Vec<OsString> {
    let words = parse(args);
    let has = |wanted: &str| {
        words
            .iter()
            .any(|word| matches!(word, Word::Option { name, .. } if *name == wanted))
    };
    // Nextest unpacks an archive over an earlier one only where it is told to.
    let again = has("--extract-to") && !has("--extract-overwrite");
    let mut kept: Vec<OsString> = words.into_iter().flat_map(tests).collect();
    if again {
        kept.push("--extract-overwrite".into());
    }
    kept
}

fn tests(word: Word) -> Vec<OsString> {
    match word {
        Word::Option {
            decides: Tests,
            args,
            ..
        } => args,
        _ => Vec::new(),
    }
}

/// The words of `args` that `cargo nextest list` takes to list the tests that would run.
///
/// `--rerun` is left out, which `list` does not have: it may list more than runs.
pub(crate) fn listing(args: &[OsString]) -> Vec<OsString> {
    let words = parse(args).into_iter();
    let kept = words.flat_map(|word| match word {
        Word::Option {
            name: "--rerun", ..
        }
        | Word::Option {
            decides: Manner, ..
        }
        | Word::Unknown(_) => Vec::new(),
        Word::Option { args, .. } | Word::Rest(args) => args,
        Word::Filter(filter) => vec![filter],
    });
    kept.collect()
}

/// `args` with `expression` in front; nextest would run what any of several expressions selects, so those among them
/// become part of it.
pub(crate) fn narrowed(args: &[OsString], expression: &str) -> Vec<OsString> {
    let mut others = Vec::new();
    let mut narrower = Vec::new();
    for word in parse(args) {
        match word {
            Word::Option {
                name: "--filterset",
                value,
                ..
            } => narrower.extend(value.map(|value| value.to_string_lossy().into_owned())),
            Word::Option { args, .. } | Word::Rest(args) => others.extend(args),
            Word::Filter(arg) | Word::Unknown(arg) => others.push(arg),
        }
    }
    let mut expression = format!("({expression})");
    if !narrower.is_empty() {
        let narrower: Vec<String> = narrower.iter().map(|one| format!("({one})")).collect();
        expression = format!("{expression} & ({})", narrower.join(" + "));
    }
    let own = ["-E".into(), expression.into()].into_iter();
    own.chain(others).collect()
}

/// The options in `args` that are in `wanted`, as they were written: cargo itself has them under the same names.
pub(crate) fn for_cargo(args: &[OsString], wanted: &[&str]) -> Vec<OsString> {
    let words = parse(args).into_iter();
    let kept = words.flat_map(|word| match word {
        Word::Option { name, args, .. } if wanted.contains(&name) => args,
        _ => Vec::new(),
    });
    kept.collect()
}

/// The value of the option called `name`; the last one where it is given several times.
pub(crate) fn value(args: &[OsString], name: &str) -> Option<OsString> {
    let words = parse(args).into_iter().rev();
    let mut values = words.filter_map(|word| match word {
        Word::Option {
            name: own, value, ..
        } if own == name => value,
        _ => None,
    });
    values.next()
}

/// Whether the option called `name` is given.
pub(crate) fn has(args: &[OsString], name: &str) -> bool {
    parse(args)
        .iter()
        .any(|word| matches!(word, Word::Option { name: own, .. } if *own == name))
}

/// Whether `args` ask for ignored tests, in nextest's words or libtest's.
pub(crate) fn asks_for_ignored(args: &[OsString]) -> bool {
    parse(args).iter().any(|word| match word {
        Word::Option { name, value, .. } => {
            *name == "--run-ignored" && value.as_deref() != Some(OsStr::new("default"))
        }
        Word::Rest(rest) => rest
            .iter()
            .any(|arg| arg == "--ignored" || arg == "--include-ignored"),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::super::words::{line, words};
    use super::*;

    #[test]
    fn what_decides_the_tests_is_kept() {
        let kept = |args: &str| line(build_selection(&words(args)));
        let all = "--lib --bin b --bins --example=e --examples --bench n --benches --locked --offline --frozen \
            --archive-file /a.tar.zst --workspace-remap . --config x=1 -Zy --ignore-rust-version --profile ci";
        assert_eq!(
            kept(all),
            all.split_whitespace().collect::<Vec<_>>().join(" ")
        );
        assert_eq!(kept("-j4 some --retries 2 -vp x -- y"), "-p x");
        assert_eq!(
            kept("--archive-file a --extract-to d"),
            "--archive-file a --extract-to d --extract-overwrite"
        );
    }

    #[test]
    fn a_list_has_what_selects_tests() {
        let args =
            words("-p x some -E a() --retries 2 -j 4 -R latest --run-ignored all -- --skip b");
        let expected = "-p x some -E a() --run-ignored all -- --skip b";
        assert_eq!(line(listing(&args)), expected);
        assert_eq!(value(&args, "--package"), Some("x".into()));
        assert_eq!(value(&args, "--config"), None);
        assert_eq!(
            line(for_cargo(
                &words("--offline -p x --config a=1"),
                &["--offline", "--config"]
            )),
            "--offline --config a=1"
        );
    }

    #[test]
    fn ignored_tests_are_asked_for_in_two_ways() {
        for (args, asked) in [
            ("--run-ignored=only", true),
            ("--run-ignored default", false),
            ("x -- --include-ignored", true),
            ("-- --exact", false),
        ] {
            assert_eq!(asks_for_ignored(&words(args)), asked, "{args}");
        }
    }
}
