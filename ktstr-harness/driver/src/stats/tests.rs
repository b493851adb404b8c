//! Analyses of records in memory and on disk, good and bad.

use std::fs;
use std::path::Path;

use ktstr_core::record::{
    MachineSetup, Record, RecordKind, RunDir, RunStore, SchedulerExit, Sidecar, Stage, Timings,
    VerifiedProgram, VerifierStats, standing_by,
};
use ktstr_core::{KernelLabel, KernelWarning, Outcome, Preset, Verdict};
use proptest::prelude::*;

use super::analysis::of_facts;
use super::facts::Facts;
use super::outliers::Spread;
use super::*;

fn variant(test: &str, preset: Preset, verdict: Verdict) -> Sidecar {
    Sidecar {
        variant: preset.name.to_owned(),
        topology: Some(preset.topology),
        kernel_label: Some(KernelLabel::from_version("6.12.1")),
        started: "2026-01-01T00:00:00Z".to_owned(),
        ..Sidecar::new(test, &format!("gauntlet/{test}/{}", preset.name), verdict)
    }
}

fn with_metric(mut sidecar: Sidecar, name: &str, value: f64) -> Sidecar {
    sidecar.metrics.insert(name.to_owned(), value);
    sidecar
}

fn write(dir: &Path, epoch: &str, sidecar: &Sidecar) {
    RunDir::new(dir, epoch).write(sidecar, None::<&()>).unwrap();
}

fn record(sidecar: Sidecar) -> Record {
    Record {
        path: "/r/a.ktstr.json".into(),
        sidecar,
        failure_dump: None,
        kind: RecordKind::Latest,
    }
}

fn analysis(sidecars: impl IntoIterator<Item = Sidecar>) -> Analysis {
    let all: Vec<Facts> = sidecars
        .into_iter()
        .map(|sidecar| Facts::of(&record(sidecar)))
        .collect();
    let cases = standing_by(
        all.iter()
            .map(|facts| (facts.standing.clone(), facts.clone())),
    );
    of_facts(&all, &cases, Vec::new())
}

#[test]
fn a_variant_that_measured_something_else_stands_out() {
    let of = |values: &[f64]| {
        let cases = Preset::ALL.iter().zip(values).map(|(preset, value)| {
            with_metric(
                variant("steady", *preset, Verdict::pass()),
                "max_gap_ms",
                *value,
            )
        });
        analysis(cases).outliers
    };
    let [outlier] = &of(&[100.0, 110.0, 90.0, 105.0, 95.0, 900.0])[..] else {
        panic!("one")
    };
    assert_eq!((outlier.value, outlier.median), (900.0, 102.5));
    assert_eq!(outlier.mad, 7.5);
    assert!(
        (outlier.score - 797.5 / (1.4826 * 7.5)).abs() < 1e-9,
        "{outlier:?}"
    );
    assert_eq!((outlier.worse, outlier.unit.as_str()), (Some(true), "ms"));
    assert_eq!(outlier.values[outlier.position], 900.0);
    // Fewer than five cannot be told apart; the same values do not differ; a difference below the gate is none.
    assert_eq!(of(&[100.0, 110.0, 90.0, 900.0]), []);
    assert_eq!(of(&[100.0; 9]), []);
    assert_eq!(of(&[1.0, 1.0001, 1.0002, 1.0003, 1.0004, 1.01]), []);
    // More than half are the same: the mean deviation takes the place of the median one.
    let [outlier] = &of(&[10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 900.0])[..] else {
        panic!("one")
    };
    assert_eq!(outlier.mad, 0.0);
    assert!(
        (outlier.score - 7.0 / 1.253_314).abs() < 1e-9,
        "{outlier:?}"
    );
    let better = of(&[1000.0, 1010.0, 990.0, 1005.0, 995.0, 1.0]);
    assert_eq!(better[0].worse, Some(false));
}

#[test]
fn values_at_the_ends_of_the_numbers_have_a_finite_score() {
    for values in [
        [f64::MAX, f64::MIN, 0.0, 1.0, -1.0],
        [f64::MAX, f64::MAX, f64::MAX, f64::MAX, f64::MIN],
        [f64::MIN_POSITIVE, 0.0, 0.0, 0.0, f64::MAX],
        [0.0; 5],
    ] {
        let spread = Spread::of(&values).unwrap();
        for value in values {
            assert!(spread.score(value).is_finite(), "{values:?}: {spread:?}");
        }
    }
}

