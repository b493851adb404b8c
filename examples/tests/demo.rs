//! The demo tests: what a first test file looks like, and what `make demo` runs.
//!
//! Their names start with `demo_`, so they run only when asked for: `--run-ignored all`.

use std::fs;
use std::path::Path;

use ktstr_harness::prelude::*;

ktstr_harness::main!();

/// Two equal groups of spinning workers: each gets its share, nobody waits long.
#[ktstr_test(
    llcs = 2,
    cores = 2,
    duration_s = 3,
    isolation,
    max_gap_ms = 2000,
    max_spread_pct = 50.0
)]
fn demo_two_groups_share_the_machine(ctx: &Ctx) -> Result<AssertResult> {
    scenarios::steady(ctx)
}

/// Workers confined to one LLC each stay there.
#[ktstr_test(llcs = 2, cores = 2, threads = 2, duration_s = 3, isolation)]
fn demo_cpusets_hold(ctx: &Ctx) -> Result<AssertResult> {
    let groups = [
        CgroupDef::named("left")
            .workers(3)
            .work(WorkType::Spin)
            .cpuset(CpusetSpec::Llc(0)),
        CgroupDef::named("right")
            .workers(3)
            .work(WorkType::Yield)
            .cpuset(CpusetSpec::Llc(1)),
    ];
    execute_defs(ctx, &groups)
}

/// Sleepers wake up in time beside workers that never sleep.
#[ktstr_test(
    llcs = 1,
    cores = 2,
    duration_s = 3,
    min_iteration_rate = 1.0,
    max_p99_wake_latency_ns = 1_000_000_000
)]
fn demo_sleepers_wake_in_time(ctx: &Ctx) -> Result<AssertResult> {
    let groups = [
        CgroupDef::named("sleepers")
            .workers(2)
            .work(WorkType::FutexPingPong),
        CgroupDef::named("hogs").workers(2).work(WorkType::Spin),
    ];
    execute_defs(ctx, &groups)
}

/// The guest kernel sees exactly the declared machine: every gauntlet variant compares sysfs with it.
#[ktstr_test(
    llcs = 2,
    cores = 2,
    threads = 2,
    max_numa_nodes = 4,
    max_llcs = 15,
    max_cpus = 252
)]
fn demo_topology(ctx: &Ctx) -> Result<AssertResult> {
    let topology = ctx.topology();
    let mut seen = Seen::default();
    let cpus = Path::new("/sys/devices/system/cpu");
    let nodes = Path::new("/sys/devices/system/node");

    let all = topology.all_cpus();
    for list in ["present", "possible", "online"] {
        seen.cpus(&cpus.join(list), &all);
    }
    for cpu in all.iter() {
        let dir = cpus.join(format!("cpu{cpu}"));
        let core = topology.cpus_of_core(topology.core_of(cpu));
        let llc = topology.cpus_of_llc(topology.llc_of(cpu));
        for list in ["thread_siblings_list", "core_cpus_list"] {
            seen.cpus(&dir.join("topology").join(list), &core);
        }
        for list in ["core_siblings_list", "package_cpus_list"] {
            seen.cpus(&dir.join("topology").join(list), &llc);
        }
        let package = topology.llc_of(cpu);
        seen.text(
            &dir.join("topology/physical_package_id"),
            &package.to_string(),
        );
        seen.caches(&dir.join("cache"), &core, &llc);
        let node = dir.join(format!("node{}", topology.node_of(cpu)));
        seen.exists(&node);
    }

    let all_nodes: CpuSet = (0..topology.numa_nodes()).collect();
    for list in ["online", "possible", "has_cpu", "has_memory"] {
        seen.cpus(&nodes.join(list), &all_nodes);
    }
    for node in all_nodes.iter() {
        let dir = nodes.join(format!("node{node}"));
        seen.cpus(&dir.join("cpulist"), &topology.cpus_of_node(node));
        let distance = |other| if other == node { "10" } else { "20" };
        let row: Vec<_> = all_nodes.iter().map(distance).collect();
        seen.text(&dir.join("distance"), &row.join(" "));
    }
    seen.result
        .metrics
        .insert("sysfs_facts".to_owned(), f64::from(seen.facts));
    Ok(seen.result)
}

/// What was compared so far, and what did not match.
#[derive(Default)]
struct Seen {
    facts: u32,
    result: AssertResult,
}

impl Seen {
    fn text(&mut self, path: &Path, expected: &str) {
        self.facts += 1;
        let mismatch = match fs::read_to_string(path) {
            Ok(found) if found.trim() == expected => return,
            Ok(found) => format!(
                "{} is `{}`, declared `{expected}`",
                path.display(),
                found.trim()
            ),
            Err(error) => format!("{}: {error}", path.display()),
        };
        self.result.merge(AssertResult::fail("topology", mismatch));
    }

    fn cpus(&mut self, path: &Path, expected: &CpuSet) {
        self.text(path, &expected.to_string());
    }

    fn exists(&mut self, path: &Path) {
        self.facts += 1;
        if !path.exists() {
            self.result.merge(AssertResult::fail(
                "topology",
                format!("{} is missing", path.display()),
            ));
        }
    }

    /// First-level caches belong to a core, the last level to the LLC.
    fn caches(&mut self, dir: &Path, core: &CpuSet, llc: &CpuSet) {
        let mut levels = Vec::new();
        for index in 0.. {
            let index = dir.join(format!("index{index}"));
            let Ok(level) = fs::read_to_string(index.join("level")) else {
                break;
            };
            levels.push(level.trim().to_owned());
            let shared = if level.trim() == "3" { llc } else { core };
            self.cpus(&index.join("shared_cpu_list"), shared);
        }
        if !levels.iter().any(|level| level == "3") {
            let message = format!("{}: levels {levels:?}, no L3", dir.display());
            self.result.merge(AssertResult::fail("topology", message));
        }
    }
}
