//! The demo tests on the KVM backend: on a real KVM, one level down.

#[path = "../../ktstr-vmm/tests/support/nested.rs"]
mod nested;
use nested::{in_nested_host, kernel, linux, test};

/// Runs the cases that `filters` name.
fn run(filters: &[&str]) {
    let Some(linux) = linux() else { return };
    let files = [
        (test("demo", "examples/tests/demo.rs"), "/demo"),
        (kernel(), "/kernel"),
    ];
    let command = [
        "KTSTR_TEST_KERNEL=/kernel",
        "KTSTR_BACKEND=kvm",
        "KTSTR_CACHE_DIR=/tmp/cache",
        "KTSTR_SIDECAR_DIR=/tmp/sidecars",
        "KTSTR_LOCK_DIR=/tmp",
        "/demo",
        "--include-ignored",
    ];
    let command = [&command[..], filters].concat();
    let (said, well) = in_nested_host(&linux, &files, &command);
    assert!(well && said.contains("worst outcome: pass"), "{said}");
}

#[test]
fn a_demo_test_passes_on_real_kvm() {
    run(&["ktstr/demo_two_groups_share_the_machine"]);
}

#[test]
#[ignore = "takes two minutes and more: machines of all demo tests"]
fn demo_tests_pass_on_real_kvm() {
    // Threads of a core; `wide::` of `ktstr-vmm` has nodes and more CPUs.
    run(&["ktstr/demo_", "gauntlet/demo_topology/8cpu-2llc-smt"]);
}