#[test]
fn each_finding_names_its_cases() {
    let exit = SchedulerExit {
        kind: "SCX_EXIT_ERROR_STALL".to_owned(),
        reason: "runnable task stall".to_owned(),
        message: "a[7]".to_owned(),
    };
    let ejected = |test: &str, verdict| Sidecar {
        scheduler: "mine".to_owned(),
        scheduler_exit: Some(exit.clone()),
        ..Sidecar::new(test, &format!("ktstr/{test}"), verdict)
    };
    let warned = Sidecar {
        kernel_warnings: vec![
            KernelWarning {
                line: "WARNING: CPU: 1 PID: 9 at x".to_owned(),
                allowed: true,
                at_boot: false,
            },
            KernelWarning {
                line: "WARNING: CPU: 2 PID: 8 at x".to_owned(),
                allowed: false,
                at_boot: false,
            },
        ],
        scheduler_restarts: 2,
        timings: Timings {
            boot_s: Some(1.5),
            scenario_s: Some(2.0),
            ..Timings::default()
        },
        ..Sidecar::new("warned", "ktstr/warned", Verdict::pass())
    };
    let flaky = |attempt, verdict| Sidecar {
        attempt,
        ..Sidecar::new("flaky", "ktstr/flaky", verdict)
    };
    let found = analysis([
        ejected("expected", Verdict::pass()),
        ejected("stalls", Verdict::fail("scheduler", "it stalled")),
        warned,
        flaky(1, Verdict::fail("max_gap_ms", "3 > 2")),
        flaky(2, Verdict::pass()),
        Sidecar::new("big", "ktstr/big", Verdict::skip("192 CPUs at most")),
    ]);
    let [one] = &found.exits[..] else {
        panic!("{:?}", found.exits)
    };
    assert_eq!(
        (one.cases, one.in_passed, one.example.as_str()),
        (2, 1, "ktstr/stalls")
    );
    assert_eq!(found.restarts[0].restarts, 2);
    let [fault] = &found.kernel_faults[..] else {
        panic!("{:?}", found.kernel_faults)
    };
    assert_eq!((fault.cases, fault.allowed), (1, 0));
    assert_eq!(fault.line, "WARNING: CPU: N PID: N at x");
    let [retried] = &found.retries[..] else {
        panic!("{:?}", found.retries)
    };
    assert_eq!(
        (retried.attempts, retried.failed, retried.outcome),
        (2, 1, Outcome::Pass)
    );
    assert_eq!(retried.why, ["max_gap_ms: 3 > 2"]);
    assert_eq!(found.skips[0].why, "192 CPUs at most");
    assert_eq!((found.times.len(), found.times[0].total_s), (1, 3.5));
    // The one that failed comes first.
    assert_eq!(found.verdicts[0].test, "stalls");
    let mut counts = Counts::default();
    for case in found.verdicts.iter().flat_map(|test| &test.cases) {
        counts.add(case.outcome);
    }
    assert_eq!(
        counts,
        Counts {
            pass: 3,
            fail: 1,
            inconclusive: 0,
            skip: 1
        }
    );
}

fn cell(insns: u64, preset: Preset) -> Sidecar {
    let label = KernelLabel::from_version("6.12.1");
    let case = format!("verifier/mine/{label}/{}", preset.name);
    Sidecar {
        scheduler: "mine".to_owned(),
        verifier: Some(VerifierStats {
            stage: Stage::Liveness,
            load_s: None,
            programs: vec![
                VerifiedProgram {
                    name: "enqueue".to_owned(),
                    prog_type: 27,
                    verified_insns: Some(insns),
                },
                VerifiedProgram {
                    name: "init".to_owned(),
                    prog_type: 27,
                    verified_insns: Some(10),
                },
                VerifiedProgram {
                    name: "old".to_owned(),
                    prog_type: 27,
                    verified_insns: None,
                },
            ],
        }),
        ..variant("verifier", preset, Verdict::pass())
    }
    .named(case)
}

trait Named {
    fn named(self, case: String) -> Self;
}

impl Named for Sidecar {
    fn named(mut self, case: String) -> Self {
        self.case = case;
        self
    }
}

