//! The shapes in which a kernel reports faults of its own.
//!
//! Log levels do not identify them: an unstable clock source is reported as a warning too. Each shape is the text of
//! one `printk` of the kernel (or of a family of them), in Linux 6.12 unless another version is named.

/// Bits of `/proc/sys/kernel/tainted` that reports bring along: `include/linux/panic.h`.
const BAD_PAGE: u64 = 1 << 5;
const DIE: u64 = 1 << 7;
const WARN: u64 = 1 << 9;
const SOFT_LOCKUP: u64 = 1 << 14;

/// What some files put before each of their messages (`pr_fmt`): `kernel/rcu/*.c`, `kernel/watchdog.c`,
/// `kernel/watchdog_perf.c`, `kernel/smp.c`, `kernel/workqueue.c`.
const PREFIXES: &[&str] = &[
    "rcu: ",
    "watchdog: ",
    "NMI watchdog: ",
    "smp: ",
    "workqueue: ",
];

/// A report's first line begins with the first text and contains the second; the kernel is tainted so.
type Shape = (&'static str, &'static str, u64);

const SHAPES: &[Shape] = &[
    // kernel/panic.c, __warn(): WARN() and its kin; since 6.19 `WARNING: file:line at function, CPU#0: task/7`.
    ("WARNING: CPU: ", "", WARN),
    ("WARNING: ", ", CPU#", WARN),
    // kernel/locking/lockdep.c: what CONFIG_PROVE_LOCKING, CONFIG_PROVE_RCU and their kin find. And whatever else
    // begins like this: a false report is noticed, a missed one is not.
    ("WARNING: ", "", 0),
    ("[ BUG: ", "", 0),
    ("INFO: trying to register non-static key", "", 0),
    ("INFO: possible ", "", 0),
    ("INFO: inconsistent lock state", "", 0),
    // kernel/watchdog.c and kernel/watchdog_perf.c.
    ("BUG: soft lockup - CPU#", "", SOFT_LOCKUP),
    ("Watchdog detected hard LOCKUP on cpu ", "", 0),
    // mm/page_alloc.c, mm/memory.c, mm/kasan/report.c, mm/kfence/report.c, mm/kmsan/report.c, mm/slub.c.
    ("BUG: Bad ", "", BAD_PAGE),
    ("BUG: KASAN: ", "", BAD_PAGE),
    ("BUG: KFENCE: ", "", BAD_PAGE),
    ("BUG: KMSAN: ", "", BAD_PAGE),
    ("BUG ", "ainted", BAD_PAGE),
    // kernel/sched/core.c.
    ("BUG: scheduling ", "", WARN),
    (
        "BUG: sleeping function called from invalid context",
        "",
        WARN,
    ),
    ("BUG: assuming ", "", WARN),
    // arch/x86/mm/fault.c, arch/x86/kernel/traps.c: an oops follows, which taints.
    ("BUG: kernel NULL pointer dereference", "", DIE),
    ("BUG: unable to handle ", "", DIE),
    // All others: spinlocks, workqueues, lockdep's own limits, KCSAN.
    ("BUG: ", "", 0),
    // lib/bug.c.
    ("kernel BUG at ", "", DIE),
    ("Kernel BUG at ", "", DIE),
    // arch/x86/kernel/dumpstack.c, __die_header(): `general protection fault: 0000 [#1]` before 6.8.
    ("Oops: ", "", DIE),
    ("general protection fault", " [#", DIE),
    ("invalid opcode: ", " [#", DIE),
    ("divide error: ", " [#", DIE),
    ("stack segment: ", " [#", DIE),
    ("Unable to handle kernel ", "", DIE),
    // lib/ubsan.c.
    ("UBSAN: ", "", WARN),
    // kernel/hung_task.c.
    ("INFO: task ", " blocked ", 0),
    // kernel/rcu/tree_stall.h, tree_exp.h, tasks.h.
    ("INFO: rcu", "stall", 0),
    // kernel/smp.c.
    ("csd: Detected non-responsive CSD lock", "", 0),
    // mm/kmemleak.c.
    ("kmemleak: ", "new suspected memory leaks", 0),
];

