//! Why sched_ext disabled a scheduler, from the kernel's log.
//!
//! The lines are those of `scx_ops_disable_workfn` in the kernel's `kernel/sched/ext.c`.

use std::fmt;
use std::time::Duration;

use ktstr_core::record::SchedulerExit;
use serde::{Deserialize, Serialize};

/// The end of a scheduler, in the kernel's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScxExit {
    /// The kind of the exit.
    pub kind: ScxExitKind,
    /// The reason that the kernel prints for that kind.
    pub reason: String,
    /// What exactly was wrong; empty where the kernel does not say.
    pub message: String,
    /// Functions on the stack where it was noticed, innermost first.
    pub backtrace: Vec<String>,
}

/// Kinds of exits: `enum scx_exit_kind` of the kernel, by whose names they are shown and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ScxExitKind {
    /// User space unregistered it: its program ended, or closed the link.
    #[serde(rename = "SCX_EXIT_UNREG")]
    Unreg,
    /// It unregistered itself (`scx_bpf_exit()`).
    #[serde(rename = "SCX_EXIT_UNREG_BPF")]
    UnregBpf,
    /// The kernel unregistered it, such as for CPU hotplug.
    #[serde(rename = "SCX_EXIT_UNREG_KERN")]
    UnregKern,
    /// SysRq-S unregistered it.
    #[serde(rename = "SCX_EXIT_SYSRQ")]
    Sysrq,
    /// The kernel found an error in what it did.
    #[serde(rename = "SCX_EXIT_ERROR")]
    Error,
    /// It reported an error itself (`scx_bpf_error()`).
    #[serde(rename = "SCX_EXIT_ERROR_BPF")]
    ErrorBpf,
    /// It left a task waiting for longer than its watchdog allows.
    #[serde(rename = "SCX_EXIT_ERROR_STALL")]
    ErrorStall,
    /// A reason that this version does not know; it counts as an error.
    #[serde(rename = "SCX_EXIT_UNKNOWN")]
    Unknown,
}

/// Reasons by kind: `scx_exit_reason` of the kernel.
const REASONS: &[(&str, ScxExitKind)] = &[
    ("unregistered from user space", ScxExitKind::Unreg),
    ("unregistered from BPF", ScxExitKind::UnregBpf),
    ("unregistered from the main kernel", ScxExitKind::UnregKern),
    ("disabled by sysrq-S", ScxExitKind::Sysrq),
    ("runtime error", ScxExitKind::Error),
    ("scx_bpf_error", ScxExitKind::ErrorBpf),
    ("runnable task stall", ScxExitKind::ErrorStall),
];

impl ScxExitKind {
    /// The kind that the kernel prints `reason` for.
    pub fn of_reason(reason: &str) -> Self {
        let known = REASONS.iter().find(|(text, _)| *text == reason);
        known.map_or(Self::Unknown, |(_, kind)| *kind)
    }

    /// What the kernel prints for it.
    pub fn reason(self) -> &'static str {
        let known = REASONS.iter().find(|(_, kind)| *kind == self);
        known.map_or("a reason that this version does not know", |(text, _)| text)
    }

    /// The kernel's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreg => "SCX_EXIT_UNREG",
            Self::UnregBpf => "SCX_EXIT_UNREG_BPF",
            Self::UnregKern => "SCX_EXIT_UNREG_KERN",
            Self::Sysrq => "SCX_EXIT_SYSRQ",
            Self::Error => "SCX_EXIT_ERROR",
            Self::ErrorBpf => "SCX_EXIT_ERROR_BPF",
            Self::ErrorStall => "SCX_EXIT_ERROR_STALL",
            Self::Unknown => "SCX_EXIT_UNKNOWN",
        }
    }

    /// Whether the kernel ended it because of an error, rather than on request.
    pub const fn is_error(self) -> bool {
        matches!(
            self,
            Self::Error | Self::ErrorBpf | Self::ErrorStall | Self::Unknown
        )
    }

    /// What was done, to follow the scheduler's name: `the kernel ejected it`.
    pub const fn deed(self) -> &'static str {
        match self {
            Self::UnregBpf => "it ended itself",
            Self::UnregKern => "the kernel ended it",
            Self::Sysrq => "SysRq-S ended it",
            Self::Unreg => "its program ended it",
            Self::Error | Self::ErrorBpf | Self::ErrorStall | Self::Unknown => {
                "the kernel ejected it"
            }
        }
    }
}

