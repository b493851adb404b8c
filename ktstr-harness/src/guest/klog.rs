//! What the guest kernel has to say.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;

/// The end of the kernel log, at most `limit` bytes, in the form `[seconds] message`.
///
/// Record format: `Documentation/ABI/testing/dev-kmsg` of the kernel.
pub fn tail(limit: usize) -> String {
    let mut log = String::new();
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let Ok(mut kmsg) = OpenOptions::new().read(true).custom_flags(nonblocking).open("/dev/kmsg") else {
        return log;
    };
    let mut record = vec![0; 8192];
    loop {
        match kmsg.read(&mut record) {
            Ok(0) => break,
            Ok(length) => log.extend(line(&String::from_utf8_lossy(&record[..length]))),
            // EPIPE: records were overwritten before they were read; the next read goes on.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(_) => break,
        }
    }
    let mut from = log.len().saturating_sub(limit);
    while !log.is_char_boundary(from) {
        from += 1;
    }
    log.split_off(from)
}

/// `prio,seq,usec,flags;message` as the console would print it.
fn line(record: &str) -> Option<String> {
    let (head, message) = record.split_once(';')?;
    let micros: u64 = head.split(',').nth(2)?.parse().ok()?;
    let message = message.lines().next().unwrap_or_default();
    Some(format!("[{:5}.{:06}] {message}\n", micros / 1_000_000, micros % 1_000_000))
}

/// Processes that the kernel killed for want of memory since boot (`/proc/vmstat`).
pub fn oom_kills() -> u64 {
    let vmstat = fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let count = vmstat.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok());
    count.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_records_like_the_console() {
        let record = "6,339,5140900,-;NET: Registered\n SUBSYSTEM=acpi\n";
        assert_eq!(line(record).unwrap(), "[    5.140900] NET: Registered\n");
        assert_eq!(line("garbage"), None);
    }
}
