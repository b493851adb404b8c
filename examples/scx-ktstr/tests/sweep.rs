//! What the verifier sweep makes of a scheduler's faults: for each, the stage that must catch it and the words it is
//! told in.

use std::path::Path;

use ktstr_core::{Stage, VerifierStats};
use ktstr_kernel::Cache;
use ktstr_kernel::discover::{Discovery, discover};

#[path = "../../../ktstr-harness/tests/support/case.rs"]
mod case;
use case::Run;

/// Scheduler, exit code, stage that it came to, what stands in the first lines of the failure.
type Row = (&'static str, i32, Stage, &'static str);

const TABLE: &[Row] = &[
    ("scx-ktstr", 0, Stage::Liveness, ""),
    ("long-way", 0, Stage::Liveness, ""),
    ("ignores-sigterm", 0, Stage::Liveness, ""),
    ("floods", 0, Stage::Liveness, ""),
    (
        "rejected",
        1,
        Stage::Load,
        "load: the kernel rejects its program `rejected`: R0 invalid mem access 'scalar'",
    ),
    (
        "exits-early",
        1,
        Stage::Attach,
        "attach: its program exited with status 7 before it was in force",
    ),
    (
        "never-attaches",
        1,
        Stage::Attach,
        "attach: it was not in force after",
    ),
    (
        "stalls",
        1,
        Stage::Dispatch,
        "dispatch: the kernel ejected it: SCX_EXIT_ERROR_STALL (runnable task stall): ",
    ),
    (
        "errs",
        1,
        Stage::Dispatch,
        "scx-ktstr: asked to fail after 10 insertions",
    ),
];

/// Runs the cell of `scheduler` on a small machine and the kernel that any test would take.
fn run(scheduler: &str, variables: &[(&str, &str)]) -> Run {
    let root = ktstr_core::env::cache_root(|name| std::env::var_os(name)).expect("a cache");
    let found = discover(&Discovery {
        env: &|name| std::env::var_os(name),
        cache: &Cache::new(root),
        dir: Path::new("."),
        root: Path::new("/"),
    });
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

#[test]
fn every_fault_is_caught_in_its_own_stage() {
    if is_left_out() {
        return;
    }
    let mut wrong = Vec::new();
    for (scheduler, code, stage, cause) in TABLE {
        let run = run(scheduler, &[]);
        let told = run.first_lines(2);
        let seen = stats(&run);
        let caught = run.code == *code && seen.stage == *stage && told.contains(cause);
        println!("{scheduler:16} exit {} in {}", run.code, seen.stage);
        if !caught {
            wrong.push(format!(
                "{scheduler}: exit {} in {}, wanted {code} in {stage} and `{cause}`:\n{}",
                run.code, seen.stage, run.stderr
            ));
        }
        // What was verified is known even where it never attached; of one that goes at once, what was seen in time.
        let verified = seen.programs.iter().filter(|p| p.verified_insns > Some(0));
        let expected = match *scheduler {
            _ if *stage == Stage::Load => 0,
            "exits-early" => 1,
            _ => 10,
        };
        if verified.count() < expected {
            wrong.push(format!("{scheduler}: {:?}", seen.programs));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
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
    assert_eq!(raw.code, 1);
    assert!(!raw.stderr.contains("identical iterations omitted"));
    for n in [2, 3000, 5999] {
        assert!(raw.stderr.contains(&format!("; R6_w={n}\n")), "{n}");
    }
}
