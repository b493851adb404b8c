//! What a second run shows of the scheduler's faults.

#[path = "../../../ktstr-harness/tests/support/case.rs"]
mod case;

fn run(name: &str) -> Option<case::Run> {
    if cfg!(bpf_left_out) {
        eprintln!("SKIP: scx-ktstr was built without clang");
        return None;
    }
    let scheduler = [("KTSTR_SCHEDULER", env!("CARGO_BIN_EXE_scx-ktstr"))];
    Some(case::run("cases", &format!("ktstr/{name}"), &scheduler))
}

#[test]
fn the_failing_callback_is_shown_with_its_task() {
    let Some(run) = run("reports_an_error") else {
        return;
    };
    let repro = run.auto_repro();
    let failed = ["ops.select_cpu failed for ", "ops.enqueue failed for "];
    assert!(
        failed.iter().any(|callback| repro.contains(callback)),
        "{repro}"
    );
    let [pid, cpu, slice] = &run.before_and_after()[..] else {
        panic!("{repro}")
    };
    let number = |text: &String| {
        text.parse::<u64>()
            .unwrap_or_else(|_| panic!("{text} in {repro}"))
    };
    assert!(
        pid[0] == "pid" && pid[1] == pid[2] && number(&pid[1]) > 0,
        "{repro}"
    );
    assert!(
        repro.contains(&format!("[{}], called by ", pid[1])),
        "{repro}"
    );
    assert!(
        cpu[0] == "cpu" && number(&cpu[1]) < 4 && number(&cpu[2]) < 4,
        "{repro}"
    );
    // The callback goes on after its error and hands out a whole slice, 20 ms unless told otherwise.
    assert_eq!(slice[0], "slice");
    assert!(
        number(&slice[1]) <= 20_000_000 && number(&slice[2]) == 20_000_000,
        "{repro}"
    );
    let marked = |line: &&str| line.get(13..15) == Some(" >");
    assert_eq!(repro.lines().filter(marked).count(), 1, "{repro}");
}

/// The kernel notices it outside of any callback: the task's last one is to blame.
#[test]
fn a_wrong_cpu_is_traced_to_the_callback_that_chose_it() {
    let Some(run) = run("picks_a_wrong_cpu") else {
        return;
    };
    let repro = run.auto_repro();
    for part in ["\nlast callback for ", "scx_bpf_dispatch", "dsq=LOCAL_ON|"] {
        assert!(repro.contains(part), "no {part} in {repro}");
    }
}
