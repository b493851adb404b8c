use super::*;
use proptest::prelude::*;

/// Cut from what kernel.org had in 2025, with its fields.
const INDEX: &str = r#"{
 "latest_stable": { "version": "6.15.3" },
 "releases": [
  {"iseol": false, "version": "6.16-rc3", "moniker": "mainline",
   "source": "https://git.kernel.org/torvalds/t/linux-6.16-rc3.tar.gz", "pgp": null,
   "released": {"timestamp": 1750628040, "isodate": "2025-06-22"},
   "gitweb": "https://git.kernel.org/torvalds/h/v6.16-rc3", "changelog": null,
   "diffview": "https://git.kernel.org/torvalds/ds/v6.16-rc3/v6.15",
   "patch": {"full": "https://git.kernel.org/torvalds/p/v6.16-rc3/v6.15", "incremental": null}},
  {"iseol": false, "version": "6.15.3", "moniker": "stable",
   "source": "https://cdn.kernel.org/pub/linux/kernel/v6.x/linux-6.15.3.tar.xz",
   "released": {"timestamp": 1750337040, "isodate": "2025-06-19"}},
  {"iseol": true, "version": "6.14.11", "moniker": "stable",
   "released": {"timestamp": 1749562200, "isodate": "2025-06-10"}},
  {"iseol": false, "version": "6.12.34", "moniker": "longterm",
   "released": {"timestamp": 1750337040, "isodate": "2025-06-19"}},
  {"iseol": false, "version": "6.6.94", "moniker": "longterm", "released": {"isodate": "soon"}},
  {"iseol": false, "version": "5.4.294", "moniker": "longterm"},
  {"iseol": false, "version": "next-20250623", "moniker": "linux-next", "released": null}
 ]
}"#;

fn release(text: &str) -> Release {
    Release::parse(text).unwrap()
}

fn index() -> Releases {
    Releases::parse(INDEX.as_bytes()).unwrap()
}

#[test]
fn reads_kernel_orgs_index() {
    let index = index();
    let numbers: Vec<String> = index
        .entries()
        .iter()
        .map(|entry| entry.release.to_string())
        .collect();
    let expected = [
        "5.4.294", "6.6.94", "6.12.34", "6.14.11", "6.15.3", "6.16-rc3",
    ];
    assert_eq!(numbers, expected);
    let newest = index.entries().last().unwrap();
    assert_eq!(newest.moniker, Moniker::Mainline);
    assert_eq!(newest.released.as_deref(), Some("2025-06-22"));
    assert_eq!(index.entries()[1].released, None);
    assert_eq!(index.age(), Duration::ZERO);
}

#[test]
fn answers_what_is_asked_of_it() {
    let index = index();
    assert_eq!(index.newest_of((6, 14)), Some(release("6.14.11")));
    assert_eq!(index.newest_of((6, 16)), Some(release("6.16-rc3")));
    assert_eq!(index.newest_of((6, 13)), None);
    let within = |start, end| index.within(release(start), release(end));
    // 6.14 is no longer maintained, 6.16 not yet released.
    assert_eq!(
        within("6.6", "6.16"),
        ["6.6.94", "6.12.34", "6.15.3"].map(release)
    );
    assert_eq!(within("6.12.34", "6.15.2"), [release("6.12.34")]);
    assert_eq!(within("6.12.35", "6.14"), []);
    for (series, eol) in [
        ((6, 15), Some(false)),
        ((6, 14), Some(true)),
        ((6, 13), Some(true)),
        ((4, 19), Some(true)),
        ((6, 16), Some(false)),
        ((6, 17), None),
        ((7, 0), None),
    ] {
        assert_eq!(index.is_eol(series), eol, "{series:?}");
    }
}

#[test]
fn settled_is_the_newest_series_of_eight_maintenance_releases() {
    let settled = |stable: &str| {
        let index = INDEX.replace("6.15.3", stable);
        let index = Releases::parse(index.as_bytes()).unwrap();
        index.latest_settled().map(|release| release.to_string())
    };
    // 6.14.11 has them, but is no longer maintained.
    assert_eq!(settled("6.15.3").as_deref(), Some("6.12.34"));
    assert_eq!(settled("6.15.7").as_deref(), Some("6.12.34"));
    assert_eq!(settled("6.15.8").as_deref(), Some("6.15.8"));
    assert_eq!(settled("6.15").as_deref(), Some("6.12.34"));
    let young = r#"{"releases": [{"version": "7.0.2", "moniker": "stable"}]}"#;
    let young = Releases::parse(young.as_bytes()).unwrap();
    assert_eq!(young.latest_settled(), None);
}

#[test]
fn a_first_release_has_patch_zero() {
    let index = INDEX.replace("6.16-rc3", "6.16");
    let index = Releases::parse(index.as_bytes()).unwrap();
    assert_eq!(index.newest_of((6, 16)), Some(release("6.16.0")));
}

#[test]
fn the_newest_of_each_kind() {
    let newest = |json: &str| {
        let index = Releases::parse(json.as_bytes()).unwrap();
        [Newest::Stable, Newest::Mainline, Newest::Longterm]
            .map(|kind| index.newest(kind).map(|release| release.to_string()))
    };
    let some = |texts: [&str; 3]| texts.map(|text| Some(text.to_owned()));
    assert_eq!(newest(INDEX), some(["6.15.3", "6.16-rc3", "6.12.34"]));
    // Just out: kernel.org calls it the latest stable one.
    assert_eq!(
        newest(&INDEX.replace("6.16-rc3", "6.16")),
        some(["6.16.0", "6.16.0", "6.12.34"])
    );
    let one = r#"{"releases": [{"version": "7.0.2", "moniker": "stable"}]}"#;
    assert_eq!(newest(one), [Some("7.0.2".to_owned()), None, None]);
}

