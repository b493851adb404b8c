//! The report of `cargo ktstr coverage` on a project as a user's would be, with the real cargo-llvm-cov and real machines.
//!
//! It builds all that a test binary has once more, with counters: `make test-coverage`. `KTSTR_TEST_SCHEDULERS` is the
//! directory of `scx_simple` and its kin, `KTSTR_TEST_NESTED_HOST` that of a second kernel; without them their parts are
//! left out.

#[path = "support/project.rs"]
mod project;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ktstr_core::host::Host;
use ktstr_driver::coverage::LlvmTools;
use ktstr_kernel::Cache;
use ktstr_kernel::discover::discover;
use project::Project;

/// Lines with a comment are looked for in reports by it.
const LIB: &str = r"
pub fn on_host(n: u32) -> u32 {
    n + 1 // host
}

pub fn in_guest(n: u32) -> u32 {
    if n == 0 {
        return never(n); // none
    }
    n + 2 // guest
}

fn never(n: u32) -> u32 {
    n * 3 // unreached
}

pub fn on_kernel(release: &str) -> u32 {
    if release.contains('+') {
        return 1; // second kernel
    }
    2 // first kernel
}

pub fn before_panic() -> u32 {
    1 // panic
}

pub fn before_abort() -> u32 {
    2 // abort
}

pub fn before_kill() -> u32 {
    3 // kill
}

pub fn before_death() -> u32 {
    4 // death
}

pub fn in_life() -> u32 {
    5 // life
}

pub fn before_cut() -> u32 {
    6 // cut
}

pub fn nobody() -> u32 {
    7 // other
}
";

const TESTS: &str = r#"
#[ktstr_test(host_only)]
fn host(_: &Ctx) -> Result<AssertResult> {
    assert_eq!(user::on_host(1), 2);
    Ok(AssertResult::pass())
}

#[ktstr_test]
fn guest(_: &Ctx) -> Result<AssertResult> {
    assert_eq!(user::in_guest(1), 3);
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    assert!(user::on_kernel(&release) > 0);
    Ok(AssertResult::pass())
}

#[ktstr_test(expect_err)]
fn panics(_: &Ctx) -> Result<AssertResult> {
    panic!("{}", user::before_panic());
}

#[ktstr_test(expect_err)]
fn aborts(_: &Ctx) -> Result<AssertResult> {
    assert_eq!(user::before_abort(), 2);
    std::process::abort();
}

/// A directory below `dir` with processes in it.
fn populated(dir: &std::path::Path) -> Option<std::path::PathBuf> {
    let dirs = std::fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path());
    dirs.filter(|path| path.is_dir()).find_map(|dir| {
        let procs = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        if procs.is_empty() { populated(&dir) } else { Some(dir) }
    })
}

#[ktstr_test(duration_s = 2, expect_err)]
fn loses_its_workers(ctx: &Ctx) -> Result<AssertResult> {
    std::thread::spawn(|| loop {
        if let Some(dir) = populated(std::path::Path::new("/sys/fs/cgroup")) {
            user::before_kill();
            if std::fs::write(dir.join("cgroup.kill"), "1").is_ok() {
                break;
            }
        }
        std::thread::yield_now();
    });
    scenarios::steady(ctx)
}

/// Leaves the half of a profile.
#[ktstr_test]
fn cuts(_: &Ctx) -> Result<AssertResult> {
    assert_eq!(user::before_cut(), 6);
    let dir = std::path::Path::new("/.ktstr-profiles");
    for entry in std::fs::read_dir(dir)?.flatten() {
        let bytes = std::fs::read(entry.path())?;
        std::fs::write(dir.join("half.profraw"), &bytes[..bytes.len() / 2])?;
    }
    Ok(AssertResult::pass())
}
"#;

const SCHEDULED: &str = r#"
declare_scheduler!(LIVING, { name = "living", binary = "scx_wrap", sched_args = ["scx_simple"] });
declare_scheduler!(DYING, { name = "dying", binary = "scx_wrap", sched_args = ["scx_qmap", "-e", "100"] });

#[ktstr_test(scheduler = LIVING, duration_s = 1, extra_include_files = ["SIMPLE"])]
fn lives(ctx: &Ctx) -> Result<AssertResult> {
    user::in_life();
    scenarios::steady(ctx)
}

#[ktstr_test(scheduler = DYING, duration_s = 60, expect_err, extra_include_files = ["QMAP"])]
fn dies(ctx: &Ctx) -> Result<AssertResult> {
    user::before_death();
    scenarios::steady(ctx)
}
"#;

