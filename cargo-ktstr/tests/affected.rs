//! `affected` and `test --relevant` in a project as a user's would be, with the real cargo, nextest and git, but no machine.

#[path = "../../ktstr-kernel/tests/support/bz_image.rs"]
mod bz_image;
#[path = "support/project.rs"]
mod project;

use std::fs;
use std::process::{Command, Output};

use ktstr_core::host::{Host, git_command};

use bz_image::bz_image;
use project::Project;

/// Tests of schedulers end when the machine's files are put together: one of them is not there.
const ITEMS: &str = r#"
declare_scheduler!(MINE, { name = "mine", binary = "scx_mine" });
declare_scheduler!(OTHER, { name = "other", binary = "scx_other" });

#[ktstr_test(scheduler = MINE, extra_include_files = ["missing"])]
fn mine_one(_: &Ctx) -> Result<AssertResult> { Ok(AssertResult::pass()) }

#[ktstr_test(scheduler = OTHER, extra_include_files = ["missing"])]
fn other_one(_: &Ctx) -> Result<AssertResult> { Ok(AssertResult::pass()) }

#[ktstr_test(host_only)]
fn on_host(_: &Ctx) -> Result<AssertResult> { Ok(AssertResult::pass()) }
"#;

fn project() -> Project {
    let project = Project::new(ITEMS);
    project.add_program("scx_mine", "fn main() {}\n");
    project.add_program("scx_other", "fn main() {}\n");
    fs::write(project.path().join("bzImage"), bz_image("6.12.0")).unwrap();
    fs::write(project.path().join("README.md"), "# Mine\n").unwrap();
    fs::write(project.path().join(".gitignore"), "/results\n/.locks\n").unwrap();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // The lock file is the project's own before it is committed.
    let mut metadata = project.command(cargo.as_ref());
    let metadata = metadata.args(["metadata", "--offline", "--format-version", "1"]);
    assert!(metadata.output().unwrap().status.success());
    for words in [
        "init --quiet --initial-branch=main",
        "add .",
        "commit --quiet -m all",
    ] {
        let mut git = git_command(&Host::of_this_process(), project.path());
        git.args([
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "-c",
            "commit.gpgsign=false",
        ]);
        assert!(git.args(words.split(' ')).status().unwrap().success());
    }
    project
}

fn run(project: &Project, command: &str) -> (String, String, Option<i32>) {
    let mut words = command.split(' ');
    let mut command: Command = project.cargo_ktstr(words.next().unwrap());
    command
        .args(words)
        .env_remove("GITHUB_BASE_REF")
        .env("COLUMNS", "80");
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(stdout), text(stderr), status.code())
}

#[test]
fn a_change_selects_its_schedulers_and_their_tests() {
    let project = project();
    let write = |path: &str, text: &str| fs::write(project.path().join(path), text).unwrap();

    let (out, err, code) = run(&project, "affected");
    assert_eq!((out.as_str(), code), ("[]\n", Some(0)), "{err}");
    assert!(
        err.contains("NO SCHEDULER IS AFFECTED by your changes: there are none"),
        "{err}"
    );

    write("README.md", "# Changed\n");
    // Without a kernel: none is needed.
    let (out, err, code) = run(&project, "test --relevant");
    assert_eq!((out.as_str(), code), ("", Some(0)), "{err}");
    assert!(
        err.contains("NO TEST IS AFFECTED by your changes of 1 file"),
        "{err}"
    );

    write("scx_mine/src/main.rs", "fn main() { println!(); }\n");
    let (out, err, code) = run(&project, "affected --explain -- --offline");
    assert_eq!((out.as_str(), code), ("[\"scx_mine\"]\n", Some(0)), "{err}");
    let expected = "README.md\n  is documentation: affects nothing\nscx_mine/src/main.rs\n  \
        is in the package: scx_mine\n  affects scx_mine\n";
    assert!(err.contains(expected), "{err}");

    let (_, err, code) = run(&project, "test --relevant --kernel ./bzImage -- --offline");
    assert_eq!(code, Some(100), "it cannot be put together: {err}");
    assert!(err.contains("Starting 1 test across"), "{err}");
    assert!(
        err.contains("ktstr/mine_one") && !err.contains("ktstr/other_one"),
        "{err}"
    );

    // What a filter leaves none of is no failure.
    let command = "test --relevant --kernel ./bzImage -- --offline -E test(other_one)";
    let (_, err, code) = run(&project, command);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("Starting 0 tests across"), "{err}");

    // A test that changed runs, and so does its package's every other.
    let tests = fs::read_to_string(project.path().join("tests/user.rs")).unwrap();
    write("tests/user.rs", &format!("{tests}\n"));
    let (out, err, _) = run(&project, "affected -- --offline");
    assert_eq!(out, "[\"scx_mine\",\"scx_other\"]\n", "{err}");

    // What cannot be told is everything, and a narrowed run is a whole one.
    let (out, err, code) = run(&project, "affected --base-ref nowhere -- --offline");
    assert_eq!(
        (out.as_str(), code),
        ("[\"scx_mine\",\"scx_other\"]\n", Some(0)),
        "{err}"
    );
    let err = err.replace("\n  ", " ");
    assert!(
        err.contains("everything is affected: --base-ref `nowhere`: no such commit here"),
        "{err}"
    );
}
