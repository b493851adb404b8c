//! Probes of a second run of a failed test: the plan for the guest, and the report.
//!
//! Probes are dynamic events of tracefs (`Documentation/trace/fprobetrace.rst` and `kprobetrace.rst` of the kernel),
//! so neither host nor guest needs a BPF tool chain.

use serde::{Deserialize, Serialize};

/// Group of the events, and the name of the trace instance they are recorded in.
pub(crate) const GROUP: &str = "ktstr";

/// Event of the function that disables a scheduler.
pub(crate) const EXIT_EVENT: &str = "exit";

/// Event that ends the recording.
pub(crate) const STOP_EVENT: &str = "stop";

/// Limit of a recording that is sent to the host, in bytes: its end is kept.
pub(crate) const TRACE_LIMIT: usize = 2 << 20;

/// Functions to record the calls of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbePlan {
    /// Call `n` is recorded by the events `e{n}` and `r{n}`.
    pub functions: Vec<ProbedFunction>,
    /// Functions that disable a scheduler, with an argument `kind`; the first that exists is probed.
    pub exits: Vec<String>,
    /// Functions that run once a scheduler is disabled: any of them ends the recording.
    pub stops: Vec<String>,
    /// Names of the tasks that calls are recorded of; of all tasks where there is none.
    pub only: Vec<String>,
}

/// One function of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbedFunction {
    /// What kernels call it, newest first; the first that can be probed is taken.
    pub names: Vec<String>,
    /// Expressions for the task it is about, likewise; none where it is about no task.
    pub tasks: Vec<String>,
    /// Arguments to record at entry, as `name=expression`.
    pub args: Vec<String>,
    /// Whether it returns something worth recording.
    pub returns: bool,
}

/// What the probes saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// Why nothing could be recorded.
    pub problem: Option<String>,
    /// For each function of the plan the name it was probed by.
    pub armed: Vec<Option<String>>,
    /// Callbacks that the loaded scheduler implements; empty where the kernel does not tell.
    pub callbacks: Vec<String>,
    /// The scheduler's own program.
    pub scheduler_pid: Option<i32>,
    /// Whether there was no time to arm them all.
    pub late: bool,
    /// Whether there was no time to read the whole recording.
    pub cut: bool,
    /// The recording, as tracefs prints it.
    pub trace: String,
}

/// The callbacks of a scheduler: members of `struct sched_ext_ops` in `kernel/sched/ext.c`.
const CALLBACKS: &[&str] = &[
    "select_cpu",
    "enqueue",
    "dequeue",
    "dispatch",
    "tick",
    "runnable",
    "running",
    "stopping",
    "quiescent",
    "yield",
    "core_sched_before",
    "set_weight",
    "set_cpumask",
    "update_idle",
    "cpu_acquire",
    "cpu_release",
    "init_task",
    "exit_task",
    "enable",
    "disable",
    "dump",
    "dump_cpu",
    "dump_task",
    "cgroup_init",
    "cgroup_exit",
    "cgroup_prep_move",
    "cgroup_move",
    "cgroup_cancel_move",
    "cgroup_set_weight",
    "cgroup_set_bandwidth",
    "cgroup_set_idle",
    "cpu_online",
    "cpu_offline",
    "init",
    "exit",
];

/// Trampolines of callbacks, as `kernel/bpf/bpf_struct_ops.c` names them.
const TRAMPOLINE: &str = "bpf__sched_ext_ops_";

/// The callback whose trampoline `symbol` is.
pub(crate) fn trampoline_of(symbol: &str) -> Option<&'static str> {
    let name = symbol.strip_prefix(TRAMPOLINE)?;
    CALLBACKS
        .iter()
        .find(|callback| **callback == name)
        .copied()
}

/// The callback that the BPF program `symbol` probably is: `bpf_prog_{16 hex}_mine_enqueue` is `enqueue`.
pub(crate) fn program_of(symbol: &str) -> Option<&'static str> {
    let (_, name) = symbol.strip_prefix("bpf_prog_")?.split_once('_')?;
    let is = |callback: &&&str| {
        let before = name.strip_suffix(**callback);
        before.is_some_and(|before| before.is_empty() || before.ends_with('_'))
    };
    let candidates = CALLBACKS.iter().filter(is);
    candidates.max_by_key(|callback| callback.len()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callbacks_are_known_by_their_symbols() {
        assert_eq!(
            trampoline_of("bpf__sched_ext_ops_init_task"),
            Some("init_task")
        );
        assert_eq!(trampoline_of("bpf__sched_ext_ops_nothing"), None);
        let program = "bpf_prog_061541e7311a2e3e_qmap_cgroup_init";
        assert_eq!(program_of(program), Some("cgroup_init"));
        assert_eq!(
            program_of("bpf_prog_061541e7311a2e3e_enqueue"),
            Some("enqueue")
        );
        assert_eq!(
            program_of("bpf_prog_061541e7311a2e3e_monitor_timerfn"),
            None
        );
        assert_eq!(program_of("bpf_prog_active"), None);
    }
}
