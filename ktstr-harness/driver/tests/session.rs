//! Sessions by the library, with a cargo that only pretends to have a nextest.

#[path = "support/place.rs"]
mod place;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::Mutex;

use ktstr_core::Verdict;
use ktstr_core::host::Host;
use ktstr_core::record::Limit;
use ktstr_core::record::{RunDir, Sidecar};
use ktstr_driver::{
    AskError, CaseThresholds, FindTestError, KernelChoice, NextestStreams, OutputStream, Session,
    SessionError, SessionEvent, SessionObserver, Silent, Threshold,
};
use ktstr_harness::runner::FailureArtifacts;
use ktstr_kernel::Remedy;
use ktstr_vmm::{Backend, CancelToken};
use place::Programs;

/// A project, its host, and what was told of a session.
struct Place {
    programs: Programs,
    told: Mutex<Vec<String>>,
}

impl Place {
    fn new(nextest: &str) -> Self {
        Self {
            programs: Programs::new(nextest),
            told: Mutex::default(),
        }
    }

    fn path(&self) -> &Path {
        self.programs.path()
    }

    /// A host of nothing but the project's programs and the system's.
    fn host(&self) -> Host {
        let bin = self.path().join("bin");
        let path = std::env::join_paths([bin, "/usr/bin".into(), "/bin".into()]).unwrap();
        Host {
            root: self.path().join("no-devices"),
            env: [
                ("PATH".into(), path.clone()),
                ("KTSTR_CACHE_DIR".into(), self.path().join("cache").into()),
                ("KTSTR_RUN_EPOCH".into(), "e1".into()),
                ("MARK".into(), "seen".into()),
            ]
            .into(),
            path,
            dir: self.path().to_owned(),
        }
    }

    fn session(&self) -> Session {
        Session::new(self.host(), self.programs.project())
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }
}

impl SessionObserver for Place {
    fn event(&self, event: SessionEvent<'_>) {
        let text = match event {
            SessionEvent::NextestStarted { .. } => "started".to_owned(),
            SessionEvent::NextestOutput { stream, line } => {
                let mark = match stream {
                    OutputStream::Stdout => "out",
                    OutputStream::Stderr => "err",
                };
                format!("{mark}: {}", String::from_utf8_lossy(line))
            }
            SessionEvent::NextestEnded { status } => format!("ended {}", status.into_raw()),
            SessionEvent::RecordsFound { runs } => format!("{} runs", runs.len()),
            other => format!("{other:?}"),
        };
        self.told.lock().unwrap().push(text);
    }
}

fn token() -> CancelToken {
    CancelToken::new().unwrap()
}

#[test]
fn a_session_tells_what_happens() {
    let place = Place::new("echo \"$MARK $HOME\"; echo said >&2; exit 100");
    let run = RunDir::new(place.programs.project().join("target/ktstr/r"), "e1");
    let failed = Sidecar::new("bad", "ktstr/bad", Verdict::fail("x", "y"));
    let evidence = serde_json::json!({ "kernel_log": "oops" });
    run.write(&failed, Some(&evidence)).unwrap();
    let report = place.session().run(&place, &token()).unwrap();
    assert_eq!((report.exit_code, report.cancelled), (100, false));
    assert_eq!(report.tally().to_string(), "1 failed");
    let record = report.runs[0].failures().next().unwrap();
    let evidence = FailureArtifacts::of(record).unwrap().unwrap();
    assert_eq!(evidence.kernel_log, "oops");
    let (lines, told): (Vec<String>, Vec<String>) = place
        .told()
        .into_iter()
        .partition(|text| text.starts_with("out: ") || text.starts_with("err: "));
    // The streams have no order between them. Of the environment there is what the host has.
    assert!(lines.contains(&"out: seen ".to_owned()), "{lines:?}");
    assert!(lines.contains(&"err: said".to_owned()), "{lines:?}");
    assert_eq!(told, ["started", "ended 25600", "1 runs"]);
}

#[test]
fn a_cancelled_session_ends_in_order() {
    // It ends when it is told to, and not before.
    let place = Place::new("trap 'exit 7' TERM; echo ready; while :; do sleep 1000 & wait; done");
    let cancel = token();
    let observer = |event: SessionEvent<'_>| {
        if let SessionEvent::NextestOutput { line, .. } = event {
            assert_eq!(line, b"ready");
            cancel.cancel();
        }
    };
    let report = place.session().run(&observer, &cancel).unwrap();
    assert_eq!((report.exit_code, report.cancelled), (7, true));
    assert!(report.runs.is_empty());
    // What was cancelled is not begun again.
    let again = place.session();
    let error = again.run(&Silent, &cancel).unwrap_err();
    assert!(matches!(error, SessionError::Cancelled), "{error}");
    let error = again.list(&Silent, &cancel).unwrap_err();
    assert!(matches!(error, SessionError::Cancelled), "{error}");
}

