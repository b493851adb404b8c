//! Sessions of a project as a user's would be, with the real cargo and nextest, but no machine: what is tested here
//! happens before one starts.

#[path = "../../ktstr-kernel/tests/support/bz_image.rs"]
mod bz_image;
#[path = "support/project.rs"]
mod project;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use bz_image::bz_image;
use project::Project;

/// Tests of schedulers end when the machine's files are put together: one of them is not there.
const ITEMS: &str = r#"
declare_scheduler!(MINE, { name = "mine", binary = "scx_mine" });
declare_scheduler!(BROKEN, { name = "broken", binary = "scx_broken" });
declare_scheduler!(IDLE, { name = "idle", binary = "scx_idle" });

#[ktstr_test(scheduler = MINE, extra_include_files = ["missing"])]
fn mine_one(_: &Ctx) -> Result<AssertResult> { Ok(AssertResult::pass()) }

#[ktstr_test(scheduler = MINE, extra_include_files = ["missing"])]
fn mine_two(_: &Ctx) -> Result<AssertResult> { Ok(AssertResult::pass()) }

#[ktstr_test(scheduler = BROKEN)]
fn broken_one(_: &Ctx) -> Result<AssertResult> { Ok(AssertResult::pass()) }

#[ktstr_test(scheduler = BROKEN)]
fn broken_two(_: &Ctx) -> Result<AssertResult> { Ok(AssertResult::pass()) }

#[ktstr_test(scheduler = IDLE, ignore)]
fn idle(_: &Ctx) -> Result<AssertResult> { Ok(AssertResult::pass()) }

#[ktstr_test(host_only)]
fn on_host(_: &Ctx) -> Result<AssertResult> { Ok(AssertResult::pass()) }
"#;

fn project() -> Project {
    let project = Project::new(ITEMS);
    project.add_program("scx_mine", "fn main() {}\n");
    project.add_program("scx_idle", "fn main() {}\n");
    project.add_program("scx_broken", "fn main() { nothing_of_that_name }\n");
    fs::write(project.path().join("bzImage"), bz_image("6.12.0")).unwrap();
    project
}

fn cargo(project: &Project) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    project.command(Path::new(&cargo))
}

/// Standard error and output of `command` together.
fn said(command: &mut Command) -> (String, Option<i32>) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = [stderr, stdout].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (text.concat(), status.code())
}

/// What rustc says of the broken scheduler, and nothing that is made of it.
const RUSTC: &str = "--> scx_broken/src/main.rs:1:13";

const FAILED: &str = "broken: `cargo build -p scx_broken --profile dev` failed: error[E0425]: ";

