//! `perf-delta` in a repository as a user's would be: its scheduler burns time from one commit on.
//!
//! The tests of machines build the project's tests twice and run them in turn, which takes minutes; `make test-perf` runs
//! them.

#[path = "support/project.rs"]
mod project;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use project::Project;
use rustix::process::{Pid, Signal, kill_process};

/// A test of two seconds, whose scheduler gets `args`.
fn items(args: &str) -> String {
    let scheduler = Path::new(env!("CARGO_BIN_EXE_cargo-ktstr")).with_file_name("scx-ktstr");
    format!(
        r#"
declare_scheduler!(MINE, {{ name = "mine", binary_path = "{}", sched_args = [{args}], topology = (1, 1, 2, 1) }});

#[ktstr_test(scheduler = MINE, duration_s = 2, performance_mode)]
fn steady(ctx: &Ctx) -> Result<AssertResult> {{
    execute_defs(ctx, &[CgroupDef::named("all").workers(3).work(WorkType::mixed())])
}}

#[ktstr_test(duration_s = 2)]
fn no_performance_test(_: &Ctx) -> Result<AssertResult> {{ Ok(AssertResult::pass()) }}
"#,
        scheduler.display()
    )
}

const SOUND: &str = "";
const BURNS: &str = r#""--burn-us", "3000""#;

struct Repository {
    project: Project,
    cache: tempfile::TempDir,
}

impl Repository {
    /// With a commit called `base`.
    fn new() -> Self {
        let repository = Self {
            project: Project::new(&items(SOUND)),
            cache: tempfile::tempdir().unwrap(),
        };
        repository.git(&["init", "--quiet", "--initial-branch", "main"]);
        fs::write(repository.project.path().join(".gitignore"), "results\n").unwrap();
        repository.commit("base");
        repository.git(&["tag", "base"]);
        repository
    }

    fn git(&self, args: &[&str]) -> String {
        let config = ["user.name=a", "user.email=a@b", "commit.gpgsign=false"];
        let mut git = self.project.command("git".as_ref());
        git.args(config.iter().flat_map(|value| ["-c", value]));
        let output = git.args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
    }

    /// Commits a test whose scheduler gets `args`.
    fn change(&self, args: &str) {
        let file = self.project.path().join("tests/user.rs");
        let head = "use ktstr_harness::prelude::*;\n\nktstr_harness::main!();\n";
        fs::write(file, format!("{head}\n{}", items(args))).unwrap();
        self.commit("change");
    }

    fn perf_delta(&self, words: &[&str]) -> Command {
        let mut command = self.project.cargo_ktstr("perf-delta");
        command.args(["--base", "base"]).args(words);
        command.env_remove("GITHUB_STEP_SUMMARY");
        command
    }

    /// A comparison by runs, in machines without performance mode.
    fn runs(&self, words: &[&str]) -> Command {
        let kernel = std::env::var("KTSTR_KERNEL").expect("KTSTR_KERNEL: make test-perf sets it");
        let mut command = self.perf_delta(&["--no-perf-mode", "--kernel", &kernel]);
        command.args(words);
        // Its work trees; kernels are given.
        command.env("KTSTR_CACHE_DIR", self.cache.path());
        command
    }

    fn trees(&self) -> Vec<PathBuf> {
        let listed = self.git(&["worktree", "list", "--porcelain"]);
        let trees = listed
            .lines()
            .filter_map(|line| line.strip_prefix("worktree "));
        trees.skip(1).map(PathBuf::from).collect()
    }
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stderr) + &text(&output.stdout)
}

#[test]
fn without_records_there_is_a_notice() {
    let repository = Repository::new();
    repository.change(BURNS);
    let output = repository.perf_delta(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(
        said(&output).contains("nothing to compare: neither "),
        "{}",
        said(&output)
    );
    let summary = repository.cache.path().join("summary.md");
    let mut json = repository.perf_delta(&["--json"]);
    let output = json.env("GITHUB_STEP_SUMMARY", &summary).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["schema"], 1);
    assert_eq!(
        report["base"]["commit"],
        repository.git(&["rev-parse", "base"])
    );
    assert!(said(&output).contains("nothing to compare"));
    let summary = fs::read_to_string(summary).unwrap();
    assert!(summary.starts_with("### perf-delta: "), "{summary}");
}

