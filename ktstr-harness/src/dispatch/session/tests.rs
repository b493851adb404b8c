use std::os::unix::fs::symlink;
use std::process::Command;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// With what every session has, and nothing else.
pub(in super::super) fn least() -> SessionInfo {
    SessionInfo {
        id: "1-2".to_owned(),
        epoch: "e".to_owned(),
        runs_dir: "/r".into(),
        kernels: Vec::new(),
        commit: None,
        backend: None,
        backend_works: false,
        scheduler_profile: None,
        no_skip_mode: false,
        no_perf_mode: false,
        cpu_cap: None,
        raw_verifier_log: false,
        builder: None,
        selected: None,
        coverage: None,
    }
}

fn kernel(version: &str, image: PathBuf) -> NamedKernel {
    NamedKernel {
        label: KernelLabel::from_version(version),
        image,
    }
}

/// The least file with the fields of `other` in it.
fn with(other: Value) -> Vec<u8> {
    let mut file = json!({ "version": 1, "id": "x", "epoch": "e", "runs_dir": "/r" });
    let Value::Object(fields) = other else {
        panic!("{other}")
    };
    file.as_object_mut().unwrap().extend(fields);
    file.to_string().into_bytes()
}

#[test]
fn what_is_told_arrives() {
    let most = SessionInfo {
        runs_dir: "/a b;c=d\\e\"f/ktstr".into(),
        kernels: vec![
            kernel("6.12", "/k/;=\\\n".into()),
            kernel("6.14", OsString::from_vec(b"/k/\xff".to_vec()).into()),
        ],
        commit: Commit::parse("abc1234-dirty"),
        backend: Some(Backend::Kvm),
        backend_works: true,
        scheduler_profile: Some("dev".to_owned()),
        no_skip_mode: true,
        no_perf_mode: true,
        cpu_cap: NonZeroU32::new(3),
        raw_verifier_log: true,
        builder: Some("ktstr-1-2".to_owned()),
        selected: Some(BTreeMap::from([(
            "p::t".to_owned(),
            BTreeSet::from(["ktstr/a".to_owned()]),
        )])),
        coverage: Some(Coverage {
            target_dir: "/t".into(),
            objects: OsString::from_vec(b"/t/\xff".to_vec()).into(),
        }),
        ..least()
    };
    let dir = tempfile::tempdir().unwrap();
    let of_sessions = dir.path().join("sessions");
    for info in [least(), most] {
        let path = info.write(&of_sessions).unwrap();
        assert_eq!(SessionInfo::read(&path), Ok(info));
    }
    let later = with(json!({ "something": [1] }));
    assert_eq!(SessionInfo::parse(&later).unwrap().id, "x");
}

#[test]
fn hostile_files_are_refused_with_one_line() {
    for (fields, expected) in [
        (json!({ "version": 2 }), "it has version 2, and this test"),
        (json!({ "version": null }), "invalid type"),
        (json!({ "id": "../x" }), "`id` is not a name"),
        (json!({ "id": "x".repeat(101) }), "`id` is not a name"),
        (json!({ "builder": "" }), "`builder` is not a name"),
        (json!({ "epoch": "" }), "`epoch` is empty"),
        (json!({ "runs_dir": "r" }), "`runs_dir` is not an absolute"),
        (json!({ "runs_dir": [47, 0] }), "a path has a zero byte"),
        (
            json!({ "coverage": { "target_dir": "/t", "objects": "t" } }),
            "`coverage` has a path that is not absolute",
        ),
        (json!({ "backend": "xen" }), "xen"),
        (json!({ "commit": "../.." }), "`../..` is not a commit"),
        (json!({ "commit": "-dirty" }), "`-dirty` is not a commit"),
        (json!({ "cpu_cap": 0 }), "nonzero"),
        (json!({ "scheduler_profile": "" }), "is empty"),
        (
            json!({ "kernels": [{ "label": "a/b", "image": "/k" }] }),
            "`a/b` is not a kernel label",
        ),
        (
            json!({ "kernels": [{ "label": "kernel_1", "image": "k" }] }),
            "the image of kernel_1 is not an absolute path",
        ),
        (
            json!({ "kernels": [
                { "label": "kernel_1", "image": "/a" },
                { "label": "kernel_1", "image": "/b" },
            ] }),
            "two kernels are called kernel_1",
        ),
    ] {
        let why = SessionInfo::parse(&with(fields)).unwrap_err();
        assert!(why.contains(expected), "{why}: {expected}");
    }
    for bad in ["", "/r", "[]", r#"{"version": 1, "id": "x"}"#] {
        assert!(SessionInfo::parse(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn only_a_file_of_a_sensible_length_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (pipe, long) = (dir.path().join("pipe"), dir.path().join("long\nname"));
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    fs::write(&long, vec![b' '; 1 + usize::try_from(LIMIT).unwrap()]).unwrap();
    symlink("/dev/zero", dir.path().join("zero")).unwrap();
    for (path, expected) in [
        (pipe, "not a regular file"),
        (dir.path().join("zero"), "not a regular file"),
        (long, "too long"),
        (dir.path().join("none"), "No such file"),
        ("relative".into(), "not an absolute path"),
        ("{\"id\": \"x\"}".into(), "not an absolute path"),
    ] {
        let why = SessionInfo::read(&path).unwrap_err();
        assert!(why.contains(expected), "{why}: {expected}");
        assert!(!why.contains('\n'), "{why}");
    }
}

#[test]
fn files_of_sessions_that_were_killed_go_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let age = |path: &Path| {
        let old = std::time::SystemTime::now() - 2 * LEFTOVER;
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(old).unwrap();
    };
    let other = dir.path().join("other");
    fs::write(&other, "").unwrap();
    age(&other);
    let first = least().write(dir.path()).unwrap();
    let named = |id: &str| SessionInfo {
        id: id.to_owned(),
        ..least()
    };
    let second = named("2").write(dir.path()).unwrap();
    assert!(first.exists() && second.exists() && first != second);
    age(&first);
    named("3").write(dir.path()).unwrap();
    assert!(!first.exists() && second.exists() && other.exists());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = SessionInfo::parse(&bytes);
    }

    #[test]
    fn any_path_is_read_as_it_was_written(bytes in proptest::collection::vec(1..=255_u8, 0..20)) {
        let image = OsString::from_vec([&b"/"[..], &bytes].concat());
        let info = SessionInfo { kernels: vec![kernel("6.12", image.into())], ..least() };
        let json = serde_json::to_vec(&info.json()).unwrap();
        prop_assert_eq!(SessionInfo::parse(&json), Ok(info));
    }
}
