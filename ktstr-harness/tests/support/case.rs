//! Running one test of an example as nextest would run it.
#![allow(
    dead_code,
    reason = "several targets include this, and none uses all of it"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ktstr_core::Outcome;
use ktstr_core::record::Sidecar;

/// Where these runs reserve host CPUs: beside each other, and out of the way of whatever else the host does.
const LOCK_DIR: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/locks");

/// What a run of one misbehaving test left to look at.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stderr: String,
    pub(crate) stdout: String,
    pub(crate) sidecars: Vec<Sidecar>,
    /// File names in the run directory.
    pub(crate) files: Vec<String>,
    /// The failure dump; empty where there is none.
    pub(crate) dump: String,
    _dir: tempfile::TempDir,
}

impl Run {
    /// The failure text's first `count` lines.
    pub(crate) fn first_lines(&self, count: usize) -> String {
        let lines = self
            .stderr
            .lines()
            .skip_while(|line| !line.starts_with("ktstr_test "));
        lines.take(count).collect::<Vec<_>>().join("\n")
    }

    /// The section of the second run, which is the last; it is the outcome in the sidecar as well.
    pub(crate) fn auto_repro(&self) -> &str {
        let (before, section) = self
            .stderr
            .split_once("--- auto-repro ---\n")
            .unwrap_or_else(|| panic!("no second run in {}", self.stderr));
        assert!(before.contains("--- kernel log ---") && !section.contains("\n--- "));
        let outcome = self.sidecars[0].auto_repro.as_deref().unwrap();
        assert!(section.starts_with(outcome), "{outcome}: {section}");
        assert!(self.dump.contains("\"auto_repro\":"));
        section
    }

    /// What the second run says of the failing callback's task: name, before, after.
    pub(crate) fn before_and_after(&self) -> Vec<[String; 3]> {
        let lines = self.auto_repro().lines();
        let table = lines.skip_while(|line| !line.trim_start().starts_with("before "));
        let rows = table.skip(1).take(3).map(|line| {
            let line = line.replace("slice ns", "slice");
            let words: Vec<_> = line.split_whitespace().collect();
            [0, 1, 2].map(|word| (*words.get(word).expect("three words")).to_owned())
        });
        rows.collect()
    }

    /// Asserts a failure with `cause` in its first lines; `log` appears in the kernel log below.
    pub(crate) fn failed_with(&self, cause: &str, log: Option<&str>) {
        assert_eq!(self.code, 1, "{}", self.stderr);
        let top = self.first_lines(3);
        assert!(
            top.contains(cause),
            "no `{cause}` in the first lines of\n{}",
            self.stderr
        );
        if let Some(log) = log {
            let (_, section) = self
                .stderr
                .split_once("--- kernel log ---")
                .expect("a kernel log section");
            assert!(
                section.contains(log),
                "no `{log}` in the kernel log of\n{}",
                self.stderr
            );
        }
        assert_eq!(self.sidecars[0].verdict.outcome(), Outcome::Fail);
        assert!(
            self.files
                .iter()
                .any(|name| name.ends_with(Sidecar::FAILURE_DUMP_SUFFIX)),
            "{:?}",
            self.files
        );
    }
}

/// The program of that example.
pub(crate) fn example(name: &str) -> PathBuf {
    let me = std::env::current_exe().unwrap();
    let binary = me
        .parent()
        .and_then(Path::parent)
        .unwrap()
        .join("examples")
        .join(name);
    assert!(
        binary.exists(),
        "{} is missing: cargo build -p ktstr-harness --examples",
        binary.display()
    );
    binary
}

/// The kernel that tests find by themselves: the session's, else the newest cached one. Says so where there is none.
pub(crate) fn kernel() -> Option<PathBuf> {
    let named = ["KTSTR_TEST_KERNEL", "KTSTR_KERNEL"].map(std::env::var_os);
    let named = named.into_iter().flatten().find(|image| !image.is_empty());
    if let Some(named) = named {
        return Some(PathBuf::from(named));
    }
    let host = ktstr_core::host::Host::of_this_process();
    let root = ktstr_core::env::cache_root(&host)?;
    let cache = ktstr_kernel::Cache::new(root);
    let found = ktstr_kernel::discover::discover(&host, &cache, &host.dir);
    match found {
        Ok(found) => Some(found.kernel.image),
        Err(error) => {
            eprintln!("SKIP: {error}");
            None
        }
    }
}

/// Where the search path leads to for `program`.
pub(crate) fn program_in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|program| program.is_file())
}

/// Runs the case `case` of the example `example` with these variables set.
pub(crate) fn run(example_name: &str, case: &str, variables: &[(&str, &str)]) -> Run {
    let dir = tempfile::tempdir().unwrap();
    let results = dir.path().join("results");
    let mut command = Command::new(example(example_name));
    command.args([case, "--exact", "--nocapture", "--include-ignored"]);
    command
        .env("KTSTR_SIDECAR_DIR", &results)
        .env("KTSTR_LOCK_DIR", LOCK_DIR)
        // Whatever the session around this test was started with.
        .env_remove("KTSTR_NO_SKIP_MODE")
        .env_remove("KTSTR_KERNEL_LIST")
        .env_remove("KTSTR_SESSION")
        .env_remove("KTSTR_SCHEDULER");
    command.envs(variables.iter().copied());
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let names = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.unwrap().file_name().into_string().unwrap()
    };
    let files: Vec<String> = std::fs::read_dir(&results)
        .into_iter()
        .flatten()
        .map(names)
        .collect();
    let is_sidecar = |name: &&String| name.ends_with(Sidecar::SUFFIX);
    let sidecars = files
        .iter()
        .filter(is_sidecar)
        .map(|n| Sidecar::read(&results.join(n)).unwrap())
        .collect();
    Run {
        code: status.code().expect("an exit code"),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        sidecars,
        dump: files
            .iter()
            .find(|name| name.ends_with(Sidecar::FAILURE_DUMP_SUFFIX))
            .map(|name| std::fs::read_to_string(results.join(name)).unwrap())
            .unwrap_or_default(),
        files,
        _dir: dir,
    }
}