#[test]
fn programs_are_compared_with_the_newest_run_that_has_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let [one, two, ..] = Preset::ALL else {
        panic!("two presets")
    };
    // Too old; the one to compare with; one without cells; the newest.
    write(&path("a"), "1000-1", &cell(1, *one));
    write(&path("b"), "2000-1", &cell(100, *one));
    write(&path("b"), "2000-1", &cell(100, *two));
    write(
        &path("c"),
        "3000-1",
        &variant("steady", *one, Verdict::pass()),
    );
    write(&path("d"), "4000-1", &cell(150, *one));
    write(&path("d"), "4000-1", &cell(300, *two));
    let growth = analyze(&RunStore::new(dir.path()))
        .unwrap()
        .verifier
        .unwrap();
    assert_eq!(growth.before, "b");
    let [mine] = &growth.schedulers[..] else {
        panic!("{growth:?}")
    };
    // 50 %, 200 %, and twice nothing.
    assert_eq!((mine.compared, mine.median_pct), (4, 25.0));
    let [enqueue] = &mine.changed[..] else {
        panic!("{mine:?}")
    };
    assert_eq!(
        (enqueue.program.as_str(), enqueue.before, enqueue.now),
        ("enqueue", 100, 300)
    );
    assert_eq!(
        (enqueue.growth_pct, enqueue.machine.as_str()),
        (200.0, two.name)
    );
}

/// Damaged files among good ones: their names.
fn damage(dir: &Path) -> Vec<&'static str> {
    let good = serde_json::to_string(&Sidecar::new("x", "ktstr/x", Verdict::pass())).unwrap();
    let put =
        |name: &str, text: &str| fs::write(dir.join(format!("{name}.ktstr.json")), text).unwrap();
    put("empty", "");
    put("truncated", &good[..good.len() / 2]);
    put(
        "wrong-type",
        &good.replace("\"attempt\":1", "\"attempt\":\"one\""),
    );
    put("future", r#"{"schema": 77, "test": 3}"#);
    put("binary", "\u{0}\u{1b}[31m");
    put("nested", &"[".repeat(100_000));
    let huge = fs::File::create(dir.join("huge.ktstr.json")).unwrap();
    huge.set_len(1 << 40).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.join("link.ktstr.json")).unwrap();
    fs::create_dir(dir.join("dir.ktstr.json")).unwrap();
    vec![
        "binary",
        "dir",
        "empty",
        "future",
        "huge",
        "link",
        "nested",
        "truncated",
        "wrong-type",
    ]
}

#[test]
fn damaged_records_are_named_and_the_rest_is_analysed() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("6.12-abc");
    for (test, verdict) in [("good", Verdict::pass()), ("bad", Verdict::fail("x", "y"))] {
        write(
            &run,
            "5-5",
            &Sidecar::new(test, &format!("ktstr/{test}"), verdict),
        );
    }
    let names = damage(&run);
    let store = RunStore::new(dir.path());
    let named = |unreadable: &[Unreadable]| {
        let stem = |it: &Unreadable| {
            assert!(it.error.contains(&it.path), "{it:?}");
            let name = it.path.rsplit('/').next().unwrap();
            name.strip_suffix(".ktstr.json").unwrap().to_owned()
        };
        unreadable.iter().map(stem).collect::<Vec<_>>()
    };
    let analysis = analyze(&store).unwrap();
    assert_eq!(named(&analysis.unreadable), names);
    let session = analysis.session.unwrap();
    assert_eq!((session.counts.pass, session.counts.fail), (1, 1));
    let list = list_runs(&store).unwrap();
    assert_eq!(list.runs[0].run, "6.12-abc");
    let values = list_values(&store).unwrap();
    assert_eq!(named(&values.unreadable), names);
    assert_eq!(
        values.schedulers,
        [Value {
            value: "eevdf".to_owned(),
            records: 2
        }]
    );
    let hosts = host_of_run(&store, "6.12-abc").unwrap();
    assert_eq!(
        (named(&hosts.unreadable), hosts.hosts[0].records),
        (names.iter().map(|it| (*it).to_owned()).collect(), 2)
    );
    let explained = explain(&store, "6.12-abc").unwrap();
    assert_eq!(
        (named(&explained.unreadable).len(), explained.records),
        (names.len(), 2)
    );
}

