//! Comparisons of two commits by runs, with a cargo that only pretends to have a nextest: its runs write the records that
//! are committed beside the tests.

#[path = "support/place.rs"]
mod place;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use ktstr_core::Verdict;
use ktstr_core::host::Host;
use ktstr_core::record::Sidecar;
use ktstr_driver::baseline::BaselineRequest;
use ktstr_driver::perf_delta::{
    Caveat, Commits, Finding, NoiseAdjusted, NoiseEvent, PerfDelta, PerfDeltaError, Rules,
};
use ktstr_driver::{CaseThresholds, Session};
use ktstr_vmm::CancelToken;
use place::Programs;

/// What a run of the tests does: it notes which commit it is of, and leaves its record.
const RUN: &str = r#"
    cat name >> "$LOG"
    echo "$*" > "$LOG.args"
    mkdir -p "$KTSTR_SIDECAR_DIR"
    cp record.json "$KTSTR_SIDECAR_DIR/steady-0000000000000000.ktstr.json"
"#;

struct Place {
    programs: Programs,
    told: Mutex<Vec<String>>,
}

impl Place {
    /// A repository whose tests have a gap of that many milliseconds at the base and at the head.
    fn new(gaps: [f64; 2]) -> Self {
        let place = Self {
            programs: Programs::new(RUN),
            told: Mutex::default(),
        };
        place.add_tests();
        place.git(&["init", "--quiet", "--initial-branch", "main"]);
        for (name, gap) in ["base", "head"].into_iter().zip(gaps) {
            fs::write(place.project().join("name"), format!("{name}\n")).unwrap();
            place.write_record(gap);
            place.git(&["add", "--all"]);
            place.git(&["commit", "--quiet", "-m", name]);
            place.git(&["tag", name]);
        }
        place
    }

    fn project(&self) -> PathBuf {
        self.programs.project()
    }

    fn write_record(&self, gap: f64) {
        let record = Sidecar {
            performance_mode: Some(true),
            performance_mode_declared: Some(true),
            metrics: BTreeMap::from([("max_gap_ms".to_owned(), gap)]),
            ..Sidecar::new("steady", "ktstr/steady", Verdict::pass())
        };
        let json = serde_json::to_vec(&record).unwrap();
        fs::write(self.project().join("record.json"), json).unwrap();
    }

    /// A test binary with a performance test and another one, and nextest's list of them.
    fn add_tests(&self) {
        let case = |case: &str, performance_mode| CaseThresholds {
            case: case.to_owned(),
            performance_mode,
            ..serde_json::from_value(serde_json::json!({
                "case": "", "scheduler": "eevdf", "topology": null, "thresholds": [],
                "expected_bpf_error": null, "expect_err": false, "allow_inconclusive": false,
                "auto_repro": true, "package": null,
            }))
            .unwrap()
        };
        let cases = [case("ktstr/steady", true), case("ktstr/other", false)];
        let lines = cases.map(|case| serde_json::to_string(&case).unwrap());
        let script = format!("[ \"$1\" = --thresholds ] && echo '{}'", lines.join("\n"));
        self.programs.add("tests", &script);
        let test = serde_json::json!({
            "kind": "test", "ignored": false, "filter-match": { "status": "matches" },
        });
        let list = serde_json::json!({
            "rust-build-meta": {
                "target-directory": "/t",
                "base-output-directories": [],
                "non-test-binaries": {},
                "linked-paths": [],
            },
            "test-count": 2,
            "rust-suites": { "p::tests": {
                "package-name": "p",
                "binary-id": "p::tests",
                "binary-name": "tests",
                "package-id": "p 0.1.0",
                "kind": "test",
                "binary-path": self.programs.path().join("bin/tests"),
                "build-platform": "target",
                "cwd": self.project(),
                "status": "listed",
                "testcases": { "ktstr/steady": test, "ktstr/other": test },
            } },
        });
        fs::write(self.project().join("list.json"), list.to_string()).unwrap();
    }

