//! Replays by the library, with a cargo that only pretends to have a nextest.

#[path = "support/place.rs"]
mod place;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use ktstr_core::host::Host;
use ktstr_core::record::{KernelBuild, RunDir, Sidecar};
use ktstr_core::{KernelLabel, Verdict};
use ktstr_driver::replay::{Replay, ReplayError, ReplayOptions, ReplayRequest};
use ktstr_driver::{KernelRequest, SavedSession, SavedSessionError, Session, Silent};
use ktstr_kernel::{BaseConfig, CacheKey, ResolvedKernel};
use ktstr_vmm::{Backend, CancelToken};
use place::Programs;

struct Place(Programs);

impl Place {
    fn new() -> Self {
        Self(Programs::new(r#"printf '%s\n' "$@" >ran; exit 0"#))
    }

    fn project(&self) -> PathBuf {
        self.0.project()
    }

    fn host(&self, epoch: &str) -> Host {
        let bin = self.0.path().join("bin");
        let path = std::env::join_paths([bin, "/usr/bin".into(), "/bin".into()]).unwrap();
        let cache: OsString = self.0.path().join("cache").into();
        Host {
            root: self.0.path().join("no-devices"),
            env: [
                ("PATH".into(), path.clone()),
                ("KTSTR_CACHE_DIR".into(), cache),
                ("KTSTR_RUN_EPOCH".into(), epoch.into()),
            ]
            .into(),
            path,
            dir: self.project(),
        }
    }

    fn kernel(&self, version: &str, key: Option<&str>) -> ResolvedKernel {
        let image = self.project().join(version);
        fs::write(&image, "").unwrap();
        ResolvedKernel {
            image,
            vmlinux: None,
            config: None,
            label: KernelLabel::from_version(version),
            version: version.to_owned(),
            cache_key: key.map(|key| CacheKey::parse(key).unwrap()),
            dirty: false,
        }
    }

    fn runs(&self) -> PathBuf {
        self.project().join("target/ktstr")
    }

    /// A record of the session `epoch`.
    fn record(&self, epoch: &str, sidecar: &Sidecar) {
        let run = RunDir::new(self.runs().join("k-c"), epoch);
        run.write(sidecar, None::<&()>).unwrap();
    }

    fn find(&self) -> Replay {
        let session = Session::new(self.host("now"), self.project());
        Replay::find(&session, &ReplayRequest::default()).unwrap()
    }

    /// What nextest was called with last.
    fn ran(&self) -> String {
        let text = fs::read_to_string(self.project().join("ran")).unwrap();
        text.lines().collect::<Vec<_>>().join(" ")
    }

    /// Nextest lists these cases of `p::t`.
    fn lists(&self, names: &[&str]) {
        let case = r#"{"kind": "test", "ignored": false, "filter-match": {"status": "matches"}}"#;
        let cases: Vec<String> = names
            .iter()
            .map(|name| format!("\"{name}\": {case}"))
            .collect();
        let list = format!(
            r#"{{"rust-build-meta": {{"target-directory": "/t", "base-output-directories": [],
            "non-test-binaries": {{}}, "linked-paths": []}}, "test-count": 1, "rust-suites": {{"p::t": {{
            "package-name": "p", "binary-id": "p::t", "binary-name": "t", "package-id": "p 0.1.0", "kind": "test",
            "binary-path": "/t/t", "build-platform": "target", "cwd": "/p", "status": "listed",
            "testcases": {{{}}}}}}}}}"#,
            cases.join(", ")
        );
        fs::write(self.project().join("list.json"), list).unwrap();
    }
}

fn failure(case: &str, label: Option<&str>) -> Sidecar {
    Sidecar {
        binary_id: Some("p::t".to_owned()),
        kernel_label: label.map(KernelLabel::from_version),
        kernel_version: label.map(str::to_owned),
        ..Sidecar::new("t", case, Verdict::fail("x", "y"))
    }
}