/// A scheduler in Rust as far as ktstr sees: it attaches one, and has no handler for SIGTERM.
const WRAP: &str = r#"
use std::process::Command;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    println!("{}", start(&args[0]));
    let status = Command::new(format!("/include-files/{}", args[0])).args(&args[1..]).status();
    println!("{:?}", status.map(died));
}

fn died(status: std::process::ExitStatus) -> String {
    status.to_string() // it died
}

fn start(name: &str) -> u32 {
    if name == "scx_simple" {
        return 1; // it lives
    }
    if name == "nothing" {
        return 2; // no such
    }
    3
}
"#;

/// What a report has of the files of the project: by file and line, how often it was reached.
type Lines = BTreeMap<(String, usize), u64>;

struct Place {
    project: Project,
    kernel: PathBuf,
}

impl Place {
    /// With the tests of schedulers where there are `programs` for them.
    fn new(programs: Option<&Path>) -> Self {
        let scheduled = programs.map(|dir| {
            let path = |name: &str| dir.join(name).display().to_string();
            SCHEDULED
                .replace("SIMPLE", &path("scx_simple"))
                .replace("QMAP", &path("scx_qmap"))
        });
        let project = Project::new(&format!("{TESTS}{}", scheduled.unwrap_or_default()));
        fs::write(project.path().join("lib.rs"), LIB).unwrap();
        project.add_program("scx_wrap", WRAP);
        let host = Host::of_this_process();
        let root = ktstr_core::env::cache_root(&host).expect("a cache");
        let found = discover(&host, &Cache::new(root), Path::new("."));
        let kernel = found.expect("a kernel").kernel.image;
        Self { project, kernel }
    }

    /// Whether `cargo ktstr coverage`, on these kernels and with these arguments for cargo-llvm-cov, ends well, what it
    /// said, and its report.
    fn coverage(&self, kernels: &[&Path], args: &[&str]) -> (bool, String, Lines) {
        let mut run = self.project.cargo_ktstr("coverage");
        for kernel in kernels {
            run.arg("--kernel").arg(kernel);
        }
        let report = self.project.path().join("lcov.info");
        let _ = fs::remove_file(&report);
        run.args(["--", "--workspace", "--lcov", "--output-path", "lcov.info"]);
        let (success, said) = said(run.args(args));
        let lcov = fs::read_to_string(&report).unwrap_or_else(|error| panic!("{error}: {said}"));
        (success, said, lines(&lcov, self.project.path()))
    }

    /// How often the line of `file` with that comment was reached.
    fn count(&self, lines: &Lines, file: &str, comment: &str) -> u64 {
        let text = fs::read_to_string(self.project.path().join(file)).unwrap();
        let is_it = |line: &str| line.ends_with(&format!("// {comment}"));
        let at = text.lines().position(is_it).unwrap() + 1;
        let count = lines.get(&(file.to_owned(), at));
        *count.unwrap_or_else(|| panic!("{file}:{at} ({comment}) in {lines:?}"))
    }
}

fn said(run: &mut Command) -> (bool, String) {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("NEXTEST") || name.contains("LLVM_COV_") || name == "LLVM_PROFILE_FILE"
        {
            run.env_remove(name);
        }
    }
    let output = run.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    (output.status.success(), said)
}

fn lines(lcov: &str, root: &Path) -> Lines {
    let mut lines = Lines::new();
    let mut file = None;
    for line in lcov.lines() {
        if let Some(path) = line.strip_prefix("SF:") {
            let path = Path::new(path).strip_prefix(root).ok();
            file = path.map(|path| path.display().to_string());
        } else if let (Some(data), Some(file)) = (line.strip_prefix("DA:"), &file) {
            let (line, count) = data.split_once(',').unwrap();
            lines.insert(
                (file.clone(), line.parse().unwrap()),
                count.parse().unwrap(),
            );
        }
    }
    lines
}

/// Whether there is what this takes, of which a session says what is missing.
fn has_tools() -> bool {
    match LlvmTools::find(&Host::of_this_process(), Path::new(".")) {
        Ok(_) => true,
        Err(error) => {
            eprintln!("SKIP: {error}; make test-coverage installs it");
            false
        }
    }
}

fn named(variable: &str) -> Option<PathBuf> {
    let value = std::env::var_os(variable).filter(|value| !value.is_empty());
    if value.is_none() {
        eprintln!("SKIP in part: {variable} is not set; make test-coverage sets it");
    }
    value.map(PathBuf::from)
}