#[test]
fn schedulers_are_built_once_and_before_any_test() {
    let project = project();
    let test = |words: &[&str]| {
        let mut command = project.cargo_ktstr("test");
        command.args(["--kernel", "./bzImage", "--profile", "dev", "--"]);
        said(command.args(words))
    };
    let (text, code) = test(&["--no-fail-fast"]);
    assert_eq!(code, Some(100), "{text}");
    let (before, after) = text
        .split_once(" tests across ")
        .unwrap_or_else(|| panic!("{text}"));
    assert_eq!(before.matches("Compiling scx_mine ").count(), 1, "{text}");
    assert_eq!(before.matches(RUSTC).count(), 1, "{text}");
    assert!(
        !after.contains("Compiling ") && !after.contains(RUSTC),
        "{text}"
    );
    assert!(!text.contains("scx_idle"), "nobody needs it: {text}");
    // Exactly the tests that need it fail for it.
    let (_, summary) = text
        .split_once(": 5 tests: ")
        .unwrap_or_else(|| panic!("{text}"));
    assert!(summary.starts_with("1 passed, 4 failed\n"), "{text}");
    assert_eq!(after.matches(FAILED).count(), 2, "{text}");
    assert_eq!(
        after.matches("missing`: No such file or directory").count(),
        2,
        "{text}"
    );

    // What no test needs that runs is not built, changed or not.
    project.add_program("scx_mine", "fn main() { /* changed */ }\n");
    let (text, code) = test(&["-E", "test(on_host)"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(": 1 test: 1 passed\n"), "{text}");
    assert!(!text.contains("scx_"), "{text}");

    // Without a session, the first test builds and the other takes what came of it.
    let mut plain = cargo(&project);
    plain
        .args(["nextest", "run", "--no-fail-fast"])
        .env("KTSTR_TEST_KERNEL", project.path().join("bzImage"))
        .env("KTSTR_SCHEDULER_PROFILE", "dev")
        .env("NEXTEST_FAILURE_OUTPUT", "immediate");
    let (text, code) = said(&mut plain);
    assert_eq!(code, Some(100), "{text}");
    assert_eq!(text.matches(RUSTC).count(), 1, "{text}");
    assert_eq!(text.matches(FAILED).count(), 2, "{text}");
}

/// Where a test binary lies does not tell where records go: cargo may be told of other places, and of targets.
#[test]
fn records_go_where_the_session_says() {
    let project = project();
    let mut list = cargo(&project);
    list.args(["nextest", "list", "--list-type", "binaries-only"]);
    list.args(["--message-format", "json", "--cargo-quiet"]);
    let listed: serde_json::Value = serde_json::from_slice(&list.output().unwrap().stdout).unwrap();
    let binary = listed["rust-binaries"]["user::user"]["binary-path"].as_str();
    let elsewhere = project.path().join("else;where=\"/ktstr");
    let session = project.path().join("session.json");
    let told = serde_json::json!({ "version": 1, "id": "1", "epoch": "e", "runs_dir": elsewhere });
    fs::write(&session, told.to_string()).unwrap();
    let mut test = Command::new(binary.unwrap_or_else(|| panic!("{listed}")));
    test.args(["host/on_host", "--exact"])
        .current_dir(project.path())
        .env("KTSTR_SESSION", &session)
        .env_remove("KTSTR_SIDECAR_DIR");
    let (text, code) = said(&mut test);
    assert_eq!(code, Some(0), "{text}");
    let run = fs::read_dir(&elsewhere).unwrap().flatten();
    let mut files = run.flat_map(|run| fs::read_dir(run.path()).into_iter().flatten().flatten());
    let is_record = |name: &str| name.starts_with("on_host-") && name.ends_with(".ktstr.json");
    assert!(files.any(|file| is_record(&file.file_name().to_string_lossy())));

    let (text, code) = said(test.env("KTSTR_SESSION", "/somewhere"));
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("KTSTR_SESSION: /somewhere: ") && text.contains("unset it"),
        "{text}"
    );
    fs::write(&session, r#"{ "version": 2 }"#).unwrap();
    let (text, code) = said(test.env("KTSTR_SESSION", &session));
    assert_eq!((code, text.lines().count()), (Some(1), 1), "{text}");
    assert!(text.contains(": it has version 2, "), "{text}");
}

#[test]
fn an_archive_is_run_where_it_was_unpacked() {
    let project = project();
    let away = tempfile::tempdir().unwrap();
    let archive = away.path().join("tests.tar.zst");
    let mut pack = cargo(&project);
    pack.args(["nextest", "archive", "--archive-file"]);
    let (text, code) = said(pack.arg(&archive));
    assert_eq!(code, Some(0), "{text}");

    let place = away.path().join("place");
    fs::create_dir(&place).unwrap();
    let test = |words: &[&str]| {
        let mut command = project.cargo_ktstr("test");
        command
            .current_dir(&place)
            .env("KTSTR_SIDECAR_DIR", away.path().join("results"))
            .arg("--kernel")
            .arg(project.path().join("bzImage"))
            .args(["--profile", "dev", "--", "--archive-file"])
            .arg(&archive)
            .args(words);
        said(&mut command)
    };
    // It needs no project around it.
    let (text, code) = test(&["-E", "test(on_host)"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(": 1 test: 1 passed\n"), "{text}");

    // Nothing but the archive, and what nextest wants to see of a workspace.
    fs::write(place.join("Cargo.toml"), "[workspace]\n").unwrap();
    let (text, code) = test(&["--workspace-remap", ".", "-E", "test(mine_one)"]);
    assert_eq!(code, Some(100), "{text}");
    let failed = "mine: `cargo build -p scx_mine --profile dev` failed: error: ";
    let (_, why) = text.split_once(failed).unwrap_or_else(|| panic!("{text}"));
    let why = why.lines().next().unwrap();
    assert!(
        why.ends_with("; or set KTSTR_SCHEDULER to a program that is built already"),
        "{text}"
    );

    // The same sources at another place: what is built is built from those.
    copy(project.path(), &place);
    fs::remove_file(project.path().join("scx_mine/src/main.rs")).unwrap();
    let (text, code) = test(&["--workspace-remap", ".", "-E", "test(mine_one)"]);
    assert_eq!(code, Some(100), "{text}");
    assert!(!text.contains(failed), "{text}");
    assert!(
        text.contains("missing`: No such file or directory"),
        "{text}"
    );
}

fn copy(from: &Path, to: &Path) {
    let mut cp = Command::new("cp");
    let copied = cp.arg("-a").arg(from.join(".")).arg(to).status().unwrap();
    assert!(copied.success());
}