/// The taint that comes with the report that `line`, without its time, begins; `None` where it begins none.
pub(crate) fn taint_of(line: &str) -> Option<u64> {
    let line = line.trim_start();
    let line = PREFIXES
        .iter()
        .find_map(|prefix| line.strip_prefix(prefix))
        .unwrap_or(line);
    let shape = SHAPES
        .iter()
        .find(|(start, part, _)| line.starts_with(start) && line[start.len()..].contains(part));
    shape.map(|(.., taint)| *taint)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reports_of_the_kernel_are_known_with_their_taint() {
        for (line, taint) in [
            (
                "WARNING: CPU: 0 PID: 7 at kernel/sched/core.c:1 x+0x1/0x2",
                WARN,
            ),
            (
                "WARNING: kernel/sched/ext.c:9 at scx_tick+0x1/0x9, CPU#3: init/1",
                WARN,
            ),
            ("WARNING: possible circular locking dependency detected", 0),
            ("WARNING: suspicious RCU usage", 0),
            ("[ BUG: Invalid wait context ]", 0),
            ("INFO: trying to register non-static key.", 0),
            ("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", 0),
            ("rcu: INFO: rcu_preempt self-detected stall on CPU", 0),
            (
                "rcu: INFO: rcu_sched detected expedited stalls on CPUs/tasks: {",
                0,
            ),
            (
                "INFO: task kworker/0:1:12 blocked for more than 120 seconds.",
                0,
            ),
            (
                "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [spin:57]",
                SOFT_LOCKUP,
            ),
            ("watchdog: Watchdog detected hard LOCKUP on cpu 0", 0),
            ("BUG: KASAN: slab-use-after-free in x+0x1/0x2", BAD_PAGE),
            (
                "BUG kmalloc-64 (Not tainted): Right Redzone overwritten",
                BAD_PAGE,
            ),
            ("BUG: Bad page state in process x  pfn:00001", BAD_PAGE),
            (
                "BUG: kernel NULL pointer dereference, address: 0000000000000008",
                DIE,
            ),
            ("Oops: Oops: 0002 [#1] PREEMPT SMP", DIE),
            ("general protection fault: 0000 [#1] PREEMPT SMP", DIE),
            ("kernel BUG at kernel/sched/ext.c:1!", DIE),
            ("UBSAN: shift-out-of-bounds in kernel/x.c:1:2", WARN),
            ("BUG: scheduling while atomic: x/7/0x00000002", WARN),
            ("BUG: workqueue lockup - pool cpus=0", 0),
            (
                "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
                0,
            ),
        ] {
            assert_eq!(taint_of(line), Some(taint), "{line}");
        }
    }

    /// Seen in passing runs, of emulated machines above all.
    #[test]
    fn ordinary_messages_are_no_reports() {
        for line in [
            "clocksource: timekeeping watchdog on CPU1: Marking clocksource 'tsc' as unstable because the skew is too large:",
            "clocksource: 'tsc' skewed 1500000 ns (1 ms) over watchdog 'hpet' interval of 500 ns",
            "hrtimer: interrupt took 2343252 ns",
            "sched: DL replenish lagged too much",
            "sched: RT throttling activated",
            "sched_ext: BPF scheduler \"x\" disabled (runtime error)",
            "sched_ext: x: spin[57] failed to run for 5.004s",
            "sched_ext: init[1] has zero slice in pick_task_scx()",
            "INFO: NMI handler (perf_event_nmi_handler) took too long to run: 1.2 msecs",
            "INFO: lockdep is turned off.",
            "perf: interrupt took too long (2501 > 2500), lowering kernel.perf_event_max_sample_rate",
            "workqueue: blk_mq_run_work_fn hogged CPU for >10000us 4 times, consider switching to WQ_UNBOUND",
            "Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on",
            "t[57]: segfault at 8 ip 00005555 sp 0000 error 6",
            "traps: t[57] trap invalid opcode ip:5555 sp:0 error:0",
            "traps: t[57] general protection fault ip:5555 sp:0 error:0",
            "Out of memory: Killed process 57 (t) total-vm:1kB",
            "---[ end trace 0000000000000000 ]---",
            "random: a program that prints BUG: x is no report",
            "",
        ] {
            assert_eq!(taint_of(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_looked_at(line: String) {
            let _ = taint_of(&line);
        }
    }
}
