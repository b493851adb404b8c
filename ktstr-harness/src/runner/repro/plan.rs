//! From the end of a scheduler to the functions whose calls explain it.

use std::path::Path;

use crate::Scheduler;
use crate::probe::{ProbePlan, ProbedFunction, program_of, trampoline_of};
use crate::scx_exit::{ScxExit, ScxExitKind};

/// A function of the kernel that is about one task, or that schedulers call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// The callbacks that it calls itself.
    pub(super) callbacks: &'static [&'static str],
    /// Worth recording even where the scheduler has none of them.
    always: bool,
    /// What kernels call it, newest first.
    names: &'static [&'static str],
    /// The task, as an expression of its arguments; empty where it is about none.
    task: &'static str,
    args: &'static [&'static str],
    returns: bool,
}

const fn caller(
    callbacks: &'static [&'static str],
    names: &'static [&'static str],
    task: &'static str,
) -> Known {
    Known {
        callbacks,
        always: false,
        names,
        task,
        args: &[],
        returns: false,
    }
}

/// A station in the life of every task.
const fn station(
    callbacks: &'static [&'static str],
    names: &'static [&'static str],
    task: &'static str,
    args: &'static [&'static str],
) -> Known {
    Known {
        always: true,
        args,
        ..caller(callbacks, names, task)
    }
}

const fn returning(known: Known) -> Known {
    Known {
        returns: true,
        ..known
    }
}

/// Callers of callbacks and functions that schedulers call: `kernel/sched/ext.c` of 6.12, with the names of later
/// kernels before its own.
const KNOWN: &[Known] = &[
    returning(station(
        &["select_cpu"],
        &["select_task_rq_scx"],
        "p",
        &["prev_cpu=prev_cpu"],
    )),
    station(
        &["runnable"],
        &["enqueue_task_scx"],
        "p",
        &["enq_flags=enq_flags:x32"],
    ),
    station(
        &["enqueue"],
        &["do_enqueue_task"],
        "p",
        &["enq_flags=enq_flags:x64"],
    ),
    station(
        &["stopping", "quiescent"],
        &["dequeue_task_scx"],
        "p",
        &["deq_flags=deq_flags:x32"],
    ),
    caller(&["dequeue"], &["ops_dequeue"], "p"),
    caller(&["dispatch", "cpu_acquire"], &["balance_one"], "prev"),
    station(&["running"], &["set_next_task_scx"], "p", &[]),
    station(&["stopping"], &["put_prev_task_scx"], "p", &[]),
    caller(&["cpu_release"], &["switch_class"], "next"),
    caller(&["tick"], &["task_tick_scx"], "curr"),
    caller(&["yield"], &["yield_task_scx"], "rq->curr"),
    caller(&["yield"], &["yield_to_task_scx"], "to"),
    caller(&["set_cpumask"], &["set_cpus_allowed_scx"], "p"),
    caller(
        &["enable", "set_weight"],
        &["scx_enable_task", "scx_ops_enable_task"],
        "p",
    ),
    caller(
        &["disable"],
        &["scx_disable_task", "scx_ops_disable_task"],
        "p",
    ),
    returning(caller(
        &["init_task"],
        &["__scx_init_task", "scx_init_task", "scx_ops_init_task"],
        "p",
    )),
    caller(
        &["exit_task"],
        &[
            "scx_disable_and_exit_task",
            "scx_exit_task",
            "scx_ops_exit_task",
        ],
        "p",
    ),
    caller(&["set_weight"], &["reweight_task_scx"], "p"),
    station(&[], &["dispatch_to_local_dsq"], "p", &[]),
    returning(station(&[], &["scx_bpf_select_cpu_dfl"], "p", &[])),
    station(
        &[],
        &["scx_bpf_dsq_insert", "scx_bpf_dispatch"],
        "p",
        &["dsq=dsq_id:x64", "for=slice"],
    ),
    station(
        &[],
        &["scx_bpf_dsq_insert_vtime", "scx_bpf_dispatch_vtime"],
        "p",
        &["dsq=dsq_id:x64", "for=slice", "at=vtime"],
    ),
    returning(station(
        &[],
        &["scx_bpf_dsq_move_to_local", "scx_bpf_consume"],
        "",
        &["dsq=dsq_id:x64"],
    )),
];

/// Where a scheduler is given up, with an argument `kind`.
const EXITS: &[&str] = &["scx_vexit", "scx_exit", "scx_ops_exit_kind"];

/// What runs then: first the interrupt that the error raised, at the latest the end of it all.
const STOPS: &[&str] = &[
    "scx_error_irq_workfn",
    "scx_ops_error_irq_workfn",
    "scx_disable_workfn",
    "scx_ops_disable_workfn",
];