#[test]
fn what_is_missing_or_odd_beside_number_and_kind_is_skipped() {
    let index = r#"{"releases": [
        {"version": "6.17.1"},
        {"moniker": "stable"},
        {"version": "6.16.1", "moniker": null},
        "noise",
        {"version": "6.15.3", "moniker": "stable", "iseol": "no", "released": "yesterday"},
        {"version": "6.12.34", "moniker": "longterm", "iseol": true, "released": {"isodate": 20250619}},
        {"version": "6.6.94", "moniker": "longterm", "released": {"timestamp": 1750337040, "isodate": "2025-6-9"}}
    ]}"#;
    let index = Releases::parse(index.as_bytes()).unwrap();
    let listed: Vec<_> = index
        .entries()
        .iter()
        .map(|entry| (entry.release.to_string(), entry.eol, entry.released.clone()))
        .collect();
    let expected = [("6.6.94", false), ("6.12.34", true), ("6.15.3", false)];
    assert_eq!(
        listed,
        expected.map(|(release, eol)| (release.to_owned(), eol, None))
    );
    for text in [
        "[]",
        r#"{"releases": 5}"#,
        r#"{"releases": [{"version": []}]}"#,
        "5",
        "{",
    ] {
        let error = Releases::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(
            !error.contains("Raw") && !error.contains("struct"),
            "{error}"
        );
    }
}

#[test]
fn what_it_writes_it_reads() {
    let json = serde_json::json!({ "releases": index().to_json() });
    assert_eq!(Releases::parse(json.to_string().as_bytes()), Ok(index()));
}

#[test]
fn what_is_no_index_is_refused_with_a_reason() {
    let many = r#"{"version": "6.6.1", "moniker": "stable"},"#.repeat(ENTRIES + 1);
    let many = format!("{{\"releases\": [{}]}}", many.trim_end_matches(','));
    for (text, part) in [
        ("", "not in the form"),
        ("<html>", "not in the form"),
        ("[]", "not in the form"),
        (r#"{"releases": {}}"#, "not in the form"),
        (
            r#"{"releases": [{"version": 6, "moniker": "stable"}]}"#,
            "not in the form",
        ),
        (r#"{"releases": []}"#, "lists no stable"),
        (
            r#"{"releases": [{"version": "x", "moniker": "stable"}]}"#,
            "lists no stable",
        ),
        (
            r#"{"releases": [{"version": "6.1-rc1", "moniker": "stable"}]}"#,
            "lists no stable",
        ),
        (&many, "larger"),
        (&" ".repeat(2 << 20), "larger"),
        (&"[".repeat(100_000), "not in the form"),
    ] {
        let message = Releases::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(
            message.contains(part),
            "{}: {message}",
            &text[..text.len().min(60)]
        );
        assert!(!message.contains('\n'), "{message}");
    }
}

/// Uses all that can be asked; nothing of it may fail.
fn ask(index: &Releases, a: Release, b: Release) {
    let (start, end) = if a <= b { (a, b) } else { (b, a) };
    for found in index.within(start, end) {
        assert!(found.is_within(&start, &end) && found.rc.is_none());
    }
    let series = (a.major, a.minor);
    if let Some(newest) = index.newest_of(series) {
        assert_eq!((newest.major, newest.minor), series);
        assert!(index.is_eol(series).is_some());
    }
    assert!(
        index
            .latest_settled()
            .is_none_or(|found| found.patch >= Some(8))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_mutated_index_is_read_or_refused(
        at in 0..INDEX.len(),
        len in 0..40usize,
        noise in prop_oneof![
            "[0-9.\\-rc]{0,6}",
            r#"[\[\]{}:,"a-z0-9 ]{0,12}"#,
            "\\PC{0,8}",
        ],
    ) {
        let mut bytes = INDEX.as_bytes().to_vec();
        bytes.splice(at..(at + len).min(INDEX.len()), noise.bytes());
        match Releases::parse(&bytes) {
            Ok(index) => ask(&index, release("6.12"), release("6.16-rc1")),
            Err(error) => prop_assert!(!error.to_string().contains('\n')),
        }
    }

    #[test]
    fn a_random_index_is_read_or_refused(
        entries in proptest::collection::vec(
            ("[0-9]{1,5}\\.[0-9]{1,5}(\\.[0-9]{1,6}|-rc[0-9]{1,2})?",
             "stable|longterm|mainline|linux-next|x", any::<bool>()),
            0..8,
        ),
        a in (0..20u16, 0..20u16, proptest::option::of(0..99u16)),
        b in (0..20u16, 0..20u16, proptest::option::of(0..99u16)),
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let entries: Vec<_> = entries.iter().map(|(version, moniker, eol)| {
            serde_json::json!({"version": version, "moniker": moniker, "iseol": eol})
        }).collect();
        let json = serde_json::json!({"releases": entries}).to_string();
        let of = |(major, minor, patch)| Release { major, minor, patch, rc: None };
        match Releases::parse(json.as_bytes()) {
            Ok(index) => ask(&index, of(a), of(b)),
            Err(error) => prop_assert_eq!(error, ReleasesError::Empty),
        }
        prop_assert!(Releases::parse(&bytes).is_err());
    }
}
