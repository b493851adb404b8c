//! Tests that end in every way a test can end; `tests/verdicts.rs` runs them one by one.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ktstr_harness::prelude::*;

ktstr_harness::main!();

#[ktstr_test(duration_s = 1)]
fn passes(ctx: &Ctx) -> Result<AssertResult> {
    println!("the body runs on {} CPUs", ctx.topology().cpus());
    Ok(AssertResult::pass())
}

#[ktstr_test(cores = 1, duration_s = 1, max_gap_ms = 0)]
fn violates_a_check(ctx: &Ctx) -> Result<AssertResult> {
    scenarios::steady(ctx)
}

#[ktstr_test(duration_s = 1)]
fn divides_by_zero(_: &Ctx) -> Result<AssertResult> {
    let mut result = AssertResult::pass();
    result
        .verdict
        .at_most_ratio("migrations per wake-up", 0.0, 0.0, 0.5);
    Ok(result)
}

#[ktstr_test(duration_s = 1, max_p99_wake_latency_ns = 1000)]
fn asks_for_latency_without_wakeups(ctx: &Ctx) -> Result<AssertResult> {
    scenarios::steady(ctx)
}

#[ktstr_test(duration_s = 1, allow_inconclusive)]
fn divides_by_zero_and_may(ctx: &Ctx) -> Result<AssertResult> {
    divides_by_zero(ctx)
}

#[ktstr_test(duration_s = 1)]
fn skips(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::skip("no such device in this machine"))
}

#[ktstr_test(duration_s = 1, expect_err)]
fn fails_as_declared(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::fail("mine", "as declared"))
}

#[ktstr_test(duration_s = 1, expect_err)]
fn passes_against_its_declaration(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(duration_s = 1)]
fn returns_an_error(_: &Ctx) -> Result<AssertResult> {
    std::fs::read("/no/such/file")?;
    Ok(AssertResult::pass())
}

#[ktstr_test(duration_s = 1)]
fn panics(_: &Ctx) -> Result<AssertResult> {
    panic!("the body gave up");
}

#[ktstr_test(duration_s = 1)]
fn segfaults(_: &Ctx) -> Result<AssertResult> {
    #[allow(unsafe_code)]
    // SAFETY: there is none; the fault is what this test is for.
    unsafe {
        std::ptr::without_provenance_mut::<u8>(8).write_volatile(1);
    }
    Ok(AssertResult::pass())
}

/// What a program compiled for a newer CPU comes to.
#[ktstr_test(duration_s = 1)]
fn runs_an_instruction_that_is_none(_: &Ctx) -> Result<AssertResult> {
    #[allow(unsafe_code)]
    // SAFETY: there is none; the fault is what this test is for.
    unsafe {
        std::arch::asm!("ud2");
    }
    Ok(AssertResult::pass())
}

#[ktstr_test(duration_s = 1)]
fn returns_an_error_of_several_lines(_: &Ctx) -> Result<AssertResult> {
    Err("it went wrong:\n--- auto-repro ---\n\u{1b}[1mreproduced: by nobody".into())
}

/// What `WARN()` of the kernel prints.
const WARNING: &str = "WARNING: CPU: 0 PID: 7 at kernel/sched/core.c:1 schedule+0x1/0x2";

#[ktstr_test(duration_s = 1)]
fn has_the_kernel_warn(_: &Ctx) -> Result<AssertResult> {
    fs::write("/dev/kmsg", WARNING)?;
    Ok(AssertResult::pass())
}

#[ktstr_test(duration_s = 1, allow_kernel_warnings = ["at kernel/sched/core.c:1 "])]
fn has_the_kernel_warn_and_may(_: &Ctx) -> Result<AssertResult> {
    fs::write("/dev/kmsg", WARNING)?;
    // What such a report brings along.
    fs::write("/proc/sys/kernel/tainted", "512")?;
    Ok(AssertResult::pass())
}

#[ktstr_test(duration_s = 1, allow_kernel_warnings = ["at kernel/sched/core.c:1 "])]
fn has_lockdep_report_beside_what_may_be(_: &Ctx) -> Result<AssertResult> {
    fs::write("/dev/kmsg", WARNING)?;
    let report = "WARNING: possible circular locking dependency detected";
    fs::write("/dev/kmsg", report)?;
    Ok(AssertResult::pass())
}

