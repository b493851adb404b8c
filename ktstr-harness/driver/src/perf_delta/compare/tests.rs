//! What follows from two sides, and how often it is wrong.

use ktstr_core::record::{MetricDefinition, Sidecar};
use ktstr_core::{Better, Preset, Verdict};
use proptest::prelude::*;

use super::*;
use crate::perf_delta::policy::Policy;
use crate::perf_delta::samples::Machines;

const GAP: &str = "max_gap_ms";
const RATE: &str = "iterations_per_second";

fn record(test: &str, metrics: &[(&str, f64)]) -> Sidecar {
    let metrics = metrics
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value));
    Sidecar {
        performance_mode: Some(true),
        performance_mode_declared: Some(true),
        backend: Some("kvm".to_owned()),
        metrics: metrics.collect(),
        ..Sidecar::new(test, &format!("ktstr/{test}"), Verdict::pass())
    }
}

fn named(label: &str, records: &[Sidecar]) -> Named {
    Named {
        commit: label.to_owned(),
        label: label.to_owned(),
        origin: None,
        side: Side::of(records, Machines::Exclusive),
    }
}

/// A run for each value of a metric of one test.
fn runs(metric: &str, values: &[f64]) -> Vec<Sidecar> {
    let of = |value: &f64| record("steady", &[(metric, *value)]);
    values.iter().map(of).collect()
}

fn compared(base: &[Sidecar], head: &[Sidecar], rules: &Rules) -> PerfDelta {
    let (base, head) = (named("base", base), named("head", head));
    compare(&base, &head, Mode::NoiseAdjusted, rules)
}

fn policy(text: &str) -> Rules {
    Rules::new(Policy::parse(text).unwrap())
}

/// What follows for one metric.
fn verdict(metric: &str, base: &[f64], head: &[f64], rules: &Rules) -> (Finding, Separation) {
    let report = compared(&runs(metric, base), &runs(metric, head), rules);
    let [comparison] = report.comparisons.as_slice() else {
        panic!("{report:?}")
    };
    (comparison.verdict, comparison.separation)
}

#[test]
fn real_is_what_is_separated_and_material() {
    let rules = Rules::default();
    let low = [100.0, 101.0, 99.0, 100.5, 99.5];
    let high = [150.0, 151.0, 149.0, 150.5, 149.5];
    let near = [100.9, 100.91, 100.89, 100.9, 100.9];
    let wide = [90.0, 130.0, 240.0, 80.0, 210.0];
    for (metric, base, head, expected) in [
        (GAP, low, high, (Finding::Regression, Separation::Welch)),
        (GAP, high, low, (Finding::Improvement, Separation::Welch)),
        (RATE, low, high, (Finding::Improvement, Separation::Welch)),
        (RATE, high, low, (Finding::Regression, Separation::Welch)),
        // Large and not separated; separated and small; neither.
        (
            GAP,
            low,
            wide,
            (Finding::Unchanged, Separation::Overlapping),
        ),
        (
            RATE,
            low,
            low,
            (Finding::Unchanged, Separation::Overlapping),
        ),
    ] {
        assert_eq!(
            verdict(metric, &base, &head, &rules),
            expected,
            "{metric} {head:?}"
        );
    }
    let tight = [100.0, 100.01, 99.99, 100.0, 100.0];
    let small = verdict(RATE, &tight, &near, &rules);
    assert_eq!(small.0, Finding::Unchanged);
    // The gate decides, and it can be set.
    let close = policy("threshold_pct = 0.1\n[metric.iterations_per_second]\nabsolute = 0.1");
    assert_eq!(verdict(RATE, &tight, &near, &close).0, Finding::Improvement);
}