#[test]
fn a_session_leaves_what_it_was_and_a_replay_is_the_same() {
    let place = Place::new();
    let cancel = CancelToken::new().unwrap();
    let key = "6.12.1-tarball-x86_64-lean-kc1";
    let host = place
        .host("e1")
        .with_vars([("KTSTR_SCHEDULER", "/s"), ("KTSTR_CI", "1")]);
    let session = Session::new(host, place.project())
        .kernels(vec![
            place.kernel("6.12.1", Some(key)),
            place.kernel("6.13", None),
        ])
        .kernel_request(KernelRequest {
            identifiers: vec!["6.12".to_owned(), "./6.13".to_owned()],
            base_config: Some(BaseConfig::Lean),
            include_eol: true,
        })
        .release(true)
        .scheduler_profile(Some("dev".to_owned()))
        .nextest_profile(Some("ci".to_owned()))
        .backend(Some(Backend::Qemu))
        .cpu_cap(Some(2))
        .no_skip_mode(true)
        .nextest_args(["-p", "p", "--retries", "2", "-E", "all()", "t"]);
    session.run(&Silent, &cancel).unwrap();
    // Nobody had built before: what is there is marked as cargo marks it.
    let tag = fs::read_to_string(place.project().join("target/CACHEDIR.TAG")).unwrap();
    assert!(tag.starts_with("Signature: 8a477f597d28d172789f06886806bc55\n"));
    let saved = SavedSession::read(&place.runs(), "e1").unwrap();
    assert_eq!(saved.identifiers, ["6.12", "./6.13"]);
    assert_eq!(saved.backend, Some(Backend::Qemu));
    assert_eq!(
        saved.variables,
        [("KTSTR_SCHEDULER".to_owned(), "/s".to_owned())].into()
    );
    assert_eq!(saved.kernels[0].cache_key.as_ref().unwrap().as_str(), key);
    assert!(saved.kernels[0].image_hash.is_none() && saved.kernels[1].image_hash.is_some());

    place.record("e1", &failure("ktstr/t/kernel_6_12_1", Some("6.12.1")));
    place.record("e1", &failure("ktstr/t/kernel_6_13", Some("6.13")));
    place.record("e1", &failure("host/t", None));
    let replay = place.find();
    assert!(replay.is_own());
    assert_eq!(replay.failures.len(), 3);
    // Neither is a kernel, as images of nothing are none.
    let host = place.host("e2");
    let kernels = replay.kernels(&host, &place.project());
    let gone: Vec<_> = kernels
        .into_iter()
        .map(|it| it.kernel.unwrap_err())
        .collect();
    assert_eq!(gone[0].identifier.as_deref(), Some("6.12.1"));
    assert_eq!(gone[0].base_config, Some(BaseConfig::Lean));
    assert_eq!(gone[1].identifier, None, "an image is not built");
    assert_eq!(
        replay.other_variables(&host),
        [("KTSTR_SCHEDULER".to_owned(), "/s".to_owned())]
    );

    // With the kernels that it had, all is as it was; with one, names are others.
    let options = ReplayOptions {
        nextest_args: vec![
            "--retries".into(),
            "5".into(),
            "-E".into(),
            "test(t)".into(),
        ],
        ..ReplayOptions::default()
    };
    place.lists(&["ktstr/t/kernel_6_12_1", "ktstr/t/kernel_6_13", "host/t"]);
    let both = vec![place.kernel("6.12.1", None), place.kernel("6.13", None)];
    let again = replay
        .session(host.clone(), place.project(), &options)
        .kernels(both);
    let plan = replay.plan(again, false, &Silent, &cancel).unwrap();
    assert!(plan.missing.is_empty() && !plan.is_renamed);
    plan.run(&Silent, &cancel).unwrap();
    let expected = "nextest run --release --profile ci --run-ignored all --ignore-default-filter -E \
        (binary_id(=p::t) & (test(=host/t) | test(=ktstr/t/kernel_6_12_1) | test(=ktstr/t/kernel_6_13))) \
        & ((test(t))) -p p --retries 5";
    assert_eq!(place.ran(), expected);
    let saved = SavedSession::read(&place.runs(), "e2").unwrap();
    assert_eq!(
        (saved.no_skip_mode, saved.cpu_cap.map(u32::from)),
        (true, Some(2))
    );
    assert_eq!(saved.variables["KTSTR_SCHEDULER"], "/s");

    let one = vec![place.kernel("6.13", None)];
    place.lists(&["ktstr/t", "host/other"]);
    let again = replay
        .session(host.clone(), place.project(), &options)
        .kernels(one);
    let plan = replay.plan(again, false, &Silent, &cancel).unwrap();
    assert_eq!(plan.filter, "binary_id(=p::t) & test(=ktstr/t)");
    assert!(plan.is_renamed);
    assert_eq!(plan.missing[0].to_string(), "p::t host/t");
    assert_eq!(plan.without_kernel[0].1.as_str(), "kernel_6_12_1");
    place.lists(&[]);
    let again = replay.session(host, place.project(), &options);
    let error = replay.plan(again, false, &Silent, &cancel).unwrap_err();
    assert!(
        matches!(&error, ReplayError::TestsGone(gone) if gone.len() == 1),
        "{error}"
    );
}

#[test]
fn records_alone_tell_the_kernels_and_a_broken_file_is_told() {
    let place = Place::new();
    let key = "6.12.1-tarball-x86_64-kc1";
    place.record(
        "e1",
        &Sidecar {
            kernel_build: Some(KernelBuild {
                key: key.to_owned(),
                base_config: "lean".to_owned(),
                built: String::new(),
            }),
            ..failure("ktstr/t", Some("6.12.1"))
        },
    );
    let replay = place.find();
    let options = replay.session.as_ref().unwrap().options.as_ref();
    assert!(matches!(options, Err(SavedSessionError::Missing { .. })));
    let host = place.host("e2");
    let [kernel] = replay.kernels(&host, Path::new("/")).try_into().unwrap();
    let gone = kernel.kernel.unwrap_err();
    assert_eq!(gone.identifier.as_deref(), Some("6.12.1"));
    assert!(gone.to_string().contains(key), "{gone}");
    let cancel = CancelToken::new().unwrap();
    let session = replay.session(host, place.project(), &ReplayOptions::default());
    let error = replay.plan(session, false, &Silent, &cancel).unwrap_err();
    assert!(error.to_string().contains("kernel_6_12_1"), "{error}");

    let saved = place.runs().join(".sessions");
    fs::create_dir_all(&saved).unwrap();
    fs::write(saved.join("e1.json"), r#"{"schema": 2}"#).unwrap();
    let replay = place.find();
    assert_eq!(replay.failures.len(), 1);
    let options = replay.session.unwrap().options;
    assert!(matches!(
        options,
        Err(SavedSessionError::Schema { found: 2, .. })
    ));
}
