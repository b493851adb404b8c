//! Every key ends up in its field, from any kind of value it takes.

#![forbid(unsafe_code)]
#![deny(warnings)]

use ktstr_harness::test::Location;
use ktstr_harness::payload::PayloadSource;
use ktstr_harness::prelude::*;
use ktstr_harness::{TestCase, registry};

const NODES: u32 = 2;
const GAP_MS: u64 = 700;
const RATE: f64 = 0.5;

#[ktstr_test]
fn bare(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(
    numa_nodes = NODES,
    llcs = 2 * NODES,
    cores = 3,
    threads = 2,
    memory_mib = 1 << 10,
    duration_s = 7u32,
    min_llcs = 4,
    max_llcs = 8,
    min_numa_nodes = 1,
    max_numa_nodes = NODES,
    min_cpus = 0x10,
    max_cpus = 512,
    requires_smt,
    performance_mode = false,
    no_perf_mode,
    cpu_budget = 2 * NODES,
    not_stuck,
    isolation = true,
    max_gap_ms = GAP_MS,
    max_spread_pct = 15,
    min_iteration_rate = RATE * 10.0,
    max_p99_wake_latency_ns = 1_000_000,
    max_wake_latency_cv = 4,
    max_throughput_cv = 0.5,
    min_work_rate = 2.0 * 50.0,
    max_migration_ratio = 0.25,
    max_cross_node_migration_ratio = 1,
    min_page_locality = 0.75,
    max_imbalance_ratio = 1.5,
    max_local_dsq_depth = 8,
    max_fallback_rate = RATE,
    max_keep_last_rate = 100,
    max_wasted_ms = 50,
    max_wake_to_run_ms = 20,
    expect_err,
    allow_inconclusive,
    allow_kernel_warnings = ["at kernel/x.c", "taint O"],
    auto_repro = false,
    kaslr = false,
    ignore,
    extra_include_files = ["data/a.json", "b"],
    payload = BENCH.checked_by(&[MetricCheck::at_most("time_s", 5.0)]),
    workloads = [LOAD, inner::QUIET],
    post_vm = afterwards,
    cleanup_budget_ms = 500 * NODES,
)]
fn full(ctx: &Ctx) -> Result<AssertResult> {
    let _ = ctx.duration();
    Ok(AssertResult::pass())
}

fn afterwards(_: &FinishedRun<'_>) -> Result<()> {
    Ok(())
}

declare_payload!(BENCH, {
    name = "bench",
    binary = "hackbench",
    args = ["--groups", "{cpus}"],
    include_files = ["data/a.json"],
    exit_codes = [0, 3],
    metrics = [
        PayloadMetric::pattern("time_s", "s", Better::Lower, "Time: {}").gates(0.5, 20.0),
        PayloadMetric::json("iops", "", Better::Higher, "/jobs/0/iops"),
    ],
    checks = [MetricCheck::at_most("time_s", 20.0)],
    time_limit_s = 7 * NODES,
    skip_if_missing = true,
});

declare_payload!(
    /// Documented.
    pub LOAD, { name: "load", package: "my-load" }
);

declare_scheduler!(MINE, { name = "mine", binary = "scx_mine" });

const WRITES: MapWrite = MapWrite::number(".bss", "slice_ns", -1);

#[ktstr_test(scheduler = MINE, bpf_map_write = [WRITES, MapWrite::text("m", "t[1].name", "x").key(2).after_ms(1500)])]
fn writes(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

mod inner {
    use super::*;

    pub(crate) const QUIET: Payload = Payload {
        name: "quiet",
        ..LOAD.with_args(&["-q"])
    };

    /// A raw name, a pattern for an argument, a path for a type.
    #[ktstr_test(host_only, not_stuck = false)]
    pub fn r#match(_: &ktstr_harness::Ctx) -> ktstr_harness::Result<AssertResult> {
        Err("never run".into())
    }
}

/// Everything but the name, the place and the body.
fn settings(test: TestCase) -> impl PartialEq + std::fmt::Debug {
    (
        (test.topology, test.constraints, test.checks),
        (test.memory_mib, test.duration_s, test.extra_include_files),
        (
            test.expect_err,
            test.allow_inconclusive,
            test.auto_repro,
            test.kaslr,
            test.host_only,
            test.ignore,
        ),
    )
}