#[test]
fn signals_of_this_process_stay_as_they_are() {
    let handled = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("SigCgt:"));
        line.unwrap().to_owned()
    };
    let before = handled();
    let place = Place::new("exit 0");
    for streams in [NextestStreams::Events, NextestStreams::Inherited] {
        let seen = Mutex::new(None);
        let observer = |event: SessionEvent<'_>| {
            if matches!(event, SessionEvent::NextestStarted { .. }) {
                *seen.lock().unwrap() = Some(handled());
            }
        };
        let session = place.session().streams(streams);
        session.run(&observer, &token()).unwrap();
        assert_eq!(seen.into_inner().unwrap().as_ref(), Some(&before));
    }
}

#[test]
fn what_a_session_needs_is_looked_for_before_it_runs() {
    let place = Place::new("exit 0");
    let prepare = |session: Session, source| session.prepare(source, &place);
    // Without a kernel anywhere.
    let error = prepare(place.session(), KernelChoice::Discover).unwrap_err();
    assert!(matches!(error, SessionError::Kernel(_)), "{error}");
    assert_eq!(error.remedy(), Some(Remedy::BuildAny));
    prepare(place.session(), KernelChoice::Given).unwrap();
    // A backend that was asked for has to be there; there is no /dev/kvm on this host.
    let wanted = place.session().backend(Some(Backend::Kvm));
    let error = prepare(wanted, KernelChoice::Given).unwrap_err();
    assert!(matches!(error, SessionError::Backend(_)), "{error}");
    let mut host = place.host();
    host.env.insert("KTSTR_BACKEND".into(), "xen".into());
    let odd = Session::new(host, place.programs.project());
    let error = prepare(odd, KernelChoice::Given).unwrap_err();
    assert!(error.to_string().starts_with("KTSTR_BACKEND: "), "{error}");
    let mut host = place.host();
    host.path = "/nowhere".into();
    let none = Session::new(host, place.programs.project());
    let error = prepare(none, KernelChoice::Given).unwrap_err();
    assert!(matches!(error, SessionError::NoNextest), "{error}");
    fs::remove_file(place.programs.project().join("Cargo.toml")).unwrap();
    let error = prepare(place.session(), KernelChoice::Given).unwrap_err();
    assert!(matches!(error, SessionError::NoProject { .. }), "{error}");
}

#[test]
fn thresholds_are_data_and_another_versions_answer_is_told() {
    let place = Place::new("exit 1");
    let binary = place.path().join("bin/tests");
    let list = serde_json::json!({
        "rust-build-meta": {
            "target-directory": "/t",
            "base-output-directories": [],
            "non-test-binaries": {},
            "linked-paths": [],
        },
        "test-count": 1,
        "rust-suites": { "p::tests": {
            "package-name": "p",
            "binary-id": "p::tests",
            "binary-name": "tests",
            "package-id": "p 0.1.0",
            "kind": "test",
            "binary-path": binary,
            "build-platform": "target",
            "cwd": place.path(),
            "status": "listed",
            "testcases": { "ktstr/steady": {
                "kind": "test",
                "ignored": false,
                "filter-match": { "status": "matches" },
            } },
        } },
    });
    fs::write(place.programs.project().join("list.json"), list.to_string()).unwrap();
    let case = CaseThresholds {
        case: "ktstr/steady".to_owned(),
        scheduler: "eevdf".to_owned(),
        topology: Some("1n1l2c1t".to_owned()),
        thresholds: vec![Threshold {
            name: "max_gap_ms".to_owned(),
            limit: Some(Limit::Number(500.0)),
            unit: "ms".to_owned(),
            implied_by: None,
        }],
        expected_bpf_error: None,
        expect_err: false,
        allow_inconclusive: false,
        auto_repro: true,
        performance_mode: false,
    };
    let ask = |test: &str| place.session().thresholds(test, &Silent, &token());
    let json = serde_json::to_string(&case).unwrap();
    place.programs.add(
        "tests",
        &format!("[ \"$1\" = --thresholds ] && echo '{json}'"),
    );
    assert_eq!(ask("steady").unwrap(), [case]);
    let error = ask("other").unwrap_err();
    assert!(matches!(error, FindTestError::Unknown(_)), "{error}");
    place
        .programs
        .add("tests", "echo 'ktstr/steady [sched=eevdf]'");
    let error = ask("ktstr/steady").unwrap_err();
    assert!(
        matches!(error, FindTestError::Ask(AskError::Answer { .. })),
        "{error}"
    );
    let start = format!("{}: ", binary.display());
    assert!(error.to_string().starts_with(&start), "{error}");
}