#[test]
fn a_run_that_is_not_there_is_an_error_that_names_near_ones() {
    let dir = tempfile::tempdir().unwrap();
    let store = RunStore::new(dir.path());
    let error = |run: &str| host_of_run(&store, run).unwrap_err().to_string();
    assert!(error("x").ends_with(&format!("no run `x` in {}", dir.path().display())));
    for run in ["6.12.1-abc", "6.12.1-abd-dirty", "7.0.2-abc", "other"] {
        write(
            &dir.path().join(run),
            "1-1",
            &Sidecar::new("a", "ktstr/a", Verdict::pass()),
        );
    }
    assert!(
        error("6.12.1").ends_with("(there is `6.12.1-abc`, `6.12.1-abd-dirty`)"),
        "{}",
        error("6.12.1")
    );
    assert!(error("abd").ends_with("(there is `6.12.1-abd-dirty`)"));
    assert!(!error("zzz").contains("there is"));
    assert!(!error("").contains("there is"));
    assert!(explain(&store, "../other").is_err());
}

#[test]
fn without_runs_documents_are_empty() {
    let dir = tempfile::tempdir().unwrap();
    let store = RunStore::new(dir.path().join("none"));
    let analysis = analyze(&store).unwrap();
    assert_eq!((analysis.session, analysis.verdicts.len()), (None, 0));
    assert_eq!(list_runs(&store).unwrap().runs, []);
    assert_eq!(list_values(&store).unwrap().kernels, []);
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(
        analyze(&RunStore::new(&file)),
        Err(StatsError::Store { .. })
    ));
}

#[test]
fn a_session_is_read_over_all_of_its_kernels_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let of = |run: &str, epoch: &str, test: &str| {
        write(
            &dir.path().join(run),
            epoch,
            &Sidecar::new(test, &format!("ktstr/{test}"), Verdict::pass()),
        );
    };
    of("a", "1000-1", "old");
    of("a", "2000-1", "new");
    of("b", "2000-1", "new");
    of("c", "1000-1", "old");
    let analysis = analyze(&RunStore::new(dir.path())).unwrap();
    let session = analysis.session.unwrap();
    assert_eq!(
        (session.epoch.as_str(), session.counts.all()),
        ("2000-1", 2)
    );
    let runs: Vec<_> = session
        .runs
        .iter()
        .map(|run| (run.run.as_str(), run.cases))
        .collect();
    assert_eq!(runs, [("a", 1), ("b", 1)]);
    let names: Vec<_> = list_runs(&RunStore::new(dir.path())).unwrap().runs;
    let tests: Vec<_> = names
        .iter()
        .map(|run| (run.run.as_str(), run.tests))
        .collect();
    assert_eq!(tests, [("a", 2), ("b", 1), ("c", 1)]);
}

#[test]
fn hosts_that_differ_in_free_pages_are_one() {
    let dir = tempfile::tempdir().unwrap();
    for (test, pages, cpu) in [("a", 1, "x"), ("b", 2, "x"), ("c", 3, "y")] {
        let mut sidecar = Sidecar::new(test, &format!("ktstr/{test}"), Verdict::pass());
        sidecar.host.free_hugepages = Some(pages);
        sidecar.host.cpu_model = Some(cpu.to_owned());
        sidecar.started = format!("2026-01-0{pages}T00:00:00Z");
        write(&dir.path().join("r"), "1-1", &sidecar);
    }
    let report = host_of_run(&RunStore::new(dir.path()), "r").unwrap();
    let hosts: Vec<_> = report
        .hosts
        .iter()
        .map(|it| {
            (
                it.host.cpu_model.as_deref().unwrap(),
                it.records,
                it.host.free_hugepages.unwrap(),
            )
        })
        .collect();
    assert_eq!(hosts, [("y", 1, 3), ("x", 2, 2)]);
}

#[test]
fn values_are_counted_by_record() {
    let dir = tempfile::tempdir().unwrap();
    for (run, test) in [("a", "one"), ("b", "one"), ("b", "two")] {
        let sidecar = Sidecar {
            project_commit: Some(run.to_owned()),
            machine: Some(MachineSetup {
                memory_mib: 1,
                cpu_model: None,
                backend_version: None,
            }),
            cgroups: vec![
                ktstr_core::record::CgroupStats {
                    work_type: Some("spin".to_owned()),
                    ..Default::default()
                };
                2
            ],
            ..variant(test, Preset::ALL[0], Verdict::pass())
        };
        write(&dir.path().join(run), "1-1", &sidecar);
    }
    let values = list_values(&RunStore::new(dir.path())).unwrap();
    let counts = |values: &[Value]| -> Vec<(String, usize)> {
        values
            .iter()
            .map(|it| (it.value.clone(), it.records))
            .collect()
    };
    assert_eq!(
        counts(&values.commits),
        [("a".to_owned(), 1), ("b".to_owned(), 2)]
    );
    assert_eq!(counts(&values.kernels), [("kernel_6_12_1".to_owned(), 3)]);
    assert_eq!(counts(&values.topologies), [("1n1l4c1t".to_owned(), 3)]);
    assert_eq!(counts(&values.work_types), [("spin".to_owned(), 3)]);
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c]{0,2}",
        "\\PC{0,3}",
        Just("\u{1b}[31m\n".to_owned()),
        Just(String::new())
    ]
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        0.0..100.0,
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::MAX),
        Just(f64::MIN)
    ]
}

