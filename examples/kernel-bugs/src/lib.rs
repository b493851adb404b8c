//! What the kernel shows of its schedulers, for the tests of this crate: `tests/bugs.rs`.
//!
//! Functions fail with the file and what is wrong about it, as [`Op::call`](ktstr_harness::prelude::Op::call) takes it.

use std::fs;
use std::str::FromStr;

/// The tasks that a runqueue of the fair class counts, those of the cgroups within it as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runqueue {
    /// Entities that are queued: tasks and cgroups, delayed ones as well (`nr_running`).
    pub entities: i64,
    /// Tasks that are queued (`h_nr_queued`).
    pub queued: i64,
    /// Those of them that would run (`h_nr_runnable`).
    pub runnable: i64,
    /// Those of them that went to sleep, and stay queued until they are owed nothing (`h_nr_delayed`).
    pub delayed: i64,
}

/// The range that a task's utilization is clamped to, 0 to 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clamps {
    /// `effective uclamp.min`.
    pub min: u32,
    /// `effective uclamp.max`.
    pub max: u32,
}

/// The first line of a cgroup's file.
pub fn cgroup_line(cgroup: &str, file: &str) -> Result<String, String> {
    let text = read(&format!("/sys/fs/cgroup/{cgroup}/{file}"))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// A value of a cgroup's file of keys and values, such as `usage_usec` of `cpu.stat`.
pub fn cgroup_value(cgroup: &str, file: &str, key: &str) -> Result<u64, String> {
    let path = format!("/sys/fs/cgroup/{cgroup}/{file}");
    let text = read(&path)?;
    let mut pairs = text.lines().filter_map(|line| line.split_once(' '));
    let value = pairs.find(|(name, _)| *name == key).map(|(_, value)| value);
    parsed(value, &path, key)
}

/// The processes of a cgroup.
pub fn processes(cgroup: &str) -> Result<Vec<u32>, String> {
    let path = format!("/sys/fs/cgroup/{cgroup}/cgroup.procs");
    let text = read(&path)?;
    let pids = text.lines();
    pids.map(|pid| parsed(Some(pid), &path, "a process id"))
        .collect()
}

/// What a task is clamped to in the end, by its own wish, its cgroup and the system.
pub fn effective_clamps(pid: u32) -> Result<Clamps, String> {
    let path = format!("/proc/{pid}/sched");
    let text = read(&path)?;
    let value = |key: &str| parsed(field(text.lines(), key), &path, key);
    Ok(Clamps {
        min: value("effective uclamp.min")?,
        max: value("effective uclamp.max")?,
    })
}

/// The runqueue of a cgroup on a CPU, `/` for that of the CPU as a whole; `None` while nothing is queued there.
pub fn runqueue(cpu: u32, cgroup: &str) -> Result<Option<Runqueue>, String> {
    const PATH: &str = "/sys/kernel/debug/sched/debug";
    runqueue_of(&read(PATH)?, cpu, cgroup)
        .map_err(|key| format!("{PATH}: cfs_rq[{cpu}]:{cgroup} has no number {key}"))
}

/// The runqueue in the text of `debug`; the error is the key that is missing.
fn runqueue_of(text: &str, cpu: u32, cgroup: &str) -> Result<Option<Runqueue>, &'static str> {
    let head = format!("cfs_rq[{cpu}]:{cgroup}");
    let mut lines = text.lines();
    if !lines.any(|line| line == head) {
        return Ok(None);
    }
    let section: Vec<&str> = lines.take_while(|line| line.starts_with("  .")).collect();
    let value = |key: &'static str| {
        let text = field(section.iter().copied(), &format!(".{key}"));
        text.and_then(|text| text.parse().ok()).ok_or(key)
    };
    Ok(Some(Runqueue {
        entities: value("nr_running")?,
        queued: value("h_nr_queued")?,
        runnable: value("h_nr_runnable")?,
        delayed: value("h_nr_delayed")?,
    }))
}

/// The text behind `key :` in lines of the kernel's debug files.
fn field<'t>(mut lines: impl Iterator<Item = &'t str>, key: &str) -> Option<&'t str> {
    lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim())
    })
}

fn parsed<T: FromStr>(text: Option<&str>, path: &str, key: &str) -> Result<T, String> {
    let text = text.ok_or_else(|| format!("{path}: there is no {key}"))?;
    let value = text.parse();
    value.map_err(|_| format!("{path}: {key} is `{text}`, not a number that fits"))
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As 6.12 prints it, abridged.
    const DEBUG: &str = "\
cpu#1, 2000.000 MHz
  .nr_running                    : 1
  .nr_switches                   : 1234

cfs_rq[1]:/hog
  .left_deadline                 : 1.234567
  .nr_running                    : 1
  .h_nr_runnable                 : 1
  .h_nr_queued                   : 1
  .h_nr_delayed                  : 0

cfs_rq[1]:/
  .nr_running                    : 2
  .h_nr_runnable                 : -1
  .h_nr_queued                   : 1
  .h_nr_delayed                  : 2

rt_rq[1]:
  .rt_nr_running                 : 0
";

    #[test]
    fn a_runqueue_is_that_of_its_cgroup() {
        let [hog, root] = ["/hog", "/"].map(|name| runqueue_of(DEBUG, 1, name).unwrap().unwrap());
        assert_eq!((hog.entities, hog.runnable, hog.delayed), (1, 1, 0));
        let wrong = Runqueue {
            entities: 2,
            queued: 1,
            runnable: -1,
            delayed: 2,
        };
        assert_eq!(root, wrong);
        for (cpu, name) in [(0, "/"), (1, "/ho"), (11, "/")] {
            assert_eq!(runqueue_of(DEBUG, cpu, name), Ok(None));
        }
    }

    #[test]
    fn a_key_that_is_missing_is_named() {
        let old = DEBUG.replace("h_nr_runnable", "h_nr_running");
        assert_eq!(runqueue_of(&old, 1, "/"), Err("h_nr_runnable"));
    }

    #[test]
    fn no_number_is_told_with_its_file() {
        let error = parsed::<u32>(Some("max"), "/a/cpu.max.burst", "burst").unwrap_err();
        assert_eq!(
            error,
            "/a/cpu.max.burst: burst is `max`, not a number that fits"
        );
        assert!(parsed::<u32>(None, "/a", "x").unwrap_err().contains("no x"));
    }
}
