//! Every family of ready-made scenarios under the kernel's own scheduler, in real machines: `examples/families.rs`.

use ktstr_core::Outcome;

#[path = "support/case.rs"]
mod case;

/// One LLC, SMT, an odd number of LLCs, two NUMA nodes.
const PRESETS: [&str; 4] = [
    "4cpu-1llc-nosmt",
    "8cpu-2llc-smt",
    "9cpu-3llc-nosmt",
    "2numa-16cpu-4llc-nosmt",
];

/// Two LLCs, and so few CPUs that emulating them all takes seconds.
const QUICK: &str = "4cpu-2llc-nosmt";

/// What the record of a case says, which must pass or be a skip.
fn outcome(case: &str) -> (Outcome, String) {
    let run = case::run("families", case, &[]);
    assert_eq!(run.code, 0, "{case}: {}", run.stderr);
    let verdict = &run.sidecars[0].verdict;
    let details: Vec<String> = verdict.details().iter().map(ToString::to_string).collect();
    (verdict.outcome(), details.join("\n"))
}

/// Families that one CPU has nothing to show for.
const NEED_TWO: [&str; 6] = [
    "cpuset_shrink",
    "cpuset_grow",
    "cpuset_swap",
    "cpuset_disjoint",
    "cpuset_overlap",
    "hotplug",
];

fn passes_on_one_cpu(name: &str) {
    let (on_one, details) = outcome(&format!("ktstr/{name}"));
    if NEED_TWO.contains(&name) {
        assert_eq!(on_one, Outcome::Skip, "{details}");
        assert!(details.contains("1n1l1c1t has 1 CPU; "), "{details}");
    } else {
        assert_eq!(on_one, Outcome::Pass, "{details}");
    }
}

fn passes_on(name: &str, preset: &str) {
    let (there, details) = outcome(&format!("gauntlet/{name}/{preset}"));
    assert_eq!(there, Outcome::Pass, "{name} on {preset}: {details}");
}

macro_rules! families {
    ($($name:ident)*) => {$(
        mod $name {
            #[test]
            fn passes() {
                super::passes_on_one_cpu(stringify!($name));
                super::passes_on(stringify!($name), super::QUICK);
            }

            #[test]
            #[ignore = "a minute for each family, beside the other tests: --run-ignored all -E 'binary(families)'"]
            fn passes_on_the_other_presets() {
                for preset in super::PRESETS {
                    super::passes_on(stringify!($name), preset);
                }
            }
        }
    )*};
}

families! {
    affinity affinity_churn
    cpuset_shrink cpuset_grow cpuset_swap cpuset_disjoint cpuset_overlap
    cgroups_create cgroups_destroy cgroups_churn
    contention stress hotplug nesting
}

#[test]
fn nesting_has_its_bounds() {
    for depth in ["two", "eight"] {
        let (outcome, details) = outcome(&format!("ktstr/nesting_of_{depth}"));
        assert_eq!(outcome, Outcome::Pass, "{depth}: {details}");
    }
    let run = case::run("families", "ktstr/nesting_too_deep", &[]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(
        run.stderr.contains("nesting: a depth of 9; use 2 to 8"),
        "{}",
        run.stderr
    );
}