#[test]
fn what_is_asked_for_is_checked_first() {
    let repository = Repository::new();
    let policy = repository.project.path().join("policy.toml");
    fs::write(&policy, "[metric.gap]\nrelative_pct = 1\n").unwrap();
    let fails = |words: &[&str], code: i32, expected: &str| {
        let output = repository.perf_delta(words).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(said(&output).contains(expected), "{}", said(&output));
    };
    fails(
        &["--policy", "policy.toml"],
        1,
        "error: policy policy.toml: `gap` in metric is no metric; ",
    );
    fails(&["--policy", "none"], 1, "error: policy none: No such file");
    fails(
        &["--must-fail", "max_gap_ms,gap"],
        1,
        "error: --must-fail: `gap` in ",
    );
    fails(
        &["--noise-adjust", "1", "--kernel", "x"],
        2,
        "give 2 to 1000",
    );
    fails(&["--noise-adjust", "2"], 2, "--kernel <ID>");
    fails(&["--threshold=-1"], 2, "give a number of 0 or more");
    fails(&["--fail-threshold", "0"], 2, "0 is not in 1..");
    fails(
        &["--dir", "nowhere"],
        1,
        "error: --dir nowhere: no such directory",
    );
    fails(&["--base-ref", "x"], 2, "cannot be used with");
}

#[test]
#[ignore = "minutes; make test-perf"]
fn a_scheduler_that_burns_time_is_found_and_named() {
    let repository = Repository::new();
    repository.change(BURNS);
    let words = [
        "--noise-adjust",
        "3",
        "--must-fail",
        "iterations_per_second",
        "--json",
    ];
    let output = repository.runs(&words).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let regressed: Vec<_> = report["comparisons"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["verdict"] == "regression")
        .map(|it| (it["test"].as_str().unwrap(), it["metric"].as_str().unwrap()))
        .collect();
    assert!(
        regressed.contains(&("steady", "iterations_per_second")),
        "{}",
        said(&output)
    );
    assert_eq!(report["caveats"][0]["kind"], "shared_cpus");
    assert!(repository.trees().is_empty());
}

/// Runs that were done before it was interrupted are not done again, and count.
#[test]
#[ignore = "minutes; make test-perf"]
fn an_interrupted_comparison_goes_on_where_it_was() {
    let repository = Repository::new();
    repository.change(BURNS);
    let words = ["--noise-adjust", "2", "--json"];
    let mut child = repository
        .runs(&words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut told = String::new();
    let mut runs = 0;
    // The base and the head have run once when the third run begins.
    while runs < 3 {
        let line = lines.next().unwrap_or_else(|| panic!("{told}")).unwrap();
        runs += usize::from(is_run(&line));
        told.push_str(&line);
        told.push('\n');
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    told.extend(lines.map(|line| line.unwrap() + "\n"));
    let mut report = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut report)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{told}");
    assert_eq!(report, "");
    assert!(
        told.contains("error: interrupted after 2 of 4 runs; the same command goes on from there"),
        "{told}"
    );
    assert!(repository.trees().is_empty(), "{told}");

    let output = repository.runs(&words).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("going on after 2 of 4 runs"), "{told}");
    assert_eq!(
        told.lines().filter(|line| is_run(line)).count(),
        2,
        "{told}"
    );
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let comparisons = report["comparisons"].as_array().unwrap();
    let rate = comparisons
        .iter()
        .find(|it| it["metric"] == "iterations_per_second")
        .unwrap_or_else(|| panic!("{report}"));
    for side in ["base", "head"] {
        assert_eq!(rate[side]["runs"], 2, "{rate}");
    }
    assert!(repository.trees().is_empty());
}

/// Whether perf-delta says in this line that a run begins.
fn is_run(line: &str) -> bool {
    let run = line
        .split_once("run ")
        .and_then(|(_, rest)| rest.split_once(" of 4: "));
    run.is_some_and(|(_, side)| side == "base" || side == "head")
}

#[test]
#[ignore = "an hour on a slow machine; make test-perf"]
fn identical_commits_do_not_regress() {
    let repository = Repository::new();
    repository.change(SOUND);
    let runs: usize =
        std::env::var("KTSTR_TEST_PERF_RUNS").map_or(20, |runs| runs.parse().unwrap());
    for run in 1..=runs {
        let output = repository
            .runs(&["--noise-adjust", "5", "--json"])
            .output()
            .unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            report["regressions"],
            0,
            "{run} of {runs}: {}",
            said(&output)
        );
        assert_eq!(output.status.code(), Some(0));
    }
}