    fn git(&self, args: &[&str]) -> String {
        let config = ["user.name=a", "user.email=a@b", "commit.gpgsign=false"];
        let output = Command::new("git")
            .args(config.iter().flat_map(|value| ["-c", value]))
            .args(args)
            .current_dir(self.project())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn log(&self) -> PathBuf {
        self.programs.path().join("log")
    }

    fn host(&self) -> Host {
        let bin = self.programs.path().join("bin");
        let path = std::env::join_paths([bin, "/usr/bin".into(), "/bin".into()]).unwrap();
        Host {
            root: self.programs.path().join("no-devices"),
            env: [
                ("PATH".into(), path.clone()),
                (
                    "KTSTR_CACHE_DIR".into(),
                    self.programs.path().join("cache").into(),
                ),
                ("LOG".into(), self.log().into()),
            ]
            .into(),
            path,
            dir: self.programs.path().to_owned(),
        }
    }

    fn commits(&self) -> Commits {
        let request = BaselineRequest {
            base: Some("base".to_owned()),
            ..BaselineRequest::default()
        };
        Commits::of(&self.host(), &self.project(), &request).unwrap()
    }

    /// Compares by `runs` runs; it is cancelled when run `until` of all begins.
    fn compare(&self, runs: usize, until: usize) -> Result<PerfDelta, PerfDeltaError> {
        let cancel = CancelToken::new().unwrap();
        let observer = |event: NoiseEvent<'_>| {
            if let NoiseEvent::RunStarted { number, .. } = event
                && number == until
            {
                cancel.cancel();
            }
            if !matches!(event, NoiseEvent::Session(_)) {
                self.told.lock().unwrap().push(format!("{event:?}"));
            }
        };
        let session = Session::new(self.host(), self.project());
        let result = NoiseAdjusted::new(session, self.commits(), runs).run(
            &Rules::default(),
            &observer,
            &cancel,
        );
        assert_eq!(self.git(&["worktree", "list"]).lines().count(), 1);
        result
    }

    /// Of which commits there were runs, since this was asked the last time.
    fn runs(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let _ = fs::remove_file(self.log());
        log.replace('\n', " ").trim().to_owned()
    }
}

#[test]
fn commits_run_in_turn_and_what_got_worse_is_found() {
    let place = Place::new([10.0, 500.0]);
    let report = place.compare(3, 0).unwrap();
    assert_eq!(place.runs(), "base head head base base head");
    let args = fs::read_to_string(place.log().with_extension("args")).unwrap();
    assert!(
        args.contains("(binary_id(=p::tests) & (test(=ktstr/steady)))"),
        "{args}"
    );
    assert!(args.contains("--test-threads 1"), "{args}");
    let [comparison] = report.comparisons.as_slice() else {
        panic!("{report:?}")
    };
    assert_eq!(comparison.verdict, Finding::Regression);
    assert_eq!((comparison.base.runs, comparison.head.mean), (3, 500.0));
    assert!(report.caveats.is_empty() && !report.failed);
    // A comparison that was made is not one to go on with; changes of the work tree are not in it.
    place.write_record(1.0);
    let report = place.compare(2, 0).unwrap();
    assert_eq!(place.runs(), "base head head base");
    assert_eq!(report.caveats, [Caveat::UncommittedChanges]);
}

#[test]
fn an_interrupted_comparison_goes_on_where_it_was() {
    let place = Place::new([10.0, 10.0]);
    let error = place.compare(3, 4).unwrap_err();
    assert!(
        matches!(error, PerfDeltaError::Interrupted { done: 3, runs: 6 }),
        "{error}"
    );
    assert_eq!(place.runs(), "base head head");
    place.told.lock().unwrap().clear();
    let report = place.compare(3, 0).unwrap();
    assert_eq!(
        place.told.lock().unwrap()[0],
        "Resumed { done: 3, runs: 6 }"
    );
    assert_eq!(place.runs(), "base base head");
    assert_eq!((report.base.runs, report.head.runs), (3, 3));
    assert_eq!(report.findings().len(), 0);
}

#[test]
fn what_two_commits_cannot_share_is_refused() {
    let place = Place::new([1.0, 1.0]);
    let run = |session: Session, runs| {
        let cancel = CancelToken::new().unwrap();
        NoiseAdjusted::new(session, place.commits(), runs)
            .run(&Rules::default(), &|_: NoiseEvent<'_>| {}, &cancel)
            .unwrap_err()
            .to_string()
    };
    let session = || Session::new(place.host(), place.project());
    let error = run(session().nextest_args(["--target-dir", "x"]), 2);
    assert!(
        error.starts_with("--target-dir does not go with"),
        "{error}"
    );
    let error = run(session(), 1);
    assert!(error.ends_with("give 2 or more"), "{error}");
    assert_eq!(place.runs(), "");
}
