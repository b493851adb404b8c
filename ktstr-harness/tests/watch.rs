//! Watching the scheduler, in real machines: `examples/watch.rs`.

use ktstr_core::record::Reading;

#[path = "support/case.rs"]
mod case;
use case::Run;

fn run(name: &str) -> Run {
    case::run("watch", &format!("ktstr/{name}"), &[])
}

#[test]
fn a_watch_sees_and_judges_and_leaves_nothing() {
    let run = run("all_kinds_of_rules");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let metrics = &run.sidecars[0].metrics;
    for name in [
        "wasted_ms",
        "wake_to_run_ms",
        "enqueued",
        "runs_soon",
        "largest_pid",
    ] {
        assert!(metrics.contains_key(name), "{metrics:?}");
    }
}

#[test]
fn a_broken_rule_shows_the_moments_around_it() {
    let run = run("a_broken_rule");
    run.failed_with("no_worker_runs: broken by ", None);
    let verdict = &run.sidecars[0].verdict;
    let [detail] = verdict.details() else {
        panic!("{verdict:?}")
    };
    let moments: Vec<&str> = detail.message.lines().skip(1).collect();
    let at = moments
        .iter()
        .position(|line| line.trim_start().starts_with("+0.000 ms"));
    let at = at.unwrap_or_else(|| panic!("{detail}"));
    assert!(at > 0 && at + 1 < moments.len(), "{detail}");
}

#[test]
fn what_cannot_be_watched_is_an_error() {
    let run = run("a_function_that_is_not_there");
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(
        run.stdout
            .contains("watch enqueue_task_fair(p->no_such_field): the kernel says: "),
        "{}",
        run.stdout
    );
    assert!(
        run.stderr
            .contains("watch no_such_function(): the kernel says: "),
        "{}",
        run.stderr
    );
}

#[test]
fn init_watches_a_whole_test() {
    let run = run("a_limit_that_none_keeps");
    run.failed_with("max_wake_to_run_ms: ", None);
    assert!(run.stderr.contains("--- trace ---"), "{}", run.stderr);
    let sidecar = &run.sidecars[0];
    let Some(Reading::Read(traced)) = &sidecar.traced else {
        panic!("{:?}", sidecar.traced)
    };
    assert!(traced.switches > 0 && traced.lost == 0, "{traced:?}");
    assert!(sidecar.metrics["wake_to_run_ms"] > 0.0);
}
