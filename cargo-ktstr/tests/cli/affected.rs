//! `affected`, with a cargo that only lists, and test binaries that only tell their schedulers. There is no repository, so
//! that everything is affected.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::place::{Place, cargo_ktstr, text};

/// A place with one test binary, which `script` is.
fn place_with(script: &str, cases: &str) -> Place {
    let place = Place::new();
    let binary = place.dir().join("binary");
    place.file("binary", format!("#!/bin/sh\n{script}\n").as_bytes());
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    let suite = format!(
        r#""p::t": {{"package-name": "p", "binary-id": "p::t", "binary-name": "t", "package-id": "p 0.1.0",
        "kind": "test", "binary-path": "{}", "build-platform": "target", "cwd": "/p", "status": "listed",
        "testcases": {cases}}}"#,
        binary.display()
    );
    let list = format!(
        r#"{{"rust-build-meta": {{"target-directory": "/t", "base-output-directories": [], "non-test-binaries": {{}},
        "linked-paths": []}}, "test-count": 1, "rust-suites": {{{suite}}}}}"#
    );
    place.file("list.json", list.as_bytes());
    place.fake_cargo(
        r#"case "$1 $2" in
        "metadata "*) metadata ;;
        "nextest list") echo "$*" >cargo.log; cat list.json ;;
        *) exit 1 ;;
        esac"#,
    );
    place
}

const CASES: &str =
    r#"{"ktstr/a": {"kind": "test", "ignored": false, "filter-match": {"status": "matches"}}}"#;

const TOLD: &str = r#"echo "$*" >asked; cat <<'.'
{"scheduler":"b","package":"scx_b","program":null,"config_file":null,"manifest_dir":"/p","tests":["a"]}
{"scheduler":"eevdf","package":null,"program":null,"config_file":null,"manifest_dir":null,"tests":[]}
{"scheduler":"a","package":"scx_a","program":null,"config_file":null,"manifest_dir":"/p","tests":[]}
."#;

#[test]
fn without_a_repository_every_scheduler_is_printed_and_why() {
    for cases in [CASES, "{}"] {
        let place = place_with(TOLD, cases);
        let output = place.run(cargo_ktstr().args(["affected", "--", "--features", "f"]));
        let stderr = text(&output.stderr).replace("\n  ", " ");
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        assert_eq!(text(&output.stdout), "[\"scx_a\",\"scx_b\"]\n");
        let why = "cargo ktstr: everything is affected: ";
        assert!(
            stderr.contains(why) && stderr.contains("no git work tree"),
            "{stderr}"
        );
        let log = fs::read_to_string(place.dir().join("cargo.log")).unwrap();
        assert!(log.ends_with("--run-ignored all --features f\n"), "{log}");
        // What takes the first word for a filter lists tests by the second.
        let asked = fs::read_to_string(place.dir().join("asked")).unwrap();
        assert_eq!(asked, "--schedulers --list\n");
    }
}

#[test]
fn a_binary_that_does_not_tell_its_schedulers_is_named() {
    let error = |script: &str, cases: &str| {
        let place = place_with(script, cases);
        let output = place.run(cargo_ktstr().arg("affected"));
        (
            text(&output.stdout),
            text(&output.stderr),
            output.status.code(),
        )
    };
    let (out, err, code) = error("exit 3", CASES);
    assert_eq!((out.as_str(), code), ("", Some(1)));
    assert!(
        err.contains("/binary: exit status: 3; run it with `--schedulers`"),
        "{err}"
    );
    let (_, err, code) = error("echo other", CASES);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("/binary: its schedulers cannot be read"),
        "{err}"
    );
    // One that has no tests may be anybody's.
    for script in ["exit 101", "echo other"] {
        let (out, err, code) = error(script, "{}");
        assert_eq!((out.as_str(), code), ("[]\n", Some(0)), "{err}");
        assert!(err.contains("everything is affected"), "{err}");
        assert!(err.contains("no test binary declares a scheduler"), "{err}");
    }
}

#[test]
fn a_binary_of_others_is_not_asked() {
    let cases = CASES.replace("ktstr/a", "tests::a");
    let place = place_with("echo >asked; exit 1", &cases);
    let output = place.run(cargo_ktstr().arg("affected"));
    assert_eq!(text(&output.stdout), "[]\n", "{}", text(&output.stderr));
    assert!(!place.dir().join("asked").exists());
}
