//! What the attribute says to what it is given.

use super::*;

/// What is wrong with the keys in `attribute`.
fn wrong(attribute: &str) -> Vec<String> {
    let mut errors = Errors::default();
    let settings = Settings::parse(attribute.parse().unwrap(), &mut errors);
    validate::validate(&settings, &mut errors);
    errors.messages()
}

/// What is left to the compiler.
fn asserted(attribute: &str) -> Vec<String> {
    let mut errors = Errors::default();
    let settings = Settings::parse(attribute.parse().unwrap(), &mut errors);
    let assertions = validate::validate(&settings, &mut errors);
    assert_eq!(errors.messages(), Vec::<String>::new(), "{attribute}");
    assertions
        .into_iter()
        .map(|assertion| assertion.message)
        .collect()
}

#[track_caller]
fn assert_wrong(attribute: &str, messages: &[&str]) {
    assert_eq!(wrong(attribute), messages, "{attribute}");
}

#[track_caller]
fn assert_right(attribute: &str) {
    assert_wrong(attribute, &[]);
}

#[test]
fn takes_values_of_the_right_kind() {
    assert_right("");
    assert_right("not_stuck, isolation = true, kaslr = false,");
    assert_right("llcs = 2, cores = (4), threads = 0x2, duration_s = 5u32");
    assert_right("max_spread_pct = 15, min_iteration_rate = 0.5, max_gap_ms = 0");
    assert_right("extra_include_files = [], memory_mib = 4 * GIB");
    assert_right("allow_kernel_warnings = [\"at kernel/x.c\"], scheduler = X, allow_restarts");
}

#[test]
fn refuses_values_of_the_wrong_kind() {
    assert_wrong("llcs", &["`llcs` takes a whole number: write `llcs = …`"]);
    assert_wrong(
        "llcs = , not_stuck",
        &["`llcs` takes a whole number, and nothing follows the `=`"],
    );
    assert_wrong("llcs = 1.5", &["`llcs` takes a whole number"]);
    assert_wrong("llcs = [1]", &["`llcs` takes a whole number"]);
    assert_wrong("llcs = 0", &["`llcs` must be at least 1"]);
    assert_wrong("llcs = -1", &["`llcs` must not be negative"]);
    assert_wrong("llcs = 4294967296", &["`llcs` must be at most 4294967295"]);
    assert_wrong(
        "max_gap_ms = 18446744073709551616",
        &["`max_gap_ms` must be at most 18446744073709551615"],
    );
    assert_wrong(
        "max_spread_pct = \"15\"",
        &["`max_spread_pct` takes a number"],
    );
    assert_wrong(
        "max_spread_pct = -0.1",
        &["`max_spread_pct` must not be negative"],
    );
    assert_wrong(
        "max_spread_pct = 1e999",
        &["`max_spread_pct` must be finite"],
    );
    assert_wrong(
        "not_stuck = 1",
        &["`not_stuck` takes `true`, `false` or nothing"],
    );
    let files = "`extra_include_files` takes an array of string literals";
    assert_wrong("extra_include_files = \"a\"", &[files]);
    assert_wrong("extra_include_files = [\"a\", 2]", &[files]);
    assert_wrong(
        "extra_include_files = [\"\"]",
        &["`extra_include_files` has an empty element"],
    );
}

#[test]
fn texts_of_kernel_warnings_are_literals_that_are_not_empty() {
    let name = "allow_kernel_warnings";
    assert_wrong(
        &format!("{name} = \"x\""),
        &["`allow_kernel_warnings` takes an array of string literals"],
    );
    // It would allow all of them.
    assert_wrong(
        &format!("{name} = [\"x\", \"\"]"),
        &["`allow_kernel_warnings` has an empty element"],
    );
    let none = "contradicts `host_only`: there is no machine to apply it to";
    assert_wrong(
        &format!("host_only, {name} = [\"x\"]"),
        &[&format!("`{name}` {none}")],
    );
    assert_wrong(
        "host_only, allow_restarts",
        &[&format!("`allow_restarts` {none}")],
    );
    assert_eq!(
        asserted("allow_restarts"),
        ["`allow_restarts` needs a `scheduler` that is loaded"]
    );
}

#[test]
fn programs_writes_and_functions_are_constants() {
    assert_right("payload = A, workloads = [B, c::D.checked_by(&[X])], cleanup_budget_ms = 500");
    assert_right("scheduler = S, bpf_map_write = [MapWrite::number(\".bss\", \"x\", 1)]");
    assert_right("post_vm = a::b");
    let one = "`payload` takes a program that `declare_payload!` declared";
    for wrong in ["payload = \"hackbench\"", "payload", "payload = [A]"] {
        let said = &self::wrong(wrong)[0];
        assert!(said.starts_with(one), "{said}");
    }
    let several = "`workloads` takes an array of programs that `declare_payload!` declared";
    assert_wrong("workloads = A", &[several]);
    assert_wrong("workloads = [A, 3]", &[several]);
    let writes = &wrong("bpf_map_write = 3")[0];
    assert!(
        writes.starts_with("`bpf_map_write` takes an array such as"),
        "{writes}"
    );
    let function = "`post_vm` takes the name of a function, `fn(&FinishedRun<'_>) -> Result<()>`";
    assert_wrong("post_vm = |run| Ok(())", &[function]);
    assert_wrong(
        "cleanup_budget_ms = 0",
        &["`cleanup_budget_ms` must be at least 1"],
    );
    let none = "contradicts `host_only`: there is no machine to apply it to";
    for (key, value) in [
        ("payload", "A"),
        ("workloads", "[A]"),
        ("bpf_map_write", "[W]"),
        ("post_vm", "f"),
        ("cleanup_budget_ms", "5"),
    ] {
        let refusal = format!("`{key}` {none}");
        assert_wrong(&format!("host_only, {key} = {value}"), &[&refusal]);
    }
    assert_eq!(
        asserted("payload = A, bpf_map_write = [W]"),
        [
            "two programs among `payload` and `workloads` have one name",
            "`bpf_map_write` needs a `scheduler` that is loaded: it writes into its maps",
        ]
    );
}

