//! Replays of a project's failures, with the real cargo and nextest, but no machine: the tests of kernels here end before
//! one starts.

#[path = "../../ktstr-kernel/tests/support/bz_image.rs"]
mod bz_image;
#[path = "support/project.rs"]
mod project;
#[path = "support/restricted.rs"]
mod restricted;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ktstr_core::record::{RunDir, RunStore};
use ktstr_driver::SavedSession;

use bz_image::bz_image;
use project::Project;
use restricted::{forbid, restricted};

/// Tests that fail until there is a file of their name.
const ITEMS: &str = r#"
fn mended(name: &str) -> Result<AssertResult> {
    if std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name).exists() {
        return Ok(AssertResult::pass());
    }
    Ok(AssertResult::fail("file", format!("no file is called {name}")))
}

#[ktstr_test(host_only)]
fn fails(_: &Ctx) -> Result<AssertResult> { mended("fails") }

#[ktstr_test(host_only)]
fn fails_too(_: &Ctx) -> Result<AssertResult> { mended("fails_too") }

#[ktstr_test(host_only, ignore)]
fn ignored(_: &Ctx) -> Result<AssertResult> { mended("ignored") }

#[ktstr_test(host_only)]
fn unsure(_: &Ctx) -> Result<AssertResult> {
    let mut result = AssertResult::pass();
    result.verdict.at_most_ratio("this per that", 0.0, 0.0, 0.5);
    Ok(result)
}

#[ktstr_test(host_only)]
fn skips(_: &Ctx) -> Result<AssertResult> { Ok(AssertResult::skip("no such device")) }

#[ktstr_test(host_only)]
fn passes(_: &Ctx) -> Result<AssertResult> { Ok(AssertResult::pass()) }

#[ktstr_test(extra_include_files = ["missing"], max_cpus = 4)]
fn on_kernels(_: &Ctx) -> Result<AssertResult> { Ok(AssertResult::pass()) }
"#;

const MORE: &str = r#"
use ktstr_harness::prelude::*;

ktstr_harness::main!();

#[ktstr_test(host_only)]
fn fails(_: &Ctx) -> Result<AssertResult> { Ok(AssertResult::pass()) }

#[cfg(feature = "extra")]
#[ktstr_test(host_only)]
fn extra(_: &Ctx) -> Result<AssertResult> { Ok(AssertResult::fail("mine", "always")) }
"#;

const CONFIG: &str = "[profile.default]\ndefault-filter = 'not test(fails_too)'\n\n\
    [profile.odd]\ndefault-filter = 'all()'\nretries = 1\n";

struct Place {
    project: Project,
}

impl Place {
    /// Two test targets, two kernels, and a configuration of nextest.
    fn new() -> Self {
        let project = Project::new(ITEMS);
        let manifest = project.path().join("Cargo.toml");
        let text = fs::read_to_string(&manifest).unwrap().replace(
            "\n[[test]]",
            "\n[features]\nextra = []\n\n[[test]]\nname = \"more-tests\"\nharness = false\n\n[[test]]",
        );
        fs::write(manifest, text).unwrap();
        fs::write(project.path().join("tests/more-tests.rs"), MORE).unwrap();
        fs::create_dir(project.path().join(".config")).unwrap();
        fs::write(project.path().join(".config/nextest.toml"), CONFIG).unwrap();
        for (name, version) in [("one", "6.12.0"), ("two", "6.13.0"), ("three", "6.14.0")] {
            fs::write(project.path().join(name), bz_image(version)).unwrap();
        }
        Self { project }
    }

    fn path(&self) -> &Path {
        self.project.path()
    }

    fn results(&self) -> PathBuf {
        self.path().join("results")
    }

    /// `cargo ktstr {line}`, whose arguments have no space in them.
    fn run(&self, line: &str) -> Said {
        let (command, arguments) = line.split_once(' ').unwrap_or((line, ""));
        let mut run = self.project.cargo_ktstr(command);
        run.args(arguments.split_whitespace());
        said(&mut run)
    }

