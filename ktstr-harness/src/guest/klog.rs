//! The guest kernel's log.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;

/// The end of the kernel log, at most `limit` bytes, in the form `[seconds] message`.
///
/// Record format: `Documentation/ABI/testing/dev-kmsg` of the kernel.
pub(super) fn tail(limit: usize) -> String {
    let mut log = String::new();
    let Ok(mut kmsg) = open() else {
        return log;
    };
    let mut record = vec![0; RECORD];
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

/// Room for a record: `PRINTK_MESSAGE_MAX` of the kernel, and its dictionary.
pub(super) const RECORD: usize = 8192;

/// Opens the log at its first record; reads do not block.
pub(super) fn open() -> io::Result<File> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open("/dev/kmsg")
}

/// Number and message of a record, `prio,seq,usec,flags;message`.
pub(super) fn message(record: &str) -> Option<(u64, String)> {
    let (head, message) = record.split_once(';')?;
    let number = head.split(',').nth(1)?.parse().ok()?;
    Some((number, unescape(message.lines().next().unwrap_or_default())))
}

/// A record as the console would print it.
fn line(record: &str) -> Option<String> {
    let (head, _) = record.split_once(';')?;
    let micros: u64 = head.split(',').nth(2)?.parse().ok()?;
    let (_, message) = message(record)?;
    Some(format!(
        "[{:5}.{:06}] {message}\n",
        micros / 1_000_000,
        micros % 1_000_000
    ))
}

/// A line of the log as syslog(2) gives it, `<4>[    1.234567] message`, without what is before the message.
pub(super) fn without_level_and_time(line: &str) -> &str {
    let line = match line.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
        Some((_, rest)) => rest,
        None => line,
    };
    match line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "))
    {
        Some((_, rest)) => rest,
        None => line,
    }
}

/// Line breaks and tabs come as `\x0a` and `\x09`; whatever else is escaped stays so.
fn unescape(message: &str) -> String {
    message.replace("\\x0a", "\n").replace("\\x09", "\t")
}

/// Writes a line into the kernel log; a quiet console does not show it, which would take milliseconds.
pub(super) fn write(text: &str) {
    // Without /dev/kmsg the line is lost.
    let _ = fs::write("/dev/kmsg", format!("<6>{text}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_records_like_the_console() {
        let record = "6,339,5140900,-;NET: Registered\n SUBSYSTEM=acpi\n";
        assert_eq!(line(record).unwrap(), "[    5.140900] NET: Registered\n");
        let escaped = "4,1,1000000,-;one\\x0atwo\\x09three\\x5b\n";
        assert_eq!(
            line(escaped).unwrap(),
            "[    1.000000] one\ntwo\tthree\\x5b\n"
        );
        assert_eq!(line("garbage"), None);
    }
}