fn main() {
    let [bare, full, host, writes] = registry::tests().unwrap()[..] else {
        panic!("four tests");
    };

    assert_eq!(bare.name, "bare");
    assert!(bare.location.file.ends_with("every_key.rs"));
    assert_eq!(bare.location.line, 15);
    assert_eq!(bare.module, module_path!());
    assert_eq!(host.module, concat!(module_path!(), "::inner"));
    let place = Location { file: "", line: 0 };
    assert_eq!(
        settings(*bare),
        settings(TestCase::new("", place, self::bare))
    );

    assert_eq!(full.name, "full");
    assert_eq!(full.topology.to_string(), "2n4l3c2t");
    let bounds = full.constraints;
    assert_eq!((bounds.min_llcs, bounds.max_llcs), (4, 8));
    assert_eq!((bounds.min_numa_nodes, bounds.max_numa_nodes), (1, 2));
    assert_eq!((bounds.min_cpus, bounds.max_cpus), (16, 512));
    assert!(bounds.requires_smt);
    assert_eq!(
        full.checks,
        Checks {
            not_stuck: Some(true),
            isolation: Some(true),
            max_gap_ms: Some(700),
            max_spread_pct: Some(15.0),
            min_iteration_rate: Some(5.0),
            max_p99_wake_latency_ns: Some(1_000_000),
            max_wake_latency_cv: Some(4.0),
            max_throughput_cv: Some(0.5),
            min_work_rate: Some(100.0),
            max_migration_ratio: Some(0.25),
            max_cross_node_migration_ratio: Some(1.0),
            min_page_locality: Some(0.75),
            max_imbalance_ratio: Some(1.5),
            max_local_dsq_depth: Some(8),
            max_fallback_rate: Some(0.5),
            max_keep_last_rate: Some(100.0),
            max_wasted_ms: Some(50.0),
            max_wake_to_run_ms: Some(20.0),
        }
    );
    assert_eq!((full.memory_mib, full.duration_s), (1024, 7));
    assert!(full.expect_err && full.allow_inconclusive && full.ignore);
    assert!(bare.allow_kernel_warnings.is_empty() && !bare.allow_restarts);
    assert_eq!(full.allow_kernel_warnings, ["at kernel/x.c", "taint O"]);
    assert!(bare.auto_repro && !full.auto_repro);
    assert!(!full.kaslr && !full.host_only);
    assert!(!full.performance_mode && full.no_perf_mode && !bare.no_perf_mode);
    assert_eq!((bare.cpu_budget, full.cpu_budget), (None, Some(4)));
    assert_eq!(full.extra_include_files, ["data/a.json", "b"]);

    let bench = full.payload.unwrap();
    assert_eq!((bench.name, bench.args), ("bench", &["--groups", "{cpus}"][..]));
    assert_eq!((bench.exit_codes, bench.time_limit_s), (&[0, 3][..], Some(14)));
    assert_eq!((bench.metrics.len(), bench.metrics[0].relative_gate_pct), (2, 20.0));
    assert_eq!((bench.checks[0].limit, bench.test_checks[0].limit), (20.0, 5.0));
    assert_eq!(bench.source, PayloadSource::Binary("hackbench"));
    assert!(bench.skip_if_missing && bench.manifest_dir.ends_with("ktstr-harness"));
    let names: Vec<_> = full.workloads.iter().map(|it| (it.name, it.source)).collect();
    let source = PayloadSource::Package("my-load");
    assert_eq!(names, [("load", source), ("quiet", source)]);
    assert_eq!(full.workloads[1].args, ["-q"]);
    assert!(full.post_vm.is_some() && bare.post_vm.is_none());
    assert_eq!((bare.cleanup_budget_ms, full.cleanup_budget_ms), (None, Some(1000)));
    assert!(bare.payload.is_none() && bare.workloads.is_empty() && bare.bpf_map_write.is_empty());
    let [first, second] = writes.bpf_map_write else {
        panic!("two writes");
    };
    assert_eq!((first, first.to_string().as_str()), (&WRITES, ".bss slice_ns = -1"));
    assert_eq!((second.key, second.after_ms), (2, 1500));
    assert_eq!(second.to_string(), "m[2] t[1].name = \"x\"");

    assert_eq!(host.name, "match");
    assert!(host.host_only);
    assert_eq!(
        host.checks,
        Checks {
            not_stuck: Some(false),
            ..Checks::NONE
        }
    );
}