    /// What nextest lists of `filter`, in the order of names.
    fn listed(&self, filter: &str) -> Vec<String> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut list = self.project.command(Path::new(&cargo));
        list.args([
            "nextest",
            "list",
            "--run-ignored",
            "all",
            "--ignore-default-filter",
        ]);
        let said = said(list.args(["-E", filter]));
        assert_eq!(said.code, Some(0), "{}", said.stderr);
        let mut lines: Vec<String> = said.stdout.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// The cases that the newest session ran, with their binaries.
    fn ran(&self) -> BTreeSet<String> {
        let session = RunStore::new(self.results())
            .newest_session()
            .unwrap()
            .unwrap();
        let records = RunDir::new(self.results(), session.epoch)
            .own_records()
            .unwrap();
        let sidecars = records.into_iter().map(|record| record.unwrap().sidecar);
        sidecars
            .map(|it| format!("{} {}", it.binary_id.unwrap_or_default(), it.case))
            .collect()
    }
}

struct Said {
    stdout: String,
    stderr: String,
    code: Option<i32>,
}

fn said(command: &mut Command) -> Said {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("NEXTEST") {
            command.env_remove(name);
        }
    }
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said {
        stdout: text(&stdout),
        stderr: text(&stderr),
        code: status.code(),
    }
}

const SESSION: &str = "test --kernel ./one --nextest-profile odd --no-skip-mode -- --no-fail-fast --run-ignored all \
    -E test(/^host/)";

#[test]
fn failures_are_replayed_until_there_are_none() {
    let place = Place::new();
    let before = place.run("replay");
    assert_eq!(
        (before.stdout.as_str(), before.code),
        ("", Some(0)),
        "{}",
        before.stderr
    );
    assert!(
        before.stderr.contains("no session left records in"),
        "{}",
        before.stderr
    );

    let session = place.run(SESSION);
    assert_eq!(session.code, Some(100), "{}", session.stderr);
    // A skip is a failure there.
    let expected = [
        "user::user host/fails",
        "user::user host/fails_too",
        "user::user host/ignored",
        "user::user host/skips",
        "user::user host/unsure",
    ];
    let replay = place.run("replay");
    assert_eq!(replay.code, Some(0), "{}", replay.stderr);
    let filter = replay.stdout.strip_suffix('\n').unwrap();
    assert!(
        filter.starts_with("binary_id(=user::user) & (test(=host/fails) | "),
        "{filter}"
    );
    assert_eq!(place.listed(filter), expected, "{}", replay.stderr);
    for line in [
        "  7 tests: 2 passed, 4 failed, 1 inconclusive\n",
        "  inconclusive  host/unsure  ",
        "  failed        host/fails  file: no file is called fails\n",
        "--nextest-profile odd --no-skip-mode -- --no-fail-fast --run-ignored all",
    ] {
        assert!(replay.stderr.contains(line), "{line}: {}", replay.stderr);
    }
    let narrow = place.run("replay -E fails_too");
    assert_eq!(
        narrow.stdout,
        "binary_id(=user::user) & test(=host/fails_too)\n"
    );
    assert!(
        narrow.stderr.contains("4 failures of other names left out"),
        "{}",
        narrow.stderr
    );
    let none = place.run("replay -E nobody");
    assert_eq!((none.stdout.as_str(), none.code), ("", Some(0)));
    let why = none.stderr.replace('\n', " ");
    assert!(
        why.contains("has 5 failures, whose names are others"),
        "{why}"
    );

    what_may_not_be_read_is_told(&place, &expected[..4]);

    // Exactly those, with the same options: twice each, and skips fail.
    let exec = place.run("replay --exec");
    assert_eq!(exec.code, Some(100), "{}", exec.stderr);
    let as_set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(place.ran(), as_set(&expected));
    assert!(exec.stderr.contains("TRY 2 "), "{}", exec.stderr);
    assert!(
        exec.stderr.contains("replaying 5 tests\n"),
        "{}",
        exec.stderr
    );

    // After one was mended, there is one less; an option that is given again wins.
    fs::write(place.path().join("fails_too"), "").unwrap();
    let exec = place.run("replay --exec --nextest-profile default");
    assert_eq!(exec.code, Some(100), "{}", exec.stderr);
    assert!(!exec.stderr.contains("TRY 2 "), "{}", exec.stderr);
    assert_eq!(place.ran(), as_set(&expected));
    let replay = place.run("replay");
    let less = [expected[0], expected[2], expected[3], expected[4]];
    assert_eq!(
        place.listed(replay.stdout.trim_end()),
        less,
        "{}",
        replay.stderr
    );

    fs::write(place.path().join("fails"), "").unwrap();
    tests_that_are_no_more_are_told(&place);
    nothing_is_replayed_where_all_passes(&place);
}

