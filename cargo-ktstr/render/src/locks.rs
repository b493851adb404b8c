//! Who holds which lock.

use std::fmt::Write;

use ktstr_core::host::{LockHolder, LockKind, LockMode, LockStatus};
use ktstr_core::{CpuSet, text};
use ktstr_driver::LocksReport;

use crate::Style;
use crate::text::{command, fit};

/// The locks of `report` by what they are of: those that are held with their holders, the others in few lines. Commands
/// that are too long for a line are cut.
///
/// ```
/// use ktstr_driver::LocksReport;
/// use ktstr_render::{Style, locks};
///
/// let report = LocksReport {
///     lock_dir: "/tmp".into(),
///     cache_locks: Some("/home/me/.cache/ktstr/.locks".into()),
///     run_locks: None,
///     locks: vec![],
/// };
/// let style = Style::new("cargo ktstr", None, Some("/home/me".into()));
/// let expected = "\
/// host CPU locks: /tmp
///   no locks
/// kernel cache: ~/.cache/ktstr/.locks
///   no locks
/// runs: no cargo project here
/// ";
/// assert_eq!(locks::text(&report, &style), expected);
/// ```
pub fn text(report: &LocksReport, style: &Style) -> String {
    let of = |kinds: &[LockKind]| -> Vec<&LockStatus> {
        let locks = report.locks.iter();
        locks.filter(|lock| kinds.contains(&lock.kind)).collect()
    };
    let mut text = format!("host CPU locks: {}\n", style.path(&report.lock_dir));
    let kinds = [LockKind::Llc, LockKind::Cpu, LockKind::Emulator];
    push(&mut text, &of(&kinds), style.width);
    for (title, dir, kind, absent) in [
        (
            "kernel cache",
            &report.cache_locks,
            LockKind::Cache,
            "no directory: set KTSTR_CACHE_DIR, XDG_CACHE_HOME or HOME",
        ),
        (
            "runs",
            &report.run_locks,
            LockKind::Run,
            "no cargo project here",
        ),
    ] {
        match dir {
            Some(dir) => {
                let _ = writeln!(text, "{title}: {}", style.path(dir));
                push(&mut text, &of(&[kind]), style.width);
            }
            None => {
                let _ = writeln!(text, "{title}: {absent}");
            }
        }
    }
    text
}

fn push(text: &mut String, locks: &[&LockStatus], width: usize) {
    let (held, free): (Vec<&LockStatus>, Vec<_>) = locks
        .iter()
        .copied()
        .partition(|lock| !lock.holders.is_empty());
    for lock in held {
        let _ = writeln!(text, "  {}", name(lock));
        for holder in &lock.holders {
            let _ = writeln!(text, "{}", fit(&by(holder), width));
        }
    }
    for kind in [LockKind::Llc, LockKind::Cpu, LockKind::Emulator] {
        let of_kind = free.iter().filter(|lock| lock.kind == kind);
        let numbers: CpuSet = of_kind.filter_map(|lock| lock.number).collect();
        // `CPU 3-5` is read as names, `QEMU slots 0-1` as a count.
        let plural = if kind == LockKind::Emulator && numbers.len() > 1 {
            "s"
        } else {
            ""
        };
        if !numbers.is_empty() {
            let line = format!("  {}{plural} {numbers}: free", word(kind));
            let _ = writeln!(text, "{}", fit(&line, width));
        }
    }
    for lock in free.iter().filter(|lock| lock.number.is_none()) {
        let _ = writeln!(text, "  {}: free", name(lock));
    }
    if locks.is_empty() {
        text.push_str("  no locks\n");
    }
}

fn name(lock: &LockStatus) -> String {
    match lock.number {
        Some(number) => format!("{} {number}", word(lock.kind)),
        None => text::line(&lock.name),
    }
}

fn word(kind: LockKind) -> &'static str {
    match kind {
        LockKind::Llc => "LLC",
        LockKind::Cpu => "CPU",
        LockKind::Emulator => "QEMU slot",
        LockKind::Cache => "kernel",
        LockKind::Run => "run",
    }
}

fn by(holder: &LockHolder) -> String {
    let mode = match holder.mode {
        LockMode::Exclusive => "exclusive",
        LockMode::Shared => "shared",
    };
    let command = match &holder.command {
        Some(words) => text::line(&command(words)),
        None => "(exited; a child may still hold the lock)".to_owned(),
    };
    format!("    {mode:<9}  {:>7}  {command}", holder.pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(kind: LockKind, number: Option<u32>, holders: &[LockHolder]) -> LockStatus {
        LockStatus {
            kind,
            number,
            name: "6.12.9-key".to_owned(),
            path: "/l/x.lock".into(),
            holders: holders.to_vec(),
        }
    }

    #[test]
    fn holders_stand_below_their_locks_and_free_ones_together() {
        let holder = |mode, command: Option<&[&str]>| LockHolder {
            pid: 12,
            mode,
            command: command.map(|words| words.iter().map(|&word| word.to_owned()).collect()),
        };
        let shared = holder(LockMode::Shared, Some(&["cargo-ktstr", "a b\u{1b}[31m"]));
        let report = LocksReport {
            lock_dir: "/l".into(),
            cache_locks: Some("/c/.locks".into()),
            run_locks: Some("/home/me/p/target/ktstr/.locks".into()),
            locks: vec![
                lock(LockKind::Cpu, Some(0), &[]),
                lock(LockKind::Cpu, Some(1), &[]),
                lock(LockKind::Cpu, Some(2), &[shared.clone(), shared]),
                lock(LockKind::Emulator, Some(0), &[]),
                lock(LockKind::Cache, None, &[]),
                lock(LockKind::Run, None, &[holder(LockMode::Exclusive, None)]),
            ],
        };
        let style = Style::new("x", Some(36), Some("/home/me".into()));
        let expected = "\
host CPU locks: /l
  CPU 2
    shared          12  cargo-kts...
    shared          12  cargo-kts...
  CPU 0-1: free
  QEMU slot 0: free
kernel cache: /c/.locks
  6.12.9-key: free
runs: ~/p/target/ktstr/.locks
  6.12.9-key
    exclusive       12  (exited; ...
";
        assert_eq!(text(&report, &style), expected);
        let wide = text(&report, &Style::default());
        assert!(wide.contains("  cargo-ktstr 'a b'\n"), "{wide}");
    }
}