/// Where a backtrace enters the scheduler; what is below could be anybody's.
const ENTRIES: &[&str] = &["try_to_wake_up", "wake_up_new_task"];

/// Likewise, and not worth a probe themselves.
const BORDERS: &[&str] = &[
    "__schedule",
    "schedule",
    "sched_tick",
    "scheduler_tick",
    "do_idle",
    "kthread",
    "process_one_work",
    "do_syscall_64",
    "x64_sys_call",
];

/// What the kernel keeps of a task's name: `TASK_COMM_LEN` without its NUL (`include/linux/sched.h`).
const TASK_NAME: usize = 15;

/// Functions of a backtrace that are probed beside those of the table.
const MAX_FRAMES: usize = 6;

/// A backtrace of `symbol+0x1/0x2` lines that is worth looking at.
#[derive(Debug, Clone, Default)]
pub(super) struct Backtrace {
    /// Functions of the kernel, innermost first.
    pub(super) functions: Vec<String>,
    /// The innermost callback, and how many of the functions are below it.
    pub(super) callback: Option<(&'static str, usize)>,
}

impl Backtrace {
    /// Reads the lines of an exit. They are the guest's: what is no plain name is passed over.
    pub(super) fn of(exit: Option<&ScxExit>) -> Self {
        let mut backtrace = Self::default();
        let mut program = None;
        for frame in exit
            .map(|exit| exit.backtrace.as_slice())
            .unwrap_or_default()
        {
            let Some((symbol, _)) = frame.split_once("+0x") else {
                continue;
            };
            let below = backtrace.functions.len();
            if let Some(callback) = trampoline_of(symbol) {
                backtrace.callback.get_or_insert((callback, below));
            } else if is_of_bpf(symbol) {
                // Its caller is a trampoline, which older kernels do not name.
                program = program_of(symbol)
                    .map(|callback| (callback, below))
                    .or(program);
            } else if is_plain(symbol) {
                if BORDERS.contains(&symbol) {
                    break;
                }
                backtrace.functions.push(symbol.to_owned());
                if ENTRIES.contains(&symbol) {
                    break;
                }
            }
        }
        backtrace.callback = backtrace.callback.or(program);
        backtrace
    }
}

/// Whether ftrace cannot probe `symbol`, as it is no function of the kernel's own.
fn is_of_bpf(symbol: &str) -> bool {
    let of_bpf = ["bpf_prog_", "bpf__", "bpf_trampoline_", "bpf_dispatcher_"];
    of_bpf.iter().any(|start| symbol.starts_with(start))
}

/// Whether `name` can stand in a probe's definition.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    !name.is_empty() && name.len() <= 100 && name.chars().all(plain)
}

/// What to record of the next run of a test whose scheduler was given up with `exit`, or died without.
pub(super) fn plan(exit: Option<&ScxExit>, test: &str) -> ProbePlan {
    let only = exit
        .and_then(stalled_name)
        .map_or_else(Vec::new, |name| stallable(name, test));
    // Calls about no task cannot be told apart by it, and would push the others out.
    let known = KNOWN
        .iter()
        .filter(|known| only.is_empty() || !known.task.is_empty());
    let mut functions: Vec<_> = known.map(Known::probe).collect();
    let mut room = MAX_FRAMES;
    for name in Backtrace::of(exit).functions {
        let is_there = |function: &ProbedFunction| function.names.contains(&name);
        let special = EXITS.contains(&name.as_str()) || STOPS.contains(&name.as_str());
        if room > 0 && !special && !functions.iter().any(is_there) {
            functions.push(ProbedFunction {
                names: vec![name],
                tasks: vec!["p".to_owned(), "prev".to_owned()],
                ..ProbedFunction::default()
            });
            room -= 1;
        }
    }
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    ProbePlan {
        functions,
        exits: owned(EXITS),
        stops: owned(STOPS),
        only,
    }
}

/// The names of the tasks that may stall in a second run: the one that did, the test's own, which init has forked and
/// named when it ran, and the scheduler's program, which also waits for a CPU now and then. It need not be the same one
/// twice.
fn stallable(stalled: String, test: &str) -> Vec<String> {
    let test = test.chars().take(TASK_NAME).collect();
    let program = Path::new(Scheduler::PROGRAM).file_name();
    let program = program.unwrap_or_default().to_string_lossy().into_owned();
    let mut names = vec![stalled, test, "init".to_owned(), program];
    names.sort();
    names.dedup();
    names
}