/// Without the records of `unsure`, `others` are replayed.
fn what_may_not_be_read_is_told(place: &Place, others: &[&str]) {
    let records: Vec<PathBuf> = fs::read_dir(place.results())
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            // Of both attempts: the other one would tell of the failure too.
            let is_record = name.ends_with(".ktstr.json") || name.ends_with(".attempt-1.json");
            name.contains("unsure") && is_record
        })
        .collect();
    assert_eq!(records.len(), 2, "{records:?}");
    for record in &records {
        forbid(record).unwrap();
    }
    if let Some(mut command) = restricted(&place.project.cargo_ktstr("replay")) {
        let replay = said(&mut command);
        assert_eq!(replay.code, Some(0), "{}", replay.stderr);
        assert_eq!(
            place.listed(replay.stdout.trim_end()),
            others,
            "{}",
            replay.stderr
        );
        let told = replay
            .stderr
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        for record in &records {
            let name = record.file_name().unwrap().to_string_lossy();
            let line = format!("{name}: Permission denied (os error 13)");
            assert!(
                told.contains("warning: ") && told.contains(&line),
                "{line}: {told}"
            );
        }
    }
    for record in &records {
        fs::set_permissions(record, fs::Permissions::from_mode(0o644)).unwrap();
    }
}

/// Those who are left of the failures are `ignored`, `skips` and `unsure`, and `fails`, which is mended.
fn tests_that_are_no_more_are_told(place: &Place) {
    let source = place.path().join("tests/user.rs");
    let text = fs::read_to_string(&source).unwrap();
    fs::write(&source, text.replace("fn unsure", "fn sure")).unwrap();
    let exec = place.run("replay --exec -- --retries 3");
    assert!(
        exec.stderr
            .contains("warning: user::user host/unsure: this test does not exist any more\n"),
        "{}",
        exec.stderr
    );
    assert!(exec.stderr.contains("TRY 4 "), "{}", exec.stderr);
    let left = ["fails", "ignored", "skips"].map(|test| format!("user::user host/{test}"));
    assert_eq!(place.ran(), left.into());

    fs::write(
        &source,
        text.replace("fn ignored", "fn gone")
            .replace("fn skips", "fn away"),
    )
    .unwrap();
    let exec = place.run("replay --exec");
    assert_eq!(exec.code, Some(1), "{}", exec.stderr);
    let error = "error: none of the failed tests exists any more: user::user host/ignored, user::user host/skips; ";
    assert!(exec.stderr.contains(error), "{}", exec.stderr);
}

fn nothing_is_replayed_where_all_passes(place: &Place) {
    let passing = place.run("test --kernel ./one -- -E test(passes)");
    assert_eq!(passing.code, Some(0), "{}", passing.stderr);
    for line in ["replay", "replay --exec"] {
        let replay = place.run(line);
        assert_eq!(
            (replay.stdout.as_str(), replay.code),
            ("", Some(0)),
            "{}",
            replay.stderr
        );
        let said = replay.stderr.replace('\n', " ");
        assert!(
            said.contains("nothing to replay: the session of "),
            "{said}"
        );
        assert!(said.contains("has no failure (1 test: 1 passed)"), "{said}");
    }
}

