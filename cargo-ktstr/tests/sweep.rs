//! The verifier sweep over the kernel's own sched_ext schedulers, as a project of a user's would make it, in real
//! machines.
//!
//! `KTSTR_TEST_SCHEDULERS` is the directory of `scx_simple` and its kin, which `make test` builds
//! (`scripts/kernel-schedulers`); without it this test is skipped.

#[path = "support/project.rs"]
mod project;

use std::path::{Path, PathBuf};

use ktstr_core::host::Host;
use ktstr_kernel::Cache;
use ktstr_kernel::discover::discover;
use project::Project;

const SCHEDULERS: &[&str] = &["scx_simple", "scx_qmap", "scx_flatcg"];

/// What is wrong with the `scx_flatcg` of 6.12 shows now and then (see `ktstr-harness/tests/schedulers.rs`), and is told
/// as that.
const SICKLY: &str = "scx_flatcg";
const BUGS: &[&str] = &[
    "waiting for",
    "attempting to destroy in-use dsq",
    "SCX_EXIT_ERROR_STALL (runnable task stall)",
];

const PRESETS: &[&str] = &[
    "4cpu-2llc-nosmt",
    "9cpu-3llc-nosmt",
    "8cpu-2llc-smt",
    "2numa-16cpu-4llc-nosmt",
];

#[test]
fn the_kernels_own_schedulers_pass() {
    let programs = std::env::var_os("KTSTR_TEST_SCHEDULERS").filter(|dir| !dir.is_empty());
    let Some(programs) = programs.map(PathBuf::from) else {
        eprintln!(
            "SKIP: KTSTR_TEST_SCHEDULERS is not set; `make test` builds the schedulers and sets it"
        );
        return;
    };
    let project = Project::new(&declarations(&programs));
    let presets = PRESETS.join("|");
    let output = project
        .cargo_ktstr("verifier")
        .arg("--kernel")
        .arg(kernel())
        .args(["--", "--no-fail-fast"])
        .args(["-E", &format!("test(/\\/({presets})$/)")])
        .output()
        .unwrap();
    let tables = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(tables.lines().all(|line| line.len() <= 80), "{tables}");
    let mut failed = 0;
    for scheduler in SCHEDULERS {
        let (_, cells) = tables
            .split_once(&format!("\n{scheduler}: cells\n"))
            .unwrap_or_else(|| panic!("no {scheduler} in {tables}"));
        let rows: Vec<(&str, &str)> = cells
            .lines()
            .skip(1)
            .take(PRESETS.len())
            .filter_map(|line| line.trim().split_once(' '))
            .map(|(preset, cell)| (preset, cell.trim()))
            .collect();
        for preset in PRESETS {
            let row = rows.iter().find(|(of, _)| of == preset);
            let cell = row.map_or("none", |(_, cell)| cell);
            let is_sick = *scheduler == SICKLY && cell.starts_with("FAIL ");
            assert!(
                cell == "pass" || is_sick,
                "{scheduler} {preset}: {said}{tables}"
            );
            failed += usize::from(is_sick);
        }
    }
    assert_eq!(output.status.success(), failed == 0, "{said}{tables}");
    let told = BUGS.iter().map(|bug| said.matches(bug).count());
    assert!(told.sum::<usize>() >= failed, "{said}{tables}");
    // The loops over CPUs of its initialization take the verifier its time.
    for (program, least) in [
        ("simple_enqueue", 10),
        ("qmap_init", 1000),
        ("fcg_dispatch", 100),
    ] {
        let insns = figure(&tables, program);
        assert!(insns >= least, "{program}: {insns}; {tables}");
    }
    // Another scheduler is none of this sweep's.
    assert_eq!(tables.matches(": cells\n").count(), SCHEDULERS.len());
}

/// The number below `program` in the tables.
fn figure(tables: &str, program: &str) -> u64 {
    let mut lines = tables.lines();
    let head = lines
        .by_ref()
        .find(|line| line.split_whitespace().any(|word| word == program));
    let head = head.unwrap_or_else(|| panic!("no {program} in {tables}"));
    let column = head.split_whitespace().position(|word| word == program);
    let cells = lines.next().unwrap_or_default();
    let cell = cells.split_whitespace().nth(column.unwrap());
    cell.and_then(|cell| cell.parse().ok())
        .unwrap_or_else(|| panic!("no figure of {program} in {tables}"))
}

/// Declarations of all of them by the paths of their programs, and nothing else.
fn declarations(programs: &Path) -> String {
    let declarations = SCHEDULERS.iter().map(|name| {
        let (constant, path) = (name.to_uppercase(), programs.join(name));
        let path = path.display().to_string();
        format!("declare_scheduler!({constant}, {{ name = {name:?}, binary_path = {path:?} }});\n")
    });
    declarations.collect()
}

/// The kernel that any test would take.
fn kernel() -> PathBuf {
    let host = Host::of_this_process();
    let root = ktstr_core::env::cache_root(&host).expect("a cache");
    let found = discover(&host, &Cache::new(root), Path::new("."));
    found.expect("a kernel").kernel.image
}