impl fmt::Display for ScxExitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How many lines of others may stand between that of an exit and its message.
const OTHER_LINES: usize = 16;

/// Entries of a stack that are kept; the kernel keeps 64.
const MAX_FRAMES: usize = 64;

impl ScxExit {
    /// The same without the stack, as records keep it.
    pub fn recorded(&self) -> SchedulerExit {
        SchedulerExit {
            kind: self.kind.name().to_owned(),
            reason: self.reason.clone(),
            message: self.message.clone(),
        }
    }

    /// The first exit of a scheduler in `log`.
    pub fn find(log: &str) -> Option<Self> {
        Self::find_with(log, |_| true)
    }

    /// The exit in `log` that explains why a scheduler is gone: the first that the kernel found fault with, else the
    /// first that was not asked for by user space.
    pub fn to_blame(log: &str) -> Option<Self> {
        Self::find_with(log, ScxExitKind::is_error)
            .or_else(|| Self::find_with(log, |kind| kind != ScxExitKind::Unreg))
    }

    /// The first exit of a kind that `wanted` takes.
    fn find_with(log: &str, wanted: impl Fn(ScxExitKind) -> bool) -> Option<Self> {
        let mut lines = log.lines().map(without_stamp);
        let is_wanted =
            |line| disabled(line).filter(|(_, reason)| wanted(ScxExitKind::of_reason(reason)));
        let (name, reason) = lines.by_ref().find_map(is_wanted)?;
        let mut exit = Self {
            kind: ScxExitKind::of_reason(reason),
            reason: reason.to_owned(),
            message: String::new(),
            backtrace: Vec::new(),
        };
        let prefix = format!("sched_ext: {name}: ");
        // Another CPU may say something in between.
        let mut ahead = lines
            .clone()
            .take(OTHER_LINES)
            .take_while(|line| disabled(line).is_none());
        if let Some(at) = ahead.position(|line| line.starts_with(&prefix)) {
            let message = lines.nth(at).and_then(|line| line.strip_prefix(&prefix));
            message.unwrap_or_default().clone_into(&mut exit.message);
        }
        // `stack_trace_print` indents: two spaces and the function.
        let frames = lines.map_while(|line| line.strip_prefix("  "));
        exit.backtrace = frames
            .take(MAX_FRAMES)
            .map(|f| f.trim().to_owned())
            .collect();
        Some(exit)
    }
}

impl fmt::Display for ScxExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.kind, self.reason)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

/// The reason in a line of the log, without its time, that says that a scheduler is gone.
pub(crate) fn reason_in(line: &str) -> Option<&str> {
    disabled(line).map(|(_, reason)| reason)
}

/// Name and reason of a line that says that a scheduler is gone.
fn disabled(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix("sched_ext: BPF scheduler \"")?;
    let (name, rest) = rest.split_once("\" disabled (")?;
    Some((name, rest.strip_suffix(')')?))
}

/// Shorter waits explain no hanging test.
const LONG: Duration = Duration::from_secs(1);

/// The task that waits longest for a CPU in a dump of sched_ext, and for how long: at least a second.
///
/// Lines of runnable tasks look like `  R spin[57] -1234ms`; `scx_dump_task` of the kernel writes them, with a star
/// before those that run.
pub fn longest_waiting(dump: &str) -> Option<(&str, Duration)> {
    let waiting = dump.lines().filter_map(|line| {
        let (task, waited) = line.trim_start().strip_prefix("R ")?.rsplit_once(" -")?;
        let waited = Duration::from_millis(waited.trim().strip_suffix("ms")?.parse().ok()?);
        (waited >= LONG).then_some((task, waited))
    });
    waiting.max_by_key(|(_, waited)| *waited)
}

