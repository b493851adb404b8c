//! Filter expressions for exact names, as the real nextest reads them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use ktstr_core::Verdict;
use ktstr_core::record::{RunDir, Sidecar};
use ktstr_driver::Listing;
use ktstr_driver::replay::Replay;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

/// A test binary whose names are the lines of a file.
const BINARY: &str = r#"fn main() {
    let is = |word: &str| std::env::args().any(|arg| arg == word);
    if is("--list") && !is("--ignored") {
        for name in std::fs::read_to_string("names").unwrap().lines() {
            println!("{name}: test");
        }
    }
}
"#;

fn project(dir: &Path) {
    let target = |name: &str| format!("[[test]]\nname = \"{name}\"\nharness = false\n");
    let manifest = format!(
        "[package]\nname = \"odd\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n\n{}{}",
        target("one"),
        target("two")
    );
    fs::write(dir.join("Cargo.toml"), manifest).unwrap();
    for (path, source) in [
        ("src/lib.rs", ""),
        ("tests/one.rs", BINARY),
        ("tests/two.rs", BINARY),
    ] {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, source).unwrap();
    }
}

/// What nextest lists of `filter`: binaries and names.
fn listed(dir: &Path, filter: &str) -> BTreeSet<(String, String)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut list = Command::new(cargo);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("NEXTEST") {
            list.env_remove(name);
        }
    }
    list.args(["nextest", "list", "--message-format", "json", "-E", filter])
        .current_dir(dir)
        .env("CARGO_TARGET_DIR", dir.join("target"));
    let output = list.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{filter}: {stderr}");
    let binaries = Listing::parse(&output.stdout).unwrap().binaries.into_iter();
    let selected = binaries.flat_map(|(id, binary)| {
        let names = binary.selected.into_iter();
        names.map(move |name| (id.clone(), name))
    });
    selected.collect()
}

#[test]
fn nextest_selects_exactly_the_failures_whatever_their_names_are() {
    let dir = tempfile::tempdir().unwrap();
    project(dir.path());
    let name = "[!-~\u{e4}\u{3bb}][ -~\u{e4}\u{3bb}]{0,12}[!-~]";
    let names = proptest::collection::btree_set(name, 200..=200);
    let mut runner = TestRunner::deterministic();
    let names = names.new_tree(&mut runner).unwrap().current();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    fs::write(dir.path().join("names"), all.join("\n")).unwrap();
    let run = RunDir::new(dir.path().join("runs/k-c"), "e");
    let mut expected = BTreeSet::new();
    for (number, name) in all.iter().enumerate() {
        for (binary, fails) in [("odd::one", number % 3 == 0), ("odd::two", number % 5 == 0)] {
            let verdict = if fails {
                Verdict::fail("x", "y")
            } else {
                Verdict::pass()
            };
            let sidecar = Sidecar {
                binary_id: Some(binary.to_owned()),
                target: Some(binary.to_owned()),
                ..Sidecar::new("t", name, verdict)
            };
            run.write(&sidecar, None::<&()>).unwrap();
            if fails {
                expected.insert((binary.to_owned(), (*name).to_owned()));
            }
        }
    }
    let replay = Replay::of_dir(&dir.path().join("runs"), None).unwrap();
    assert_eq!(listed(dir.path(), &replay.filter().unwrap()), expected);
}