#[test]
fn a_replay_has_the_same_kernels_or_says_so() {
    let place = Place::new();
    let session =
        place.run("test --kernel ./one --kernel ./two -- --no-fail-fast -E test(on_kernels)");
    assert_eq!(session.code, Some(100), "{}", session.stderr);
    let replay = place.run("replay");
    let listed = |labels: usize| {
        let name = "test(=ktstr/on_kernels/kernel_path_";
        assert_eq!(
            replay.stdout.matches(name).count(),
            labels,
            "{}",
            replay.stderr
        );
    };
    listed(2);
    let exec = place.run("replay --exec");
    assert_eq!(exec.code, Some(100), "{}", exec.stderr);
    assert_eq!(place.ran().len(), 2);

    // It is another kernel, and one is gone.
    fs::write(place.path().join("one"), bz_image("6.12.1")).unwrap();
    fs::rename(place.path().join("two"), place.path().join("away")).unwrap();
    let replay = place.run("replay");
    let notes = replay.stderr.replace("\n  ", " ");
    assert!(notes.contains(" is another kernel than then: "), "{notes}");
    assert!(
        notes.contains(" is gone: ") && notes.contains("/two: "),
        "{notes}"
    );
    assert!(
        notes.contains("to replay on another: cargo ktstr replay --exec --kernel ID"),
        "{notes}"
    );
    let exec = place.run("replay --exec");
    assert!(
        exec.stderr.contains("replaying 1 test, under other names"),
        "{}",
        exec.stderr
    );
    assert!(
        exec.stderr.contains(": not run, as kernel_path_two_"),
        "{}",
        exec.stderr
    );
    assert_eq!(exec.code, Some(100), "{}", exec.stderr);
    assert_eq!(
        place.ran(),
        ["user::user ktstr/on_kernels".to_owned()].into()
    );

    fs::remove_file(place.path().join("one")).unwrap();
    let exec = place.run("replay --exec");
    assert_eq!(exec.code, Some(1), "{}", exec.stderr);
    assert!(
        exec.stderr
            .contains("error: none of the failures' kernels is left: kernel_path_one_")
    );
    let exec = place.run("replay --exec --kernel ./three --kernel ./away");
    assert_eq!(exec.code, Some(100), "{}", exec.stderr);
    let ran: Vec<String> = place.ran().into_iter().collect();
    assert!(
        ran[0].contains("/kernel_path_away_") && ran[1].contains("/kernel_path_three_"),
        "{ran:?}"
    );
}

#[test]
fn an_archive_and_records_alone_are_enough() {
    let place = Place::new();
    let session = place.run("test --kernel ./one -- --no-fail-fast --retries 0 --config net.offline=true -E test(=host/fails)");
    assert_eq!(session.code, Some(100), "{}", session.stderr);
    let away = tempfile::tempdir().unwrap();
    let copy = away.path().join("ktstr");
    fs::create_dir(&copy).unwrap();
    let mut cp = Command::new("cp");
    let copied = cp
        .arg("-a")
        .arg(place.results())
        .arg(copy.join("run"))
        .status();
    assert!(copied.unwrap().success());
    fs::remove_dir_all(place.results()).unwrap();
    let replay =
        |dir: &Path, more: &str| place.run(&format!("replay --dir {} {more}", dir.display()));
    let filter = "binary_id(=user::user) & test(=host/fails)\n";
    for dir in [copy.join("run"), copy.clone()] {
        assert_eq!(replay(&dir, "").stdout, filter);
    }
    // Of options that may be anybody's, only harmless ones are taken.
    let exec = replay(&copy.join("run"), "--exec");
    assert_eq!(exec.code, Some(100), "{}", exec.stderr);
    let said = exec.stderr.replace("\n  ", " ");
    assert!(
        said.contains("warning: not taken from the archive: --config net.offline=true;"),
        "{said}"
    );

    // Broken records are told, and the others used; the options are lost.
    fs::write(copy.join("run/bad-0123456789abcdef.ktstr.json"), "{").unwrap();
    std::os::unix::fs::symlink(
        "/etc/passwd",
        copy.join("run/link-0123456789abcdef.ktstr.json"),
    )
    .unwrap();
    fs::remove_dir_all(copy.join("run/.sessions")).unwrap();
    let rest = replay(&copy, "");
    assert_eq!(
        (rest.stdout.as_str(), rest.code),
        (filter, Some(0)),
        "{}",
        rest.stderr
    );
    assert_eq!(
        rest.stderr.matches("warning: sidecar ").count(),
        2,
        "{}",
        rest.stderr
    );
    assert!(
        rest.stderr.contains("note: that session left no options"),
        "{}",
        rest.stderr
    );
    let none = replay(&away.path().join("none"), "");
    assert_eq!(none.code, Some(1));
    assert!(
        none.stderr.starts_with("error: ") && none.stderr.contains("No such file"),
        "{}",
        none.stderr
    );
}