#[test]
fn what_a_program_measures_is_compared_by_its_own_definition() {
    let definition = |better| MetricDefinition {
        name: "bench.x".to_owned(),
        unit: "u".to_owned(),
        better,
        absolute_gate: 0.0,
        relative_gate_pct: 10.0,
    };
    let side = |values: &[f64], better| -> Vec<Sidecar> {
        let mut records = runs("bench.x", values);
        for record in &mut records {
            record.metric_definitions = vec![definition(better)];
        }
        records
    };
    let (low, high) = ([100.0, 101.0, 99.0], [150.0, 151.0, 149.0]);
    for (better, finding) in [
        (Better::Higher, Finding::Improvement),
        (Better::Lower, Finding::Regression),
    ] {
        // An earlier commit may have meant something else by it.
        let (base, head) = (side(&low, Better::Higher), side(&high, better));
        let report = compared(&base, &head, &Rules::default());
        let [comparison] = report.comparisons.as_slice() else {
            panic!("{report:?}")
        };
        assert_eq!(
            (comparison.verdict, comparison.unit.as_str()),
            (finding, "u")
        );
    }
    let unknown = compared(
        &runs("bench.x", &low),
        &runs("bench.x", &high),
        &Rules::default(),
    );
    assert!(unknown.comparisons.is_empty() && unknown.incomparable.len() == 1);
    let ignored = policy("[metric.\"bench.x\"]\nignore = true");
    let base = side(&low, Better::Lower);
    assert!(
        compared(&base, &side(&high, Better::Lower), &ignored)
            .comparisons
            .is_empty()
    );
    assert!(Policy::parse("[metric.bench]\nignore = true").is_err());
}

#[test]
fn disjoint_ranges_separate_what_one_odd_run_hides() {
    let (base, head) = (
        [10.0, 10.1, 10.2, 10.1, 10.3],
        [20.0, 20.5, 21.0, 20.2, 400.0],
    );
    let expected = (Finding::Regression, Separation::DisjointRanges);
    assert_eq!(
        verdict(
            GAP,
            &base,
            &head,
            &policy("[metric.max_gap_ms]\nabsolute = 1")
        ),
        expected
    );
}

#[test]
fn two_runs_a_side_confirm_only_what_is_plain() {
    let rules = policy("[metric.max_gap_ms]\nabsolute = 1\nrelative_pct = 10");
    let apart = verdict(GAP, &[10.0, 12.0], &[14.0, 18.0], &rules);
    assert_eq!(apart, (Finding::Unconfirmed, Separation::DisjointRanges));
    let plain = verdict(GAP, &[10.0, 10.1], &[20.0, 20.1], &rules);
    assert_eq!(plain, (Finding::Regression, Separation::Welch));
    let literal =
        policy("correction = \"none\"\n[metric.max_gap_ms]\nabsolute = 1\nrelative_pct = 10");
    let apart = verdict(GAP, &[10.0, 12.0], &[14.0, 18.0], &literal);
    assert_eq!(apart, (Finding::Regression, Separation::DisjointRanges));
}

#[test]
fn a_single_run_a_side_is_judged_by_size_alone() {
    let base = [record("steady", &[(GAP, 10.0), (RATE, 100.0)])];
    let head = [record("steady", &[(GAP, 500.0), (RATE, 99.0)])];
    let report = compared(&base, &head, &Rules::default());
    let found: Vec<_> = report
        .comparisons
        .iter()
        .map(|it| (it.metric.as_str(), it.verdict, it.separation))
        .collect();
    let expected = [
        (RATE, Finding::Unchanged, Separation::Untested),
        (GAP, Finding::Regression, Separation::Untested),
    ];
    assert_eq!(found, expected);
    assert_eq!(report.caveats, [Caveat::Untested { metrics: 2 }]);
    assert_eq!(report.findings().len(), 1);
}

#[test]
fn a_comparison_fails_by_number_or_by_name() {
    let many = |value: f64| -> Vec<Sidecar> {
        let tests = (0..4).map(|n| record(&format!("t{n}"), &[(GAP, value)]));
        tests.collect()
    };
    let (base, head) = (many(10.0), many(500.0));
    let failed = |rules: &Rules| {
        let report = compared(&base, &head, rules);
        assert_eq!(report.regressions, 4);
        report.failed
    };
    assert!(!failed(&Rules::default()));
    assert!(!failed(&policy("fail_threshold = 5")));
    assert!(failed(&policy("fail_threshold = 4")));
    assert!(failed(&policy("must_fail = [\"max_gap_ms\"]")));
    assert!(!failed(&policy("must_fail = [\"run_delay_s\"]")));
    let better = compared(
        &head,
        &base,
        &policy("must_fail = [\"max_gap_ms\"]\nfail_threshold = 1"),
    );
    assert_eq!((better.failed, better.improvements), (false, 4));
}

