//! Every work type, in real machines: `examples/work.rs`.

#[path = "support/case.rs"]
mod case;

/// The work types of a case, which must pass.
fn work_types(name: &str) -> Vec<String> {
    let run = case::run("work", &format!("ktstr/{name}"), &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let [sidecar] = run.sidecars.as_slice() else {
        panic!("{:?}", run.files)
    };
    let types = sidecar.cgroups.iter().map(|cgroup| {
        assert!(cgroup.iterations > 0, "{cgroup:?}");
        cgroup.work_type.clone().unwrap_or_default()
    });
    types.collect()
}

#[test]
fn wake_ups() {
    let types = work_types("wake_ups");
    let expected = [
        "wake_chain",
        "fan_out",
        "pipe_io",
        "socket_traffic",
        "timer_wake",
        "futex_ping_pong",
    ];
    assert_eq!(types, expected);
}

#[test]
fn changes() {
    let types = work_types("changes");
    let storm = "cgroup_attach_storm";
    let churn = "affinity_churn";
    let expected = [
        "fork_exit",
        storm,
        storm,
        churn,
        churn,
        "nice_churn",
        "policy_churn",
    ];
    assert_eq!(types, expected);
}

#[test]
fn locks_and_priorities() {
    let types = work_types("locks_and_priorities");
    let expected = [
        "preempt_storm",
        "rt_starvation",
        "priority_inversion",
        "priority_inheritance",
        "mutex_contention",
    ];
    assert_eq!(types, expected);
}

#[test]
fn memory_and_arithmetic() {
    let types = work_types("memory");
    assert_eq!(
        types,
        [
            "alu_hot",
            "cache_pressure",
            "page_faults",
            "numa_sweep",
            "custom"
        ]
    );
}

#[test]
fn what_a_definition_says_of_tasks_is_the_kernels() {
    assert_eq!(work_types("definitions_reach_the_kernel"), ["custom"]);
}

#[test]
fn what_cannot_be_done_with_tasks_is_told() {
    for (name, words) in [
        (
            "threads_move_together",
            "step 1 (move), move 1 from b to a: b: its workers are threads of one process, which is in one cgroup; move \
             them all together",
        ),
        ("a_refused_policy", "real-time policies need root"),
    ] {
        let run = case::run("work", &format!("ktstr/{name}"), &[]);
        assert_eq!(run.code, 1, "{}", run.stderr);
        assert!(run.stderr.contains(words), "{name}: {}", run.stderr);
    }
}
