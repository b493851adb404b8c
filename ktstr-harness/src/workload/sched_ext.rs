//! Whether a task is under a sched_ext scheduler, without allocation: workers check it at their end.

use std::ffi::CStr;

use rustix::fs::{Mode, OFlags};

use super::os;

/// `include/uapi/linux/sched.h` of the kernel.
const SCHED_OTHER: i32 = 0;
const SCHED_BATCH: i32 = 3;
const SCHED_IDLE: i32 = 5;
const SCHED_EXT: i32 = 7;

/// Whether this task is under a sched_ext scheduler; `None` where the kernel does not tell.
///
/// With `CONFIG_SCHED_DEBUG` the kernel says so itself (`proc_sched_show_task` of the kernel's `kernel/sched/debug.c`);
/// otherwise it follows from the task's policy and from which tasks the scheduler takes.
pub(crate) fn is_over_this_task() -> Option<bool> {
    let mut buffer = [0; 8192];
    let told = read(c"/proc/thread-self/sched", &mut buffer).and_then(parse_sched);
    told.or_else(|| {
        let mut state = [0; 32];
        let enabled = read(c"/sys/kernel/sched_ext/state", &mut state)? == b"enabled\n";
        let mut all = [0; 32];
        let takes_all = read(c"/sys/kernel/sched_ext/switch_all", &mut all)? == b"1\n";
        Some(enabled && is_taken(os::policy()?, takes_all))
    })
}

/// Whether a scheduler that takes all ordinary tasks, or those that ask for it, takes one of this policy.
fn is_taken(policy: i32, takes_all: bool) -> bool {
    match policy {
        SCHED_EXT => true,
        SCHED_OTHER | SCHED_BATCH | SCHED_IDLE => takes_all,
        _ => false,
    }
}

/// The priority that this task has now, with what it inherited: below 0 for real-time ones, from 0 for others.
///
/// Field 18 of `/proc/thread-self/stat` (`task_prio` of the kernel's `kernel/sched/syscalls.c`).
pub(super) fn dynamic_priority() -> Option<i32> {
    let mut buffer = [0; 1024];
    parse_stat(read(c"/proc/thread-self/stat", &mut buffer)?)
}

fn parse_stat(stat: &[u8]) -> Option<i32> {
    // The name, which is in parentheses, may have any bytes; the third field follows it.
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    let text = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    text.split_ascii_whitespace().nth(15)?.parse().ok()
}

/// The line `ext.enabled : 1`.
fn parse_sched(text: &[u8]) -> Option<bool> {
    let line = text
        .split(|&byte| byte == b'\n')
        .find(|line| line.starts_with(b"ext.enabled"))?;
    match line.trim_ascii_end().last()? {
        b'0' => Some(false),
        b'1' => Some(true),
        _ => None,
    }
}

/// What a small file holds, as far as there is room.
fn read<'b>(path: &CStr, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut length = 0;
    while length < buffer.len() {
        match rustix::io::read(&file, &mut buffer[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
    }
    Some(&buffer[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_word_is_read() {
        let text = "init (1, #threads: 1)\n---\nse.exec_start    :   1.5\next.enabled       :        1\nx : 0\n";
        assert_eq!(parse_sched(text.as_bytes()), Some(true));
        let text = text.replace(":        1\n", ":        0\n");
        assert_eq!(parse_sched(text.as_bytes()), Some(false));
        assert_eq!(parse_sched(b"policy : 1\n"), None);
        assert_eq!(parse_sched(b"ext.enabled"), None);
        assert_eq!(parse_sched(b""), None);
    }

    #[test]
    fn the_priority_is_found_behind_any_name() {
        let stat = b"7 (a) 1 (b)) R 1 7 7 0 -1 4194304 90 0 0 0 1 2 0 0 -2 0 1 0 345 0\n";
        assert_eq!(parse_stat(stat), Some(-2));
        assert_eq!(parse_stat(b"7 (a) R 1"), None);
        assert_eq!(parse_stat(b""), None);
        assert!(dynamic_priority().is_some());
    }

    #[test]
    fn policies_tell_who_takes_a_task() {
        assert!(is_taken(SCHED_EXT, false) && is_taken(SCHED_OTHER, true));
        assert!(!is_taken(SCHED_OTHER, false) && !is_taken(SCHED_IDLE, false));
        let fifo = 1;
        assert!(!is_taken(fifo, true));
    }
}
