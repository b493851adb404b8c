//! What ktstr makes of a scheduler's faults: for each, the check that must catch it and the words it is told in.

#[path = "../../../ktstr-harness/tests/support/case.rs"]
mod case;

/// Case, exit code, what stands in the first lines of the failure, what in its kernel log or scheduler log.
type Row = (&'static str, i32, &'static str, &'static str);

const TABLE: &[Row] = &[
    ("under_eevdf", 0, "", ""),
    ("sound", 0, "", ""),
    ("verified_the_long_way", 0, "", ""),
    (
        "stalls",
        1,
        "SCX_EXIT_ERROR_STALL (runnable task stall): ",
        "failed to run for",
    ),
    (
        "picks_a_wrong_cpu",
        1,
        "SCX_EXIT_ERROR (runtime error): ",
        "not allowed",
    ),
    (
        "reports_an_error",
        1,
        "scx-ktstr: asked to fail after 100 insertions",
        "disabled (scx_bpf_error)",
    ),
    (
        "loses_a_cpu",
        1,
        "the kernel ended it: SCX_EXIT_UNREG_KERN (unregistered from the main kernel): CPU 3 went offline; its program \
         exited with status 1; it said last: scx-ktstr: exit kind",
        "cpu 3 going offline",
    ),
    ("spreads_them", 0, "", ""),
    (
        "crowds_a_cpu",
        1,
        "max_imbalance_ratio: ",
        "max_local_dsq_depth: ",
    ),
    ("burns_time", 1, "max_p99_wake_latency_ns: ", ""),
    ("starves_a_cgroup", 1, "max_gap_ms: ", "cgroup left, worker"),
    (
        "fails_verification",
        1,
        "it was not enabled: its program exited with status",
        "",
    ),
    (
        "exits_early",
        1,
        "its program exited with status 7 before it was in force",
        "",
    ),
    (
        "never_attaches",
        1,
        "it was not in force after",
        "state: disabled",
    ),
    // Nothing to fail a test for, but it ends all the same.
    ("ignores_sigterm", 0, "", ""),
    ("forks", 0, "", ""),
    ("floods_its_output", 0, "", ""),
];

/// How often a run without a fault may fail before one must pass.
const SOUND_RETRIES: usize = 2;

#[test]
fn every_fault_is_caught_by_its_own_check() {
    if cfg!(bpf_left_out) {
        eprintln!("SKIP: scx-ktstr was built without clang");
        return;
    }
    let mut wrong = Vec::new();
    for (name, code, cause, log) in TABLE {
        // The same build as this test's, instead of a release build.
        let scheduler = [("KTSTR_SCHEDULER", env!("CARGO_BIN_EXE_scx-ktstr"))];
        let run = || case::run("cases", &format!("ktstr/{name}"), &scheduler);
        let mut run_of_it = run();
        // A busy host makes what is sound late now and then; a fault must be caught at once.
        for _ in 0..SOUND_RETRIES {
            if *code == 0 && run_of_it.code != 0 {
                run_of_it = run();
            }
        }
        let run = run_of_it;
        let told = run.first_lines(4);
        let caught = run.code == *code && told.contains(cause) && run.stderr.contains(log);
        println!(
            "{name:22} exit {} {}",
            run.code,
            if caught { "as it should" } else { "WRONG" }
        );
        if !caught {
            wrong.push(format!(
                "{name}: exit {}, wanted {code} and `{cause}`:\n{}",
                run.code, run.stderr
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
