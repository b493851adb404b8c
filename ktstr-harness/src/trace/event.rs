//! What a watch sees.

use std::fmt;
use std::time::Duration;

/// Values that a call can have.
pub(super) const MAX_VALUES: usize = 8;

/// An event of the kernel's scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// When, by the guest's `CLOCK_MONOTONIC`.
    pub at: Duration,
    /// The CPU that it happened on.
    pub cpu: u32,
    /// Id of the task that ran there; 0 is the idle task.
    pub current: i32,
    /// What happened.
    pub what: What,
}

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// `sched_switch`: the CPU goes from one task to another.
    Switch {
        /// The task that leaves the CPU.
        prev: Task,
        /// Whether it could go on: its slice was over or another was preferred. Else it sleeps or has ended.
        runnable: bool,
        /// The task that runs from now on; id 0 is the idle task.
        next: Task,
    },
    /// `sched_wakeup` and `sched_wakeup_new`: a task is on a run queue.
    Wakeup {
        /// The task.
        task: Task,
        /// The CPU of that run queue.
        target: u32,
        /// Whether the task has just been created.
        new: bool,
    },
    /// `sched_migrate_task`: a task changes its CPU.
    Migrate {
        /// The task.
        task: Task,
        /// The CPU that it leaves.
        from: u32,
        /// The CPU that it goes to.
        to: u32,
    },
    /// A function that the author named was called.
    Call(Call),
    /// A CPU goes online or offline.
    Hotplug {
        /// The CPU.
        cpu: u32,
        /// Whether it goes online.
        online: bool,
    },
    /// The CPUs of a task were set.
    Affinity {
        /// Id of the task.
        pid: i32,
    },
}

/// A task as the kernel's events show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Task {
    /// Its id; threads have ids of their own.
    pub pid: i32,
    /// Its priority inside of the kernel: 100 to 139 for `SCHED_OTHER`, less for real-time, negative for deadline tasks.
    pub prio: i32,
    pub(super) comm: [u8; 16],
}

/// A call of a kernel's function.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Which of the watched functions, from 0, in the order in which they were added.
    pub function: usize,
    values: [i64; MAX_VALUES],
    count: usize,
}

impl Task {
    /// Its name, at most 15 bytes of it; control characters are shown as `?`.
    pub fn name(&self) -> String {
        let end = self.comm.iter().position(|byte| *byte == 0);
        let name = String::from_utf8_lossy(&self.comm[..end.unwrap_or(self.comm.len())]);
        name.chars()
            .map(|c| if c.is_control() { '?' } else { c })
            .collect()
    }

    /// Whether it is a CPU's idle task.
    pub fn is_idle(&self) -> bool {
        self.pid == 0
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_idle() {
            return f.write_str("idle");
        }
        write!(f, "{} ({})", self.name(), self.pid)
    }
}

impl Call {
    pub(super) fn new(function: usize, values: impl IntoIterator<Item = i64>) -> Self {
        let mut call = Self {
            function,
            values: [0; MAX_VALUES],
            count: 0,
        };
        for (to, value) in call.values.iter_mut().zip(values) {
            *to = value;
            call.count += 1;
        }
        call
    }

    /// The fields that were asked for, in that order. Unsigned ones of 64 bits are to be cast back with `as u64`.
    pub fn values(&self) -> &[i64] {
        &self.values[..self.count]
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({}, {:?})", self.function, self.values())
    }
}

impl Event {
    /// Whether it is about this task.
    pub fn is_about(&self, pid: i32) -> bool {
        match self.what {
            What::Switch { prev, next, .. } => prev.pid == pid || next.pid == pid,
            What::Wakeup { task, .. } | What::Migrate { task, .. } => task.pid == pid,
            What::Affinity { pid: other } => other == pid,
            What::Call(_) | What::Hotplug { .. } => self.current == pid,
        }
    }

    /// Whether it happened on this CPU or changes what is on it.
    pub fn is_on(&self, cpu: u32) -> bool {
        self.cpu == cpu
            || match self.what {
                What::Wakeup { target, .. } => target == cpu,
                What::Migrate { from, to, .. } => from == cpu || to == cpu,
                What::Hotplug { cpu: other, .. } => other == cpu,
                What::Switch { .. } | What::Call(_) | What::Affinity { .. } => false,
            }
    }
}

/// In one line, without its time: `CPU 1: left (102) leaves, runnable; right (103) runs`.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CPU {}: ", self.cpu)?;
        match self.what {
            What::Switch {
                prev,
                runnable,
                next,
            } => {
                if !prev.is_idle() {
                    let how = if runnable { "waits" } else { "sleeps" };
                    write!(f, "{prev} {how}; ")?;
                }
                if next.is_idle() {
                    f.write_str("idle")
                } else {
                    write!(f, "{next} runs")
                }
            }
            What::Wakeup { task, target, new } => {
                let what = if new { "is new" } else { "wakes up" };
                write!(f, "{task} {what}, for CPU {target}")
            }
            What::Migrate { task, from, to } => {
                write!(f, "{task} goes from CPU {from} to CPU {to}")
            }
            What::Call(call) => write!(
                f,
                "function {} {:?} by {}",
                call.function,
                call.values(),
                self.current
            ),
            What::Hotplug { cpu, online } => {
                write!(
                    f,
                    "CPU {cpu} goes {}",
                    if online { "online" } else { "offline" }
                )
            }
            What::Affinity { pid } => write!(f, "the CPUs of task {pid} are set"),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn task(pid: i32) -> Task {
        let mut comm = [0; 16];
        comm[..4].copy_from_slice(b"task");
        Task {
            pid,
            prio: 120,
            comm,
        }
    }

    pub(crate) fn event(at_us: u64, cpu: u32, what: What) -> Event {
        Event {
            at: Duration::from_micros(at_us),
            cpu,
            current: 0,
            what,
        }
    }

    #[test]
    fn lines_say_what_happened() {
        let switch = |prev, runnable, next| {
            let (prev, next) = (task(prev), task(next));
            event(
                0,
                1,
                What::Switch {
                    prev,
                    runnable,
                    next,
                },
            )
            .to_string()
        };
        assert_eq!(switch(7, true, 8), "CPU 1: task (7) waits; task (8) runs");
        assert_eq!(switch(7, false, 0), "CPU 1: task (7) sleeps; idle");
        assert_eq!(switch(0, true, 8), "CPU 1: task (8) runs");
        let call = event(0, 2, What::Call(Call::new(3, [1, -1])));
        assert_eq!(call.to_string(), "CPU 2: function 3 [1, -1] by 0");
        assert_eq!(Call::new(0, 0..20).values().len(), MAX_VALUES);
        let odd = Task {
            comm: *b"a\x1b[31m\xff456789012",
            ..task(1)
        };
        assert_eq!(odd.name(), "a?[31m\u{fffd}456789012");
    }
}