/// `line` without the time at its beginning.
pub(crate) fn without_stamp(line: &str) -> &str {
    match line.split_once("] ") {
        Some((stamp, rest)) if stamp.starts_with('[') => rest,
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STALL: &str = "\
[    5.1] sched_ext: BPF scheduler \"ktstr\" enabled
[    9.3] sched_ext: BPF scheduler \"ktstr\" disabled (runnable task stall)
[    9.3] sched_ext: ktstr: spin[57] failed to run for 5.004s
[    9.3]   check_rq_for_timeouts+0x103/0x140
[    9.3]   scx_watchdog_workfn+0x5d/0x90
[    9.4] other: message
";

    #[test]
    fn kind_reason_message_and_stack_are_read() {
        let exit = ScxExit::find(STALL).unwrap();
        assert_eq!(exit.kind, ScxExitKind::ErrorStall);
        assert_eq!(exit.message, "spin[57] failed to run for 5.004s");
        assert_eq!(exit.backtrace.len(), 2);
        assert!(exit.kind.is_error());
        assert_eq!(
            exit.to_string(),
            "SCX_EXIT_ERROR_STALL (runnable task stall): spin[57] failed to run for 5.004s"
        );
    }

    #[test]
    fn the_task_that_waits_longest_is_found() {
        let dump = "CPU 0   : nr_run=2\n  R steady[63] -18953ms\n      cpus=f\n \
            *R busy[64] -99000ms\n  R kworker/3:0[34] -1200ms\n  R fresh[65] -3ms\n";
        let expected = Some(("steady[63]", Duration::from_millis(18953)));
        assert_eq!(longest_waiting(dump), expected);
        assert_eq!(longest_waiting("  R fresh[65] -3ms\n  R odd -xms\n"), None);
    }

    #[test]
    fn an_ordinary_end_is_no_error() {
        let log = "[1.0] sched_ext: BPF scheduler \"x\" disabled (unregistered from user space)\n";
        let exit = ScxExit::find(log).unwrap();
        assert!(!exit.kind.is_error() && exit.message.is_empty());
        assert_eq!(ScxExit::find("[1.0] all is well\n"), None);
    }

    #[test]
    fn the_exit_that_explains_most_is_blamed() {
        let line = |reason| format!("[1.0] sched_ext: BPF scheduler \"x\" disabled ({reason})\n");
        let [user, kernel, error] = [
            "unregistered from user space",
            "unregistered from the main kernel",
            "runtime error",
        ]
        .map(line);
        let blamed = |log: &[&str]| ScxExit::to_blame(&log.concat()).map(|exit| exit.kind);
        assert_eq!(blamed(&[&user]), None);
        assert_eq!(blamed(&[&kernel, &user]), Some(ScxExitKind::UnregKern));
        assert_eq!(blamed(&[&user, &kernel, &error]), Some(ScxExitKind::Error));
    }

    #[test]
    fn kinds_are_written_by_the_kernels_names() {
        for (reason, kind) in REASONS.iter().copied().chain([("?", ScxExitKind::Unknown)]) {
            assert_eq!(ScxExitKind::of_reason(reason), kind);
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{kind}\""));
            assert_eq!(serde_json::from_str::<ScxExitKind>(&json).unwrap(), kind);
        }
    }

    proptest! {
        #[test]
        fn any_log_is_read_or_passed_over(noise in ".{0,80}", cut in 0..STALL.len()) {
            let _ = ScxExit::find(&noise);
            let _ = longest_waiting(&noise);
            let _ = ScxExit::find(&format!("{}{noise}", STALL.get(..cut).unwrap_or("")));
        }
    }

    #[test]
    fn a_line_of_another_cpu_may_come_in_between() {
        let log = "\
[7.163276] sched_ext: BPF scheduler \"ktstr\" disabled (runtime error)
[7.164195] sched_ext: \"ktstr\" does not implement cgroup cpu.weight
[7.181333] sched_ext: ktstr: target CPU 0 not allowed for kworker/2:0H[32]
[7.197812]    task_can_run_on_remote_rq+0x90/0x110
[7.816200] other words
";
        let exit = ScxExit::find(log).unwrap();
        assert_eq!(
            exit.message,
            "target CPU 0 not allowed for kworker/2:0H[32]"
        );
        assert_eq!(exit.backtrace, ["task_can_run_on_remote_rq+0x90/0x110"]);
        // The message of a later exit is none of this one's.
        let two = "sched_ext: BPF scheduler \"x\" disabled (runtime error)\n\
            sched_ext: BPF scheduler \"x\" disabled (runnable task stall)\nsched_ext: x: stalls\n";
        assert_eq!(ScxExit::find(two).unwrap().message, "");
    }
}