/// The command below each failure runs that case alone, whatever selected it.
#[test]
fn the_command_below_a_failure_is_exact() {
    let place = Place::new();
    let archive = place.path().join("tests.tar.zst");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut pack = place.project.command(Path::new(&cargo));
    pack.args(["nextest", "archive", "--archive-file"]);
    assert_eq!(said(pack.arg(&archive)).code, Some(0));
    fs::write(
        place.path().join("other.toml"),
        "[profile.mine]\nretries = 0\n",
    )
    .unwrap();
    fs::create_dir(place.path().join("inner")).unwrap();
    for (arguments, case) in [
        ("-E test(=host/fails)", "host/fails"),
        ("fails", "host/fails"),
        ("-p user --test user -- fails --skip too", "host/fails"),
        (
            "--workspace --tests --no-fail-fast -E test(/fails$/)",
            "host/fails",
        ),
        (
            "--manifest-path ./Cargo.toml --partition count:1/1 fails",
            "host/fails",
        ),
        ("--ignore-default-filter fails_too", "host/fails_too"),
        ("-P odd fails_too", "host/fails_too"),
        (
            "--config-file other.toml --profile=mine fails_too",
            "host/fails_too",
        ),
        ("--run-ignored=only -E test(host/)", "host/ignored"),
        ("ignored -- --include-ignored", "host/ignored"),
        ("-F extra extra", "host/extra"),
        (
            "--features=extra --test more-tests -E binary(more-tests)",
            "host/extra",
        ),
        (
            "--archive-file tests.tar.zst --workspace-remap . fails",
            "host/fails",
        ),
        (
            "--run-ignored all -E test(/^gauntlet.on_kernels.4cpu-1llc-nosmt/)",
            "gauntlet/on_kernels/4cpu-1llc-nosmt",
        ),
    ] {
        let session = place.run(&format!("test --kernel ./one -- {arguments}"));
        assert_eq!(session.code, Some(100), "{arguments}: {}", session.stderr);
        let (_, commands) = session
            .stderr
            .split_once(": to rerun the failures\n")
            .unwrap();
        let command = commands.lines().next().unwrap().trim();
        assert!(command.starts_with("cargo ktstr test "), "{command}");
        let mut shell = place.project.command(Path::new("sh"));
        let bin = Path::new(env!("CARGO_BIN_EXE_cargo-ktstr"))
            .parent()
            .unwrap();
        let path = std::env::join_paths(
            std::iter::once(bin.to_owned())
                .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
        );
        shell.args(["-c", command]).env("PATH", path.unwrap());
        let again = said(&mut shell);
        assert_eq!(again.code, Some(100), "{command}: {}", again.stderr);
        let ran: Vec<String> = place.ran().into_iter().collect();
        assert!(
            ran.len() == 1 && ran[0].ends_with(&format!(" {case}")),
            "{command}: {ran:?}"
        );
        // And so does a replay of it.
        let replay = place.run("replay --exec");
        assert_eq!(replay.code, Some(100), "{arguments}: {}", replay.stderr);
        assert_eq!(
            place.ran().into_iter().collect::<Vec<_>>(),
            ran,
            "{arguments}"
        );
    }
}

#[test]
fn what_a_session_left_is_plain() {
    let place = Place::new();
    place.run("test --kernel ./one --cpu-cap 1 -- --retries 0 -E test(=host/passes)");
    let session = RunStore::new(place.results())
        .newest_session()
        .unwrap()
        .unwrap();
    let saved = SavedSession::read(&place.results(), &session.epoch).unwrap();
    assert_eq!(saved.identifiers, ["./one"]);
    assert_eq!(saved.cpu_cap.map(u32::from), Some(1));
    assert_eq!(
        saved.nextest_args.join(" ".as_ref()),
        "--retries 0 -E test(=host/passes)"
    );
    assert_eq!(saved.kernels[0].image, place.path().join("one"));
    assert_eq!(saved.kernels[0].version, "6.12.0");
}
