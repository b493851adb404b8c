//! Host CPUs for machines on a real KVM, one level down: those of performance mode, and those of a budget.

#[path = "../../ktstr-vmm/tests/support/nested.rs"]
mod nested;
use nested::{example, in_nested_host_of, kernel, linux};

const CASE: &str = "ktstr/wants_cpus_of_its_own";

fn run(cpus: u32, settings: &[&str]) -> Option<(String, bool)> {
    let linux = linux()?;
    let files = [(example("misbehave"), "/misbehave"), (kernel(), "/kernel")];
    let mut command = vec![
        "KTSTR_TEST_KERNEL=/kernel",
        "KTSTR_BACKEND=kvm",
        "KTSTR_CACHE_DIR=/tmp/cache",
        "KTSTR_SIDECAR_DIR=/tmp/sidecars",
        "KTSTR_LOCK_DIR=/tmp",
    ];
    command.extend(settings);
    command.extend(["/misbehave", CASE]);
    Some(in_nested_host_of(cpus, &linux, &files, &command))
}

#[test]
fn with_a_cpu_to_spare_performance_mode_passes() {
    let Some((said, well)) = run(2, &["KTSTR_NO_SKIP_MODE=1"]) else {
        return;
    };
    assert!(well && said.contains("worst outcome: pass"), "{said}");
    // No huge pages are reserved there.
    assert!(
        said.contains("performance mode: guest memory has too few"),
        "{said}"
    );
    assert!(said.contains("\"performance_mode\": true"), "{said}");
}

#[test]
fn without_one_it_is_a_skip_with_the_reason() {
    let Some((said, well)) = run(1, &[]) else {
        return;
    };
    assert!(well && said.contains("worst outcome: skip"), "{said}");
    assert!(said.contains("takes 2 host CPUs"), "{said}");
    assert!(said.contains("\"performance_mode\": null"), "{said}");
}

#[test]
fn switched_off_it_shares_the_only_cpu() {
    let settings = [
        "KTSTR_NO_PERF_MODE=1",
        "KTSTR_CPU_CAP=1",
        "KTSTR_NO_SKIP_MODE=1",
    ];
    let Some((said, well)) = run(1, &settings) else {
        return;
    };
    assert!(well && said.contains("worst outcome: pass"), "{said}");
    assert!(said.contains("\"performance_mode\": false"), "{said}");
}
