//! The kernel's line about a process, `/proc/PID/stat`.

use std::fs;
use std::time::Duration;

/// Length of a tick of CPU time: `USER_HZ` is 100 on every machine that Linux still runs on.
const TICK: Duration = Duration::from_millis(10);

/// The first fields of `/proc/PID/stat`, see `proc_pid_stat(5)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessStat {
    /// Process id.
    pub pid: u32,
    /// Name of the program (`comm`): at most 15 bytes, of any kind.
    pub name: String,
    /// State, such as `S` for a process that sleeps.
    pub state: char,
    /// Process id of the parent; 0 if it is outside of this pid namespace.
    pub parent: u32,
    /// Process group id.
    pub group: u32,
    /// CPU time of all its threads, in user mode and in the kernel, to ten milliseconds.
    pub cpu_time: Duration,
}

impl ProcessStat {
    /// Reads the line of process `pid`; `None` if there is no such process.
    pub fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Parses a line; `None` for anything else.
    pub fn parse(stat: &str) -> Option<Self> {
        let (pid, rest) = stat.split_once(" (")?;
        // The name may contain anything, parentheses and spaces too.
        let (name, rest) = rest.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let state = fields.next()?.parse().ok()?;
        let mut number = || fields.next()?.parse().ok();
        let (parent, group) = (number()?, number()?);
        // Behind the session, the terminal, the flags and the page faults.
        let mut ticks = fields.skip(8).map(|field| field.parse().ok());
        let ticks: u32 = u32::checked_add(ticks.next()??, ticks.next()??)?;
        Some(Self {
            pid: pid.parse().ok()?,
            name: name.to_owned(),
            state,
            parent,
            group,
            cpu_time: TICK * ticks,
        })
    }

    /// Whether the process has ended; its parent may not have waited for it yet.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::parent_id;

    use super::*;

    #[test]
    fn processes_are_read_whatever_they_are_called() {
        let process = |pid, name: &str, parent, group| {
            let name = name.to_owned();
            Some(ProcessStat {
                pid,
                name,
                state: 'S',
                parent,
                group,
                cpu_time: Duration::from_millis(70),
            })
        };
        let rest = "6 0 -1 4194304 1 0 0 0 4 3 0 0 20";
        for (stat, expected) in [
            ("34 (sh) S 12 34", process(34, "sh", 12, 34)),
            ("34 (a) b (c)) S 12 34", process(34, "a) b (c)", 12, 34)),
            ("7 (a) (b\n) S 5 6", process(7, "a) (b\n", 5, 6)),
        ] {
            let line = format!("{stat} {rest}");
            assert_eq!(ProcessStat::parse(&line), expected);
        }
        for broken in [
            "",
            "7 (a",
            "34",
            "34 (sh) S",
            "34 (sh) S x 1",
            "x (a) S 5 6",
            "7 (a) S 5",
            "7 (a) S 5 6 6 0 -1 4194304 1 0 0 0 4",
            "7 (a) S 5 6 6 0 -1 4194304 1 0 0 0 4 4294967295",
        ] {
            assert_eq!(ProcessStat::parse(broken), None, "{broken}");
        }
        for (stat, has_ended) in [("7 (a) Z 5 6", true), ("7 (Z) S 5 6", false)] {
            let line = format!("{stat} {rest}");
            assert_eq!(ProcessStat::parse(&line).unwrap().has_ended(), has_ended);
        }
        let own = ProcessStat::read(std::process::id()).unwrap();
        assert_eq!((own.pid, own.parent), (std::process::id(), parent_id()));
    }
}