#[test]
#[ignore = "builds a project with counters; make test-coverage"]
fn guests_count_however_they_end() {
    if !has_tools() {
        return;
    }
    let programs = named("KTSTR_TEST_SCHEDULERS");
    let place = Place::new(programs.as_deref());
    let run = || place.coverage(&[&place.kernel], &["--no-fail-fast"]);
    let (success, said, lines) = run();
    assert!(success, "{said}");
    let count = |file: &str, comment: &str| place.count(&lines, file, comment);
    for comment in [
        "host",
        "guest",
        "first kernel",
        "panic",
        "abort",
        "kill",
        "cut",
    ] {
        assert!(count("lib.rs", comment) > 0, "{comment}: {lines:?}\n{said}");
    }
    for comment in ["none", "unreached", "second kernel", "other"] {
        assert_eq!(count("lib.rs", comment), 0, "{comment}: {lines:?}");
    }
    // Of a body, exactly.
    assert_eq!(count("lib.rs", "guest"), 1);
    assert_eq!(count("lib.rs", "panic"), 1);
    let half = said.lines().find(|line| line.contains("half.profraw"));
    let half = half.unwrap_or_else(|| panic!("no note on the half in {said}"));
    assert!(half.contains("of cuts ("), "{half}");
    assert!(said.contains("is left out: truncated: "), "{said}");
    if programs.is_some() {
        for comment in ["life", "death"] {
            assert!(count("lib.rs", comment) > 0, "{comment}: {lines:?}\n{said}");
        }
        let of_program = |comment: &str| count("scx_wrap/src/main.rs", comment);
        assert_eq!(of_program("it lives"), 1, "{said}");
        assert_eq!(of_program("it died"), 1, "{said}");
        assert_eq!(of_program("no such"), 0);
    }

    let (_, _, again) = run();
    let reached = |lines: &Lines| -> Vec<_> {
        let lines = lines.iter();
        lines
            .map(|(line, count)| (line.clone(), *count > 0))
            .collect()
    };
    assert_eq!(reached(&again), reached(&lines));
}

#[test]
#[ignore = "builds a project with counters; make test-coverage"]
fn kernels_are_one_report() {
    if !has_tools() {
        return;
    }
    let Some(second) = named("KTSTR_TEST_NESTED_HOST") else {
        return;
    };
    let place = Place::new(None);
    let kernels = [&*place.kernel, &second.join("vmlinuz")];
    let (success, said, lines) = place.coverage(&kernels, &["-E", "test(/guest/)"]);
    assert!(success, "{said}");
    let count = |comment: &str| place.count(&lines, "lib.rs", comment);
    assert_eq!(count("guest"), 2, "{said}");
    assert_eq!((count("first kernel"), count("second kernel")), (1, 1));
    assert_eq!((count("host"), count("panic")), (0, 0));

    // And again from what is there.
    let mut report = place.project.cargo_ktstr("llvm-cov");
    let (success, said) = self::said(report.args([
        "report",
        "--workspace",
        "--lcov",
        "--output-path",
        "again.info",
    ]));
    assert!(success, "{said}");
    let again = fs::read_to_string(place.project.path().join("again.info")).unwrap();
    assert_eq!(self::lines(&again, place.project.path()), lines);
}

#[test]
#[ignore = "builds a project with counters; make test-coverage"]
fn a_failure_has_a_report_where_that_is_asked_for() {
    if !has_tools() {
        return;
    }
    let project = Project::new(
        "#[ktstr_test(host_only)]\nfn fails(_: &Ctx) -> Result<AssertResult> {\n\
         let why = format!(\"{}\", user::on_host(1));\n    Ok(AssertResult::fail(\"mine\", why))\n}\n",
    );
    fs::write(project.path().join("lib.rs"), LIB).unwrap();
    let run = |command: &str, args: &[&str]| {
        let report = project.path().join("lcov.info");
        let _ = fs::remove_file(&report);
        let mut run = project.cargo_ktstr(command);
        let (success, said) = said(
            run.args(args)
                .args(["--lcov", "--output-path", "lcov.info"]),
        );
        let lcov = fs::read_to_string(&report).unwrap_or_default();
        (success, said, lines(&lcov, project.path()))
    };
    let reached = ("lib.rs".to_owned(), 3);
    let (success, said, none) = run("coverage", &["--"]);
    assert!(!success && none.is_empty(), "{said}");
    assert!(said.contains("1 test: 1 failed"), "{said}");
    let (success, said, after) = run("llvm-cov", &["report"]);
    assert!(success, "{said}");
    assert_eq!(after.get(&reached), Some(&1), "{after:?}");
    let (success, said, asked) = run("coverage", &["--", "--ignore-run-fail"]);
    assert!(success, "{said}");
    assert_eq!(asked.get(&reached), Some(&1), "{asked:?}");
}