/// The task that a stall's message names, in characters that a filter takes.
fn stalled_name(exit: &ScxExit) -> Option<String> {
    let (task, _) = exit.message.split_once(" failed to run for ")?;
    let (name, _) = task.rsplit_once('[')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:+".contains(c);
    (exit.kind == ScxExitKind::ErrorStall && !name.is_empty() && name.chars().all(plain))
        .then(|| name.to_owned())
}

impl Known {
    fn probe(&self) -> ProbedFunction {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let task = (!self.task.is_empty()).then(|| self.task.to_owned());
        ProbedFunction {
            names: owned(self.names),
            tasks: task.into_iter().collect(),
            args: owned(self.args),
            returns: self.returns,
        }
    }

    /// What the table says of the function `name`.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        KNOWN.iter().find(|known| known.names.contains(&name))
    }

    /// Whether its calls tell something about a scheduler with these callbacks; all do where nothing is known.
    pub(super) fn matters_to(&self, loaded: &[String]) -> bool {
        let is_loaded = |callback: &&str| loaded.iter().any(|loaded| loaded == callback);
        self.always || loaded.is_empty() || self.callbacks.iter().any(is_loaded)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in super::super) fn exit(kind: ScxExitKind, message: &str, frames: &[&str]) -> ScxExit {
        ScxExit {
            kind,
            reason: "r".to_owned(),
            message: message.to_owned(),
            backtrace: frames.iter().map(|f| (*f).to_owned()).collect(),
        }
    }

    const FRAMES: &[&str] = &[
        "scx_bpf_error_bstr+0x64/0x80",
        "bpf_prog_061541e7311a2e3e_ktstr_enqueue+0xd7/0x321",
        "bpf__sched_ext_ops_enqueue+0x4a/0xa7",
        "do_enqueue_task+0x1c5/0x440",
        "enqueue_task_scx+0x15d/0x220",
        "try_to_wake_up+0x1f0/0x620",
        "rm -rf /+0x1/0x2",
        "__schedule+0x1/0x2",
        "kernel_clone+0x1/0x2",
    ];

    #[test]
    fn functions_come_from_the_backtrace_and_the_table() {
        let exit = exit(ScxExitKind::ErrorBpf, "asked to fail", FRAMES);
        let backtrace = Backtrace::of(Some(&exit));
        assert_eq!(backtrace.callback, Some(("enqueue", 1)));
        let plan = plan(Some(&exit), "steady");
        let names: Vec<_> = plan.functions.iter().map(|f| f.names.join(" ")).collect();
        for name in ["scx_bpf_error_bstr", "try_to_wake_up", "do_enqueue_task"] {
            assert_eq!(names.iter().filter(|n| *n == name).count(), 1, "{names:?}");
        }
        assert_eq!(names.len(), KNOWN.len() + 2, "{names:?}");
        assert!(names.contains(&"scx_bpf_dsq_insert scx_bpf_dispatch".to_owned()));
        assert_eq!(plan.only, [""; 0]);
    }

    #[test]
    fn a_stall_is_watched_by_its_tasks_name() {
        let message = "spin[57] failed to run for 5.004s";
        let plan_of = |message: &str| {
            plan(
                Some(&exit(ScxExitKind::ErrorStall, message, &[])),
                "a_test_with_a_long_name",
            )
        };
        let plan = plan_of(message);
        assert_eq!(plan.only, ["a_test_with_a_l", "init", "program", "spin"]);
        assert!(
            plan.functions
                .iter()
                .all(|function| !function.tasks.is_empty())
        );
        assert_eq!(plan_of("a\" || 1[5] failed to run for 5.0s").only, [""; 0]);
        assert_eq!(
            plan_of("watchdog failed to check in for 5.0s").only,
            [""; 0]
        );
    }

    #[test]
    fn what_a_scheduler_does_not_implement_does_not_matter() {
        let tick = Known::find("task_tick_scx").unwrap();
        assert!(!tick.matters_to(&["enqueue".to_owned()]));
        assert!(tick.matters_to(&["tick".to_owned()]) && tick.matters_to(&[]));
    }

    proptest! {
        #[test]
        fn only_plain_names_are_planned(frames in prop::collection::vec(".{0,40}(\\+0x1)?", 0..80), message in ".*") {
            let frames: Vec<_> = frames.iter().map(String::as_str).collect();
            let plan = plan(Some(&exit(ScxExitKind::ErrorStall, &message, &frames)), "steady");
            prop_assert!(plan.functions.len() <= KNOWN.len() + MAX_FRAMES);
            prop_assert!(plan.functions.iter().all(|f| f.names.iter().all(|n| is_plain(n))));
        }
    }
}
