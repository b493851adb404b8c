//! The KVM backend on a real KVM: in a machine that emulates AMD's SVM, one level down.
//!
//! On the host of `support/nested.rs` this crate's own tests of machines run (`tests/machine`).

use std::path::PathBuf;

#[path = "support/nested.rs"]
mod nested;
use nested::{example, in_nested_host, in_nested_host_of, kernel, linux, test};

#[test]
fn its_kvm_runs_what_a_kernel_is_made_of() {
    let Some(linux) = linux() else { return };
    let files = [(test("ktstr_vmm", "ktstr-vmm/src/lib.rs"), "/unit-tests")];
    let (said, well) = in_nested_host(
        &linux,
        &files,
        &["/unit-tests", "kvm::trial", "kvm::vcpu", "--nocapture"],
    );
    assert!(well && said.contains("Ok(()) in"), "{said}");
    assert!(
        said.contains("a_saved_vcpu_goes_on_as_another_one") && !said.contains("SKIP"),
        "{said}"
    );
}

/// The tests of machines, and what they need.
fn files() -> [(PathBuf, &'static str); 3] {
    [
        (
            test("machine", "ktstr-vmm/tests/machine/main.rs"),
            "/deps/machine",
        ),
        (example("guest"), "/examples/guest"),
        (kernel(), "/kernel"),
    ]
}

/// Runs `tests/machine` with `words` on the host's KVM: of libtest's command line, after `NAME=value` pairs for the
/// environment.
fn machines(words: &[&str]) {
    let Some(linux) = linux() else { return };
    let is_pair = |word: &&&str| word.contains('=') && !word.starts_with('-');
    let pairs = words.iter().take_while(is_pair).count();
    let (environment, words) = words.split_at(pairs);
    let mut command = vec!["KTSTR_TEST_KERNEL=/kernel", "KTSTR_BACKEND=kvm"];
    command.extend(environment);
    command.extend(["/deps/machine", "--test-threads=1", "--nocapture"]);
    command.extend(words);
    let (said, well) = in_nested_host(&linux, &files(), &command);
    assert!(well, "{said}");
}

#[test]
fn ends_of_guests_on_real_kvm_are_told() {
    machines(&["each_end_of_a_guest_is_told"]);
}

#[test]
#[ignore = "takes four minutes: most of the tests of machines"]
fn machines_on_real_kvm_do_what_others_do() {
    machines(&[
        // A byte on the serial line is an exit from the guest, and those are what emulation is slow at.
        "KTSTR_TEST_CONSOLE_KIB=32",
        "KTSTR_TEST_CHANNEL_MIB=8",
        "KTSTR_TEST_PRESET=8cpu-2llc-smt",
        // These take minutes and have tests of their own below.
        "--skip=wide::",
        "--skip=ends::",
        "--skip=terminal::",
    ]);
}

#[test]
#[ignore = "takes two minutes: machines by the dozen"]
fn nothing_is_left_of_machines_on_real_kvm() {
    // On KVM a machine is no process of its own.
    machines(&["ends::", "--skip=a_backend_that_died_is_told"]);
}

#[test]
#[ignore = "takes a minute and more: bytes of a serial line"]
fn terminals_on_real_kvm_are_typed_into() {
    machines(&["terminal::"]);
}

#[test]
#[ignore = "takes two minutes and more: 64 CPUs"]
fn many_cpus_on_real_kvm_are_as_declared() {
    machines(&["wide::", "--skip=all_cpus_come_up_with_apic_ids"]);
}

#[test]
#[ignore = "takes two minutes: 64 MiB through the channel, and nodes with up to 16 CPUs"]
fn much_on_real_kvm_is_as_little() {
    machines(&["the_channel_carries", "cpus_and_nodes"]);
}

#[test]
#[ignore = "takes five minutes: 125 CPUs"]
fn apic_ids_beyond_eight_bits_on_real_kvm() {
    machines(&["all_cpus_come_up_with_apic_ids"]);
}

#[test]
#[ignore = "takes half an hour (KTSTR_TEST_NESTED_LIMIT_S=3600): 4.5 MB over the serial line"]
fn a_long_console_on_real_kvm_is_bounded() {
    machines(&["a_long_console"]);
}

#[test]
#[ignore = "runs the tests of machines that KTSTR_TEST_NESTED_FILTER names, words of libtest's command line"]
fn some_machines_on_real_kvm() {
    let filter = std::env::var("KTSTR_TEST_NESTED_FILTER").expect("KTSTR_TEST_NESTED_FILTER");
    machines(&filter.split_whitespace().collect::<Vec<_>>());
}

#[test]
#[ignore = "takes half an hour (KTSTR_TEST_NESTED_LIMIT_S=3600): 100 boots with 4 CPUs and 25 with 32"]
fn boots_in_a_row_on_real_kvm() {
    let linux = linux().expect("KTSTR_TEST_NESTED_HOST");
    let boots = std::env::var("KTSTR_BOOTS").unwrap_or_else(|_| "100".to_owned());
    let boots = format!("KTSTR_BOOTS={boots}");
    let command = [
        "KTSTR_TEST_KERNEL=/kernel",
        "KTSTR_BACKEND=kvm",
        &boots,
        "/deps/machine",
        "--ignored",
        "--nocapture",
        "boots_in_a_row",
    ];
    let (said, well) = in_nested_host(&linux, &files(), &command);
    assert!(well, "{said}");
}

/// Two for the machine, one beside them.
#[test]
fn performance_mode_on_real_kvm_has_cpus_of_its_own() {
    let Some(linux) = linux() else { return };
    let command = [
        "KTSTR_TEST_KERNEL=/kernel",
        "KTSTR_BACKEND=kvm",
        "KTSTR_TEST_HUGEPAGES=256",
        "/deps/machine",
        "performance_mode",
        "--nocapture",
    ];
    let (said, well) = in_nested_host_of(3, &linux, &files(), &command);
    assert!(well && said.contains("\"vcpu1\""), "{said}");
}
