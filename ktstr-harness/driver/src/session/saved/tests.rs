use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;

use proptest::prelude::*;

use super::check::{Fault, parse};
use super::*;

fn example(epoch: &str) -> SavedSession {
    SavedSession {
        schema: SavedSession::SCHEMA,
        epoch: epoch.to_owned(),
        started: "2026-11-28T04:00:37Z".to_owned(),
        dir: "/project".into(),
        identifiers: vec!["6.14".to_owned(), "../linux".to_owned()],
        base_config: Some(BaseConfig::Lean),
        include_eol: true,
        kernels: vec![
            SavedKernel {
                label: KernelLabel::from_version("6.14.2"),
                version: "6.14.2".to_owned(),
                image: "/cache/kernels/6.14.2-tarball-x86_64-kc1/bzImage".into(),
                cache_key: CacheKey::parse("6.14.2-tarball-x86_64-kc1").ok(),
                image_hash: None,
                dirty: false,
            },
            SavedKernel {
                label: KernelLabel::from_version("6.15"),
                version: "6.15".to_owned(),
                image: OsString::from_vec(b"/\xff".to_vec()).into(),
                cache_key: None,
                image_hash: Some("0".repeat(32)),
                dirty: true,
            },
        ],
        release: true,
        scheduler_profile: Some("dev".to_owned()),
        nextest_profile: Some("ci".to_owned()),
        backend: Some(Backend::Qemu),
        no_perf_mode: true,
        no_skip_mode: true,
        cpu_cap: NonZeroU32::new(2),
        raw_verifier_log: true,
        nextest_args: vec!["-p".into(), OsString::from_vec(b"\xff".to_vec())],
        variables: [("KTSTR_SCHEDULER".to_owned(), "/s".to_owned())].into(),
    }
}

#[test]
fn what_was_written_is_read_from_the_tree_and_from_a_directory_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let records = dir.path().join("ktstr");
    for epoch in ["1-2", "my run", "", ".", "../x", &"x".repeat(300)] {
        let saved = example(epoch);
        let path = saved.write(&records).unwrap();
        assert_eq!(path.parent(), Some(records.join(DIR).as_path()), "{epoch}");
        assert_eq!(SavedSession::read(&records, epoch).unwrap(), saved);
        let run = records.join("6.14.2-abc1234");
        assert_eq!(SavedSession::read(&run, epoch).unwrap(), saved);
    }
    let error = SavedSession::read(&records, "other").unwrap_err();
    assert!(
        matches!(error, SavedSessionError::Missing { .. }),
        "{error}"
    );
    let least = r#"{ "schema": 1, "epoch": "e", "later": [1] }"#;
    assert_eq!(parse(least.as_bytes(), "e").unwrap().kernels, []);
}

#[test]
fn the_newest_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let records = dir.path();
    for epoch in 0..KEPT + 5 {
        let path = example(&epoch.to_string()).write(records).unwrap();
        let begun = SystemTime::now() - Duration::from_secs(1000 - epoch as u64);
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(begun).unwrap();
    }
    fs::write(records.join(DIR).join("notes.txt"), "mine").unwrap();
    example("last").write(records).unwrap();
    let left = fs::read_dir(records.join(DIR)).unwrap().count();
    assert_eq!(left, KEPT + 1);
    assert!(SavedSession::read(records, "5").is_err());
    assert!(SavedSession::read(records, "6").is_ok());
}

#[test]
fn what_is_hostile_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let records = dir.path();
    let path = example("e").write(records).unwrap();
    let good = fs::read_to_string(&path).unwrap();
    let error = |text: &str| {
        fs::write(&path, text).unwrap();
        let error = SavedSession::read(records, "e").unwrap_err().to_string();
        assert!(error.contains("e.json"), "{error}");
        error
    };
    assert!(error("{").contains("not what this ktstr writes"));
    assert!(error(r#"{ "schema": 7 }"#).contains("in layout 7, this ktstr reads 1"));
    for (from, to, expected) in [
        (r#""epoch": "e""#, r#""epoch": "f""#, "another session's"),
        (
            r#""dev""#,
            r#""--config""#,
            "`scheduler_profile` is not a name",
        ),
        (r#""ci""#, r#""""#, "`nextest_profile` is not a name"),
        (r#""6.14""#, r#""-x""#, "`identifiers`"),
        (r#""-p""#, r#""a\u0000b""#, "a NUL"),
        (
            "KTSTR_SCHEDULER",
            "LD_PRELOAD",
            "`variables` has `LD_PRELOAD`",
        ),
        ("\"kernel_6_15\"", "\"../x\"", "label is none"),
        ("\"/cache/", "\"cache/", "not an absolute path"),
        (
            "6.14.2-tarball-x86_64-kc1\",\n      \"image_hash\"",
            "/x\",\n      \"image_hash\"",
            "not a cache key",
        ),
        ("\"qemu\"", "\"xen\"", "unknown backend"),
        ("\"cpu_cap\": 2", "\"cpu_cap\": 0", "not what"),
    ] {
        assert!(good.contains(from), "{from}: {good}");
        let error = error(&good.replace(from, to));
        assert!(error.contains(expected), "{error}");
    }
    fs::File::create(&path).unwrap().set_len(1 << 30).unwrap();
    let error = SavedSession::read(records, "e").unwrap_err().to_string();
    assert!(error.contains("1073741824 bytes"), "{error}");
    fs::write(dir.path().join("good"), good).unwrap();
    fs::remove_file(&path).unwrap();
    symlink(dir.path().join("good"), &path).unwrap();
    let error = SavedSession::read(records, "e").unwrap_err().to_string();
    assert!(error.contains("not a regular file"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// A file that was damaged anywhere is read or refused.
    #[test]
    fn any_damage_is_an_error_or_a_session(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = serde_json::to_vec(&example("e")).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if byte % 2 == 0 {
            bytes.truncate(at + 1);
        }
        match parse(&bytes, "e") {
            Ok(session) => prop_assert_eq!(session.epoch, "e"),
            Err(Fault::Schema(found)) => prop_assert_ne!(found, 1),
            Err(Fault::Other(_)) => {}
        }
    }
}