/// A report that left no line, because the log had no room for it.
#[ktstr_test(duration_s = 1)]
fn taints_the_kernel(_: &Ctx) -> Result<AssertResult> {
    fs::write("/proc/sys/kernel/tainted", "16384")?;
    Ok(AssertResult::pass())
}

#[ktstr_test(duration_s = 1)]
fn unmounts_proc(ctx: &Ctx) -> Result<AssertResult> {
    rustix::mount::unmount("/proc", rustix::mount::UnmountFlags::empty())?;
    scenarios::steady(ctx)
}

#[ktstr_test(duration_s = 1, extra_include_files = ["src"])]
fn includes_a_directory(ctx: &Ctx) -> Result<AssertResult> {
    let inner = fs::metadata(ctx.include_dir().join("src/guest/mounts.rs"))?;
    assert!(inner.is_file(), "{inner:?}");
    Ok(AssertResult::pass())
}

#[ktstr_test(duration_s = 1, extra_include_files = ["/dev/null"])]
fn includes_a_device(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(duration_s = 1)]
fn panics_the_kernel(_: &Ctx) -> Result<AssertResult> {
    fs::write("/proc/sysrq-trigger", "c")?;
    Ok(AssertResult::pass())
}

/// With minutes to do it in: every page that it eats is a fault, which emulation on a busy host takes its time for.
#[ktstr_test(duration_s = 60)]
fn eats_all_memory(_: &Ctx) -> Result<AssertResult> {
    let mut eaten = Vec::new();
    loop {
        eaten.push(vec![1_u8; 16 << 20]);
    }
}

#[ktstr_test(duration_s = 4)]
fn loses_a_worker(ctx: &Ctx) -> Result<AssertResult> {
    thread::spawn(|| {
        let worker = loop {
            if let Some(worker) = a_busy_child_of(std::process::id()) {
                break worker;
            }
            thread::sleep(Duration::from_millis(50));
        };
        let worker = rustix::process::Pid::from_raw(worker).expect("a process");
        rustix::process::kill_process(worker, rustix::process::Signal::KILL)
            .expect("a worker can be killed");
    });
    scenarios::steady(ctx)
}

/// Some process whose parent is `parent` and that has had CPU time, as workers have that were released: fields 4 and 14
/// of `/proc/PID/stat`, counted from behind the name in brackets.
fn a_busy_child_of(parent: u32) -> Option<i32> {
    fs::read_dir("/proc").ok()?.find_map(|entry| {
        let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let is_it = *fields.get(1)? == parent.to_string();
        let ticks: u64 = fields.get(11)?.parse().ok()?;
        (is_it && ticks > 0).then_some(pid)
    })
}

#[ktstr_test(duration_s = 1)]
fn exits(_: &Ctx) -> Result<AssertResult> {
    std::process::exit(7);
}

#[ktstr_test(duration_s = 1)]
fn never_returns(_: &Ctx) -> Result<AssertResult> {
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

#[ktstr_test(duration_s = 1)]
fn writes_without_end(_: &Ctx) -> Result<AssertResult> {
    loop {
        println!("and another line of many that nobody will read to its end");
    }
}

#[ktstr_test(host_only)]
fn runs_on_the_host(_: &Ctx) -> Result<AssertResult> {
    assert_ne!(std::process::id(), 1);
    Ok(AssertResult::pass())
}

#[ktstr_test(host_only)]
fn panics_on_the_host(_: &Ctx) -> Result<AssertResult> {
    panic!("on the host");
}

/// Judged by nothing that a busy host could spoil.
#[ktstr_test(llcs = 2, cores = 2, duration_s = 2, isolation)]
fn shares_the_machine(ctx: &Ctx) -> Result<AssertResult> {
    scenarios::steady(ctx)
}

#[ktstr_test(duration_s = 1, memory_mib = 512, kaslr = false, extra_include_files = ["Cargo.toml", "/bin/sh"])]
fn finds_what_it_asked_for(ctx: &Ctx) -> Result<AssertResult> {
    let manifest = fs::read_to_string(ctx.include_dir().join("Cargo.toml"))?;
    assert!(manifest.contains("ktstr-harness"), "{manifest}");
    let said = std::process::Command::new(ctx.include_dir().join("sh"))
        .args(["-c", "echo $((6 * 7))"])
        .output()?;
    assert_eq!(String::from_utf8_lossy(&said.stdout), "42\n");
    assert!(fs::read_to_string("/proc/cmdline")?.contains("nokaslr"));
    let memory = fs::read_to_string("/proc/meminfo")?;
    let total = memory
        .split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse::<u64>().ok());
    assert!(total > Some(400 << 10), "{total:?} KiB");
    Ok(AssertResult::pass())
}