#[test]
fn what_one_side_lacks_is_told() {
    let base = [
        record("steady", &[(GAP, 1.0), (RATE, 2.0)]),
        record("gone", &[(GAP, 1.0)]),
    ];
    let skipped = Sidecar {
        performance_mode: None,
        verdict: Verdict::skip("no room"),
        ..record("gone", &[])
    };
    let head = [record("steady", &[(GAP, 1.0)]), record("new", &[]), skipped];
    let report = compared(&base, &head, &policy("[test.nowhere]\nignore = true"));
    let missing: Vec<_> = report
        .missing
        .iter()
        .map(|it| {
            (
                it.case.test.as_str(),
                it.metric.as_deref(),
                it.side,
                it.why.as_deref(),
            )
        })
        .collect();
    let expected = [
        ("gone", None, SideName::Head, Some("skipped: no room")),
        ("new", None, SideName::Base, None),
        ("steady", Some(RATE), SideName::Head, None),
    ];
    assert_eq!(missing, expected);
    assert_eq!(report.skipped.len(), 1);
    assert_eq!(report.unused_policy, ["nowhere"]);
    assert!(!report.failed && !report.has_nothing());
}

#[test]
fn what_differs_in_kind_is_not_compared() {
    let shape = |name: &str| Preset::by_name(name).map(|preset| preset.topology);
    let base = Sidecar {
        topology: shape("4cpu-1llc-nosmt"),
        ..record("steady", &[(GAP, 1.0)])
    };
    let wider = Sidecar {
        topology: shape("8cpu-2llc-smt"),
        ..base.clone()
    };
    let emulated = Sidecar {
        backend: Some("qemu".to_owned()),
        ..base.clone()
    };
    let why = |head: &Sidecar| {
        let report = compared(
            std::slice::from_ref(&base),
            std::slice::from_ref(head),
            &Rules::default(),
        );
        assert!(report.comparisons.is_empty());
        report.incomparable[0].why.clone()
    };
    assert_eq!(why(&wider), "its machine changed from 1n1l4c1t to 1n2l2c2t");
    assert_eq!(
        why(&emulated),
        "it ran on kvm at the base and on qemu at the head"
    );
    let report = compared(
        &[record("steady", &[("speed", 1.0), (GAP, f64::NAN)])],
        &[record("steady", &[("speed", 1.0), (GAP, 1.0)])],
        &Rules::default(),
    );
    let whys: Vec<_> = report
        .incomparable
        .iter()
        .map(|it| it.metric.as_deref())
        .collect();
    assert_eq!(whys, [Some(GAP), Some("speed")]);
}

#[test]
fn figures_of_shared_or_emulated_machines_are_marked() {
    let shared = Sidecar {
        performance_mode: Some(false),
        backend: Some("qemu".to_owned()),
        ..record("steady", &[(GAP, 1.0)])
    };
    let side = |model: &str| {
        let mut record = shared.clone();
        record.host.cpu_model = Some(model.to_owned());
        Named {
            side: Side::of(&[record.clone(), record], Machines::Shared),
            ..named("same", &[])
        }
    };
    let (a, b) = (side("A"), side("B"));
    let report = compare(&a, &b, Mode::Cached, &Rules::default());
    let differ = Caveat::HostsDiffer {
        base: vec!["A".to_owned()],
        head: vec!["B".to_owned()],
    };
    let expected = [
        Caveat::SameCommit,
        Caveat::SharedCpus,
        Caveat::Emulated,
        differ,
    ];
    assert_eq!(report.caveats, expected);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["caveats"][1]["kind"], "shared_cpus");
    assert_eq!(json["comparisons"][0]["test"], "steady");
}

/// Numbers that are the same in every run of a test.
struct Random(u64);

impl Random {
    /// Evenly from 0 to 1, by `SplitMix64`.
    fn even(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Normal, by Box and Muller.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.even()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.even()).cos()
    }
}

