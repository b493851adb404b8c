//! What the verifier sweep makes of a scheduler's faults: for each, the stage that must catch it and the words it is
//! told in.

use std::path::Path;

use ktstr_core::host::Host;
use ktstr_core::record::{Stage, VerifierStats};
use ktstr_kernel::Cache;
use ktstr_kernel::discover::discover;

#[path = "../../../ktstr-harness/tests/support/case.rs"]
mod case;
use case::Run;

/// A test of each scheduler's cell: its name, exit code, the stage that it came to, what stands in the first lines of the
/// failure, and how many programs are known to be verified at least.
macro_rules! cells {
    ($($name:ident: $scheduler:literal => $code:literal, $stage:ident, $cause:literal, $verified:literal;)*) => {$(
        #[test]
        fn $name() {
            is_caught($scheduler, $code, Stage::$stage, $cause, $verified);
        }
    )*};
}

// What was verified is known even where it never attached; of one that goes at once, what was seen in time.
cells! {
    a_sound_one_passes: "scx-ktstr" => 0, Liveness, "", 10;
    the_long_way_passes: "long-way" => 0, Liveness, "", 10;
    one_that_ignores_sigterm_passes: "ignores-sigterm" => 0, Liveness, "", 10;
    one_that_floods_passes: "floods" => 0, Liveness, "", 10;
    a_rejected_one_fails_to_load: "rejected" => 1, Load,
        "load: the kernel rejects its program `rejected`: R0 invalid mem access 'scalar'", 0;
    one_that_exits_early_fails_to_attach: "exits-early" => 1, Attach,
        "attach: its program exited with status 7 before the kernel enabled it", 1;
    one_that_never_attaches_fails_to: "never-attaches" => 1, Attach,
        "attach: the state of sched_ext was still `disabled` after", 10;
    one_that_stalls_fails_to_dispatch: "stalls" => 1, Dispatch,
        "dispatch: the kernel ejected it: SCX_EXIT_ERROR_STALL (runnable task stall): ", 10;
    one_that_errs_fails_to_dispatch: "errs" => 1, Dispatch, "scx-ktstr: asked to fail after 10 insertions", 10;
}

/// Runs the cell of `scheduler` on a small machine and the kernel that any test would take.
fn run(scheduler: &str, variables: &[(&str, &str)]) -> Run {
    let host = Host::of_this_process();
    let root = ktstr_core::env::cache_root(&host).expect("a cache");
    let found = discover(&host, &Cache::new(root), Path::new("."));
    let kernel = found.expect("a kernel").kernel;
    let list = format!("{}={}", kernel.label, kernel.image.display());
    let program = [
        // The same build as this test's, instead of a release build.
        ("KTSTR_SCHEDULER", env!("CARGO_BIN_EXE_scx-ktstr")),
        ("KTSTR_KERNEL_LIST", &list),
    ];
    let case = format!("verifier/{scheduler}/{}/4cpu-2llc-nosmt", kernel.label);
    case::run("cases", &case, &[&program, variables].concat())
}

fn stats(run: &Run) -> &VerifierStats {
    let stats = run.sidecars[0].verifier.as_ref();
    stats.expect("the machine got so far")
}

/// Whether the scheduler was left out of this build.
fn is_left_out() -> bool {
    if cfg!(bpf_left_out) {
        eprintln!("SKIP: scx-ktstr was built without clang");
    }
    cfg!(bpf_left_out)
}

fn is_caught(scheduler: &str, code: i32, stage: Stage, cause: &str, verified: usize) {
    if is_left_out() {
        return;
    }
    let run = run(scheduler, &[]);
    let told = run.first_lines(2);
    let seen = stats(&run);
    assert!(
        run.code == code && seen.stage == stage && told.contains(cause),
        "exit {} in {}, wanted {code} in {stage} and `{cause}`:\n{}",
        run.code,
        seen.stage,
        run.stderr
    );
    let programs = seen.programs.iter().filter(|p| p.verified_insns > Some(0));
    assert!(programs.count() >= verified, "{:?}", seen.programs);
}

#[test]
fn loops_in_the_verifiers_log_are_collapsed_unless_it_is_wanted_whole() {
    if is_left_out() {
        return;
    }
    let failed = run("rejected-late", &[]);
    failed.failed_with(
        "load: the kernel rejects its program `long_way`: R0 invalid mem access 'scalar'",
        None,
    );
    assert_eq!(
        failed
            .stderr
            .matches("    [5998 identical iterations omitted]\n")
            .count(),
        1,
        "{}",
        failed.stderr
    );
    let shown = failed.stderr.lines().count();
    assert!(shown < 100, "{shown} lines: {}", failed.stderr);
    // The last iteration, and what comes behind.
    for words in [
        "; R6_w=6000\n",
        "15: (61) r0 = *(u32 *)(r0 +0)\nR0 invalid mem access",
    ] {
        assert!(failed.stderr.contains(words), "{}", failed.stderr);
    }
    let raw = run("rejected-late", &[("KTSTR_VERIFIER_RAW", "1")]);
    raw.failed_with(
        "load: the kernel rejects its program `long_way`: R0 invalid mem access 'scalar'",
        None,
    );
    assert!(!raw.stderr.contains("identical iterations omitted"));
    for n in [2, 3000, 5999] {
        let is_there = raw.stderr.contains(&format!("; R6_w={n}\n"));
        assert!(is_there, "{n}: {}", raw.first_lines(20));
    }
}