prop_compose! {
    fn any_record()(
        test in name(),
        case in prop_oneof![name(), Just("ktstr/a".to_owned()), Just("gauntlet/a/4cpu-1llc-nosmt".to_owned()),
            Just("host/a".to_owned()), Just("verifier/a/kernel_6_12/4cpu-1llc-nosmt".to_owned())],
        variant in prop::option::of(0..Preset::ALL.len()),
        outcome in 0..4_u8,
        metrics in prop::collection::btree_map(
            prop_oneof![name(), Just("max_gap_ms".to_owned())], number(), 0..3),
        times in prop::array::uniform4(prop::option::of(number())),
        message in prop_oneof![name(), Just("SCX_EXIT_ERROR (x".to_owned())],
        attempt in 0..4_u32,
        stress in prop::option::of(0..3_u32),
        kind in prop::sample::select(vec![RecordKind::Latest, RecordKind::Earlier, RecordKind::Unfinished]),
        insns in prop::option::of(any::<u64>()),
        warning in prop::option::of(name()),
    ) -> Record {
        let verdict = match outcome {
            0 => Verdict::pass(),
            1 => Verdict::fail(&test, message.clone()),
            2 => Verdict::inconclusive(&test, message.clone()),
            _ => Verdict::skip(message.clone()),
        };
        let mut sidecar = Sidecar::new(&test, &case, verdict);
        if let Some(preset) = variant.map(|at| Preset::ALL[at]) {
            preset.name.clone_into(&mut sidecar.variant);
            sidecar.topology = Some(preset.topology);
        }
        sidecar.metrics = metrics;
        let [wait_s, boot_s, scenario_s, teardown_s] = times;
        sidecar.timings = Timings { wait_s, boot_s, scenario_s, teardown_s };
        sidecar.attempt = attempt;
        sidecar.stress = stress;
        sidecar.scheduler_restarts = insns.unwrap_or(0);
        sidecar.kernel_warnings.extend(warning.map(|line| KernelWarning { line, allowed: false, at_boot: true }));
        sidecar.verifier = insns.map(|insns| VerifierStats {
            stage: Stage::Load,
            load_s: None,
            programs: vec![VerifiedProgram { name: test.clone(), prog_type: 0, verified_insns: Some(insns) }],
        });
        Record { path: "/r/x".into(), sidecar, failure_dump: None, kind }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// Any records are analysed: each case is counted once, and every number in the document is one.
    #[test]
    fn any_records_are_analysed(records in prop::collection::vec(any_record(), 0..12)) {
        let all: Vec<Facts> = records.iter().map(Facts::of).collect();
        let cases = standing_by(all.iter().map(|facts| (facts.standing.clone(), facts.clone())));
        let analysis = of_facts(&all, &cases, Vec::new());
        let counted: usize = analysis.verdicts.iter().map(|test| test.counts.all()).sum();
        prop_assert_eq!(counted, cases.len());
        for outlier in &analysis.outliers {
            prop_assert!(outlier.score.is_finite() && outlier.score > LIMIT);
            prop_assert_eq!(outlier.values[outlier.position], outlier.value);
        }
        for time in &analysis.times {
            prop_assert!(time.total_s.is_finite() && time.slowest_s <= time.total_s);
        }
        serde_json::to_string(&analysis).unwrap();
    }

    /// The values of a document are never written as `null`, which JSON has for what is no number.
    #[test]
    fn scores_are_numbers(values in prop::collection::vec(
        number().prop_map(|value| if value.is_finite() { value } else { f64::MIN_POSITIVE }), 5..30)) {
        let spread = Spread::of(&values).unwrap();
        prop_assert!(spread.median.is_finite() && spread.mad.is_finite());
        for value in values {
            prop_assert!(spread.score(value).is_finite());
        }
    }
}