/// Comparisons, of a thousand, that find a regression between sides that do not differ: `metrics` metrics, `runs` runs a
/// side, each value from `draw`.
fn false_alarms(runs: usize, rules: &Rules, draw: impl Fn(&mut Random) -> f64) -> usize {
    let names = [
        "iterations_per_second",
        "work_units_per_second",
        "cpu_time_s",
        "run_delay_s",
        "migrations",
        "max_gap_ms",
        "spread_pct",
        "p50_wake_latency_ns",
        "p99_wake_latency_ns",
    ];
    let mut random = Random(7);
    let mut side = || -> Vec<Sidecar> {
        let mut run = || {
            let values: Vec<_> = names
                .iter()
                .map(|name| (*name, draw(&mut random)))
                .collect();
            record("steady", &values)
        };
        (0..runs).map(|_| run()).collect()
    };
    let mut alarms = || {
        let (base, head) = (side(), side());
        let report = compared(&base, &head, rules);
        report.regressions > 0
    };
    (0..1000).filter(|_| alarms()).count()
}

#[test]
fn nothing_is_found_where_nothing_changed_but_rarely() {
    // Gates that everything passes: the statistics alone have to hold.
    let all = all_metrics().map(|metric| metric.name);
    let gate = |name: &str| format!("[metric.{name}]\nabsolute = 0\nrelative_pct = 0");
    let gates: Vec<String> = all.map(gate).collect();
    let gates = gates.join("\n");
    let (corrected, literal) = (
        policy(&gates),
        policy(&format!("correction = \"none\"\n{gates}")),
    );
    let normal = |random: &mut Random| 100.0 + 10.0 * random.normal();
    // A tail as that of latencies on a busy machine.
    let heavy = |random: &mut Random| (random.normal() * 1.5).exp();
    for runs in [2, 3, 5] {
        // Half of what is found by chance, at most 5 %, is to the worse.
        for alarms in [
            false_alarms(runs, &corrected, normal),
            false_alarms(runs, &corrected, heavy),
        ] {
            assert!(alarms <= 40, "{runs} runs a side: {alarms} of 1000");
        }
    }
    let uncorrected = false_alarms(5, &literal, normal);
    assert!(
        uncorrected > 100,
        "{uncorrected} of 1000: the correction would not be needed"
    );
    // With gates as the registry has them, and noise of a tenth.
    let alarms = false_alarms(5, &Rules::default(), normal);
    assert!(alarms <= 10, "{alarms} of 1000");
}

fn values() -> impl Strategy<Value = Vec<f64>> {
    proptest::collection::vec(prop_oneof![0.0..1e4_f64, Just(0.0), Just(100.0)], 1..6)
}

proptest! {
    #[test]
    fn a_swap_never_leaves_a_regression_one(a in values(), b in values(), metric in prop_oneof![Just(GAP), Just(RATE)]) {
        let rules = policy("threshold_pct = 0");
        let (there, separation) = verdict(metric, &a, &b, &rules);
        let (back, separation_back) = verdict(metric, &b, &a, &rules);
        prop_assert_eq!(separation, separation_back);
        let turned = match there {
            Finding::Regression => Finding::Improvement,
            Finding::Improvement => Finding::Regression,
            other => other,
        };
        prop_assert_eq!(back, turned);
    }

    #[test]
    fn a_higher_threshold_finds_no_more(a in values(), b in values(), low in 0.0..50.0_f64, more in 0.0..50.0_f64) {
        let at = |pct: f64| {
            let rules = Rules::default().threshold_pct(Some(pct)).unwrap();
            verdict(GAP, &a, &b, &rules).0
        };
        let (low, high) = (at(low), at(low + more));
        prop_assert!(high == Finding::Unchanged || high == low);
    }

    #[test]
    fn what_is_below_both_gates_is_never_reported(base in values(), share in -0.9..0.9_f64) {
        let rules = Rules::default();
        let gates = rules.gates("steady", &all_metrics().find(|it| it.name == GAP).unwrap()).unwrap();
        let change = |value: &f64| value + share * gates.absolute.min(value * gates.relative_pct / 100.0);
        let head: Vec<f64> = base.iter().map(change).collect();
        prop_assert_eq!(verdict(GAP, &base, &head, &rules).0, Finding::Unchanged);
    }
}
