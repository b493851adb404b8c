//! `export` of a project as a user's would be, with the real cargo and nextest and no machine: which test is exported,
//! and how its programs were built.

#[path = "support/project.rs"]
mod project;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use project::Project;

/// Each build has a test that the other one lacks.
const ITEMS: &str = r#"
declare_scheduler!(TOLD, { name = "told", binary = "scx_told" });

#[ktstr_test(llcs = 3)]
fn twice(_: &Ctx) -> Result<AssertResult> { Ok(AssertResult::pass()) }

#[cfg(debug_assertions)]
#[ktstr_test(scheduler = TOLD)]
fn of_a_debug_build(_: &Ctx) -> Result<AssertResult> { Ok(AssertResult::pass()) }

#[cfg(not(debug_assertions))]
#[ktstr_test(scheduler = TOLD)]
fn of_a_release_build(_: &Ctx) -> Result<AssertResult> { Ok(AssertResult::pass()) }
"#;

/// The same name in another test binary.
const OTHER: &str = "use ktstr_harness::prelude::*;\n\nktstr_harness::main!();\n\n\
    #[ktstr_test(llcs = 5)]\nfn twice(_: &Ctx) -> Result<AssertResult> { Ok(AssertResult::pass()) }\n";

fn project() -> Project {
    let project = Project::new(ITEMS);
    let tells = "fn main() { println!(\"debug assertions: {}\", cfg!(debug_assertions)) }\n";
    project.add_program("scx_told", tells);
    project.add_program("other", "fn main() {}\n");
    let manifest = fs::read_to_string(project.path().join("Cargo.toml")).unwrap();
    let harness = manifest
        .lines()
        .find(|line| line.starts_with("ktstr-harness = "))
        .unwrap();
    let other = project.path().join("other");
    let mut manifest = fs::File::options()
        .append(true)
        .open(other.join("Cargo.toml"))
        .unwrap();
    write!(
        manifest,
        "\n[[test]]\nname = \"other\"\nharness = false\n\n[dev-dependencies]\n{harness}\n"
    )
    .unwrap();
    fs::create_dir(other.join("tests")).unwrap();
    fs::write(other.join("tests/other.rs"), OTHER).unwrap();
    project
}

/// What `export` with these words says on standard output and error, and its exit code.
fn export(project: &Project, words: &[&str]) -> (String, String, Option<i32>) {
    let mut command = project.cargo_ktstr("export");
    // What is built is the point, and not how fast it is.
    command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0");
    let Output {
        status,
        stdout,
        stderr,
    } = command.args(words).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(stdout), text(stderr), status.code())
}

/// What the script of `run` says that `name` is.
fn value(run: &Path, name: &str) -> String {
    let bytes = fs::read(run).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines().take(60);
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("no {name}")).to_owned()
}

/// What the scheduler in the archive of `run` says.
fn scheduler_says(run: &Path, dir: &Path) -> String {
    let bytes = fs::read(run).unwrap();
    let offset: usize = value(run, "ARCHIVE_OFFSET").parse().unwrap();
    let mut tar = Command::new("tar")
        .arg("-C")
        .arg(dir)
        .args(["-xzf", "-", "scheduler/program"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    tar.stdin
        .take()
        .unwrap()
        .write_all(&bytes[offset..])
        .unwrap();
    assert!(tar.wait().unwrap().success());
    let output = Command::new(dir.join("scheduler/program"))
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_package_says_which_of_two_tests_of_one_name_is_exported() {
    let project = project();
    let run = project.path().join("twice.run");
    // Of the first binary in the order of their paths, and told.
    let (out, err, code) = export(&project, &["twice"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(
        out.starts_with("wrote ") && out.contains("twice.run ("),
        "{out}"
    );
    assert_eq!(value(&run, "NEED_LLCS"), "5");
    let note = err
        .lines()
        .find(|line| line.starts_with("note: "))
        .expect(&err);
    let of = note.find("/deps/other-").expect(note);
    let not_of = note.find("/deps/user-").expect(note);
    assert!(
        of < not_of && note.contains("ktstr/twice") && note.contains("--package"),
        "{note}"
    );
    for (package, llcs) in [("user", "3"), ("other", "5")] {
        let (_, err, code) = export(&project, &["twice", "--package", package]);
        assert_eq!(code, Some(0), "{err}");
        assert_eq!(value(&run, "NEED_LLCS"), llcs);
        assert!(!err.contains("note: "), "{err}");
    }
    let (_, err, code) = export(&project, &["of_a_debug_build", "--package", "other"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(
        err.contains("error: no test is called `of_a_debug_build`"),
        "{err}"
    );
}

#[test]
#[ignore = "minutes: builds a project in release mode; make test-export"]
fn a_release_build_is_exported_where_that_is_asked_for() {
    let project = project();
    let run = project.path().join("x.run");
    for (test, words, lacks) in [
        ("of_a_debug_build", &[][..], "of_a_release_build"),
        ("of_a_release_build", &["--release"], "of_a_debug_build"),
    ] {
        let (_, err, code) = export(&project, &[&[test, "-o", "x.run"], words].concat());
        assert_eq!(code, Some(0), "{err}");
        assert_eq!(value(&run, "KTSTR_TEST_NAME"), test);
        // A scheduler is what users of it run, whatever the test is.
        assert_eq!(
            scheduler_says(&run, project.path()),
            "debug assertions: false\n"
        );
        let (_, err, code) = export(&project, &[&[lacks, "-o", "y.run"], words].concat());
        assert_eq!(code, Some(1), "{err}");
        assert!(
            err.contains(&format!("error: no test is called `{lacks}`")),
            "{err}"
        );
    }
    assert!(!project.path().join("y.run").exists());
}