#[test]
fn refuses_what_is_no_entry() {
    assert_wrong("2", &["expected a key, such as `llcs = 2`"]);
    assert_wrong("llcs(2)", &["expected `=` after `llcs`"]);
    assert_wrong(
        "llcs = 2 cores = 2",
        &["expected `,` after the value of `llcs`"],
    );
}

#[test]
fn refuses_keys() {
    assert_wrong("lcls = 2", &["unknown key `lcls`; did you mean `llcs`?"]);
    let [message] = &wrong("colour = 2")[..] else {
        panic!("one error");
    };
    assert!(message.starts_with("unknown key `colour`; the keys are `numa_nodes`, `llcs`,"));
    assert_wrong(
        "not_stuck, not_stuck = false",
        &["`not_stuck` is given more than once"],
    );
}

#[test]
fn reports_everything_at_once() {
    assert_wrong(
        "llcs = 0, llc = [1, 2], payload = 3, ignore, ignore, min_cpus = 8, max_cpus = 4",
        &[
            "`llcs` must be at least 1",
            "unknown key `llc`; did you mean `llcs`?",
            "`payload` takes a program that `declare_payload!` declared",
            "`ignore` is given more than once",
            "`min_cpus = 8` is above `max_cpus = 4`; no gauntlet preset is left",
        ],
    );
}

#[test]
fn refuses_what_is_no_machine() {
    assert_wrong(
        "llcs = 3, numa_nodes = 2",
        &["`llcs = 3` is not a multiple of `numa_nodes = 2`: try `llcs = 2` or `llcs = 4`"],
    );
    assert_wrong(
        "numa_nodes = 2",
        &["`llcs` (1 unless given) is not a multiple of `numa_nodes = 2`: try `llcs = 2`"],
    );
    assert_wrong(
        "llcs = 257",
        &["`llcs` x `cores` x `threads` is 514 CPUs; at most 512 are supported"],
    );
    assert_right("llcs = 256, max_cpus = 512");
}

#[test]
fn compares_bounds() {
    assert_right("numa_nodes = 2, llcs = 2");
    assert_right("llcs = 24, cores = 16");
    assert_right("min_llcs = 0, max_llcs = 1");
    let none_left = "no gauntlet preset is left";
    assert_wrong(
        "min_llcs = 20",
        &[&format!(
            "`min_llcs = 20` is above `max_llcs` (12 unless given); {none_left}"
        )],
    );
    assert_wrong(
        "max_cpus = 0",
        &[&format!(
            "`min_cpus` (1 unless given) is above `max_cpus = 0`; {none_left}"
        )],
    );
    let own = "the base variant must satisfy its own constraint";
    assert_wrong(
        "llcs = 2, max_llcs = 1",
        &[&format!("`llcs = 2` is above `max_llcs = 1`; {own}")],
    );
    assert_wrong(
        "min_cpus = 4",
        &[&format!(
            "`min_cpus = 4` is above `llcs` x `cores` x `threads` = 2; {own}"
        )],
    );
    assert_right("requires_smt, threads = 2");
    assert_right("requires_smt = false");
    assert_wrong(
        "requires_smt",
        &["`requires_smt` contradicts `threads` (1 unless given): set `threads = 2`"],
    );
}

#[test]
fn host_only_has_no_machine() {
    assert_right("host_only, duration_s = 1, expect_err, not_stuck");
    assert_right("host_only = false, llcs = 2");
    let refusal =
        |name| format!("`{name}` contradicts `host_only`: there is no machine to apply it to");
    assert_wrong(
        "cores = 4, host_only, memory_mib = 512, kaslr, max_cpus = 8, extra_include_files = [\"a\"]",
        &[
            "cores",
            "memory_mib",
            "kaslr",
            "max_cpus",
            "extra_include_files",
        ]
        .map(refusal)
        .each_ref()
        .map(String::as_str),
    );
}

#[test]
fn leaves_constants_to_the_compiler() {
    assert_eq!(asserted("llcs = L, max_gap_ms = GAP"), Vec::<String>::new());
    assert_eq!(
        asserted("duration_s = D, max_spread_pct = -S"),
        [
            "`duration_s` must be at least 1",
            "`max_spread_pct` must be finite and not negative",
        ]
    );
    let own = "the base variant must satisfy its own constraint";
    assert_eq!(
        asserted("cores = C, min_cpus = 4, requires_smt, threads = T"),
        [
            format!("`min_cpus = 4` is above `llcs` x `cores` x `threads`; {own}"),
            "`requires_smt` contradicts `threads`, which is 1".to_owned(),
        ]
    );
}

#[test]
fn leaves_the_function_alone() {
    let function = "pub fn t(ctx: &Ctx) -> Result<AssertResult> { body(ctx) }";
    let expansion = expand("llcs = 2".parse().unwrap(), &function.parse().unwrap()).to_string();
    let function: TokenStream = function.parse().unwrap();
    assert!(expansion.contains(&function.to_string()));
}