/// Under emulation nobody waits for 240 CPUs.
/// As a body finds any Linux: a loopback interface, and an init that waits for processes which have lost their parents.
#[ktstr_test(duration_s = 1, extra_include_files = ["/bin/sh"])]
fn counts_on_init(ctx: &Ctx) -> Result<AssertResult> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    TcpStream::connect(listener.local_addr()?)?;
    let shell = Command::new(ctx.include_dir().join("sh"))
        .args(["-c", "(:) & echo $!"])
        .output()?;
    let orphan = String::from_utf8(shell.stdout)?;
    let process = Path::new("/proc").join(orphan.trim());
    assert!(!orphan.trim().is_empty());
    let begin = Instant::now();
    while process.exists() {
        assert!(
            begin.elapsed() < Duration::from_secs(15),
            "a zombie is left"
        );
        thread::sleep(Duration::from_millis(20));
    }
    Ok(AssertResult::pass())
}

#[ktstr_test(llcs = 15, cores = 16, duration_s = 1)]
fn asks_for_too_much(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

/// On KVM only, and where there are two CPUs.
#[ktstr_test(performance_mode, cores = 1, duration_s = 1)]
fn wants_cpus_of_its_own(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

/// Six workers on one CPU of four.
#[ktstr_test(cores = 4, duration_s = 1, max_imbalance_ratio = 1.5)]
fn crowds_a_cpu(ctx: &Ctx) -> Result<AssertResult> {
    let crowd = CgroupDef::named("crowd").workers(6);
    execute_defs(ctx, &[crowd.cpuset(CpusetSpec::Exact("0".parse()?))])
}

#[ktstr_test(duration_s = 1, max_fallback_rate = 1, max_keep_last_rate = 1)]
fn asks_eevdf_for_counters(ctx: &Ctx) -> Result<AssertResult> {
    scenarios::steady(ctx)
}

fn on_both_nodes(ctx: &Ctx) -> Result<AssertResult> {
    let group = |name: &str, node| {
        let def = CgroupDef::named(name).cpuset(CpusetSpec::Numa(node));
        def.workers(2).work(WorkType::mixed())
    };
    execute_defs(ctx, &[group("near", 0), group("far", 1)])
}

#[ktstr_test(
    numa_nodes = 2,
    llcs = 2,
    duration_s = 2,
    max_wake_latency_cv = 1000,
    max_throughput_cv = 0.9,
    min_work_rate = 1,
    max_migration_ratio = 1,
    min_page_locality = 0.9,
    max_imbalance_ratio = 4
)]
fn keeps_its_ratios(ctx: &Ctx) -> Result<AssertResult> {
    on_both_nodes(ctx)
}

#[ktstr_test(
    numa_nodes = 2,
    llcs = 2,
    duration_s = 1,
    max_wake_latency_cv = 0,
    max_throughput_cv = 0,
    min_work_rate = 1_000_000_000_000
)]
fn breaks_its_ratios(ctx: &Ctx) -> Result<AssertResult> {
    on_both_nodes(ctx)
}

#[ktstr_test(duration_s = 1, max_cross_node_migration_ratio = 0)]
fn relates_to_migrations_that_never_were(ctx: &Ctx) -> Result<AssertResult> {
    let pinned = CgroupDef::named("pinned").workers(1);
    execute_defs(ctx, &[pinned.cpuset(CpusetSpec::Exact("0".parse()?))])
}
