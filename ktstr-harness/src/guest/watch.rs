//! Watches the kernel log for the kernel's reports of its own faults, from before scheduler and body start until after
//! they have ended.
//!
//! `/dev/kmsg` is read repeatedly meanwhile, so that a log that overflows loses little; what is lost is counted.
//! Whatever runs in the guest may write there as well: everything is bounded.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use ktstr_core::{KernelWarning, text};

use super::{klog, mounts, sys};
use crate::kernel_reports;
use crate::protocol::{BODY_MARK, KernelSeen};
use crate::scx_exit::{self, ScxExitKind};

/// Reports that are kept of each kind: of the boot, allowed, not allowed.
const KEPT: usize = 32;

/// Characters that are kept of a report's line.
const LONGEST: usize = 300;

/// Ends of schedulers that are kept.
const EXITS: usize = 16;

/// Records that are read at a time while others have something to do.
const STEP: usize = 256;

/// The log is 128 KiB in most kernels, 4 MiB in some; somebody may still write to it.
const FINISH_LIMIT: Duration = Duration::from_secs(5);

/// What is written into the log when all is over.
const END_MARK: &str = "ktstr: the test ended";

/// `Documentation/admin-guide/sysctl/kernel.rst` of the kernel.
const TAINTED: &str = "sys/kernel/tainted";

/// From [`Watch::start`] on, it sees every message.
pub(super) struct Watch {
    kmsg: Option<File>,
    record: Vec<u8>,
    /// Number of the record that comes next.
    next: Option<u64>,
    allow: Vec<String>,
    is_boot: bool,
    seen: KernelSeen,
}

impl Watch {
    /// Starts watching and marks the place in the log: what comes before belongs to the boot and is examined at the
    /// end.
    pub(super) fn start(allow: &[String]) -> Self {
        let at_end = |mut kmsg: File| kmsg.seek(SeekFrom::End(0)).map(|_| kmsg);
        let (kmsg, unread) = match klog::open().and_then(at_end) {
            Ok(kmsg) => (Some(kmsg), None),
            Err(error) => (None, Some(format!("/dev/kmsg: {error}"))),
        };
        let mut watch = Self {
            kmsg,
            record: vec![0; klog::RECORD],
            next: None,
            allow: allow.to_vec(),
            is_boot: true,
            seen: KernelSeen {
                unread,
                taint_before: tainted(),
                ..KernelSeen::default()
            },
        };
        // With it, the number of the first message that is not the boot's is known.
        klog::write(BODY_MARK);
        watch.drain();
        watch.is_boot = false;
        watch
    }

    /// Reads new records, at most [`STEP`] of them.
    pub(super) fn look(&mut self) {
        for _ in 0..STEP {
            if !self.read_one() {
                return;
            }
        }
    }

    /// Whether the kernel has reported a fault that is not allowed.
    pub(super) fn has_found(&self) -> bool {
        let bad = |warning: &KernelWarning| !warning.allowed;
        self.seen.more > 0 || self.seen.warnings.iter().any(bad)
    }

    /// Why sched_ext let schedulers go, so far.
    pub(super) fn scx_exits(&self) -> &[ScxExitKind] {
        &self.seen.scx_exits
    }

    /// Reads all new records, once only init is left.
    pub(super) fn settle(&mut self) {
        // The kernel shows a message without a line break only when the next one comes.
        klog::write(END_MARK);
        self.drain();
    }

    /// Reads all new records.
    fn drain(&mut self) {
        let begin = Instant::now();
        while self.read_one() && begin.elapsed() < FINISH_LIMIT {}
    }

    /// Stops watching; to be called after [`Watch::settle`].
    pub(super) fn finish(mut self) -> KernelSeen {
        self.take_boot(&sys::kernel_log());
        self.seen.taint_after = tainted();
        self.seen
    }

    /// Reads a record; false when there is none.
    fn read_one(&mut self) -> bool {
        let Some(kmsg) = &mut self.kmsg else {
            return false;
        };
        match kmsg.read(&mut self.record) {
            Ok(0) => false,
            Ok(length) => {
                let record = String::from_utf8_lossy(&self.record[..length]).into_owned();
                self.take(&record);
                true
            }
            // EPIPE: records were overwritten before they were read; the next read goes on, and tells how many.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => true,
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => {
                self.seen.unread = Some(format!("/dev/kmsg: {error}"));
                self.kmsg = None;
                false
            }
        }
    }

    /// Examines the log up to the mark of [`Watch::start`]; nothing of it where the mark was overwritten.
    fn take_boot(&mut self, log: &str) {
        let Some((boot, _)) = log.split_once(BODY_MARK) else {
            return;
        };
        self.is_boot = true;
        for line in boot.lines() {
            self.take_line(klog::without_level_and_time(line));
        }
        self.is_boot = false;
    }

    fn take(&mut self, record: &str) {
        let Some((number, message)) = klog::message(record) else {
            return;
        };
        if let Some(next) = self.next {
            self.seen.lost = self.seen.lost.saturating_add(number.saturating_sub(next));
        }
        self.next = Some(number.saturating_add(1));
        for line in message.lines() {
            self.take_line(line);
        }
    }

    fn take_line(&mut self, line: &str) {
        if let Some(reason) = scx_exit::reason_in(line)
            && !self.is_boot
            && self.seen.scx_exits.len() < EXITS
        {
            self.seen.scx_exits.push(ScxExitKind::of_reason(reason));
        }
        let Some(taint) = kernel_reports::taint_of(line) else {
            return;
        };
        let at_boot = self.is_boot;
        let allowed = at_boot || self.allow.iter().any(|text| line.contains(text.as_str()));
        if !at_boot && allowed {
            self.seen.taint_allowed |= taint;
        } else if !at_boot {
            self.seen.taint_reported |= taint;
        }
        let is_such =
            |warning: &&KernelWarning| (warning.allowed, warning.at_boot) == (allowed, at_boot);
        if self.seen.warnings.iter().filter(is_such).count() < KEPT {
            self.seen.warnings.push(KernelWarning {
                line: text::cut(&text::line(line), LONGEST),
                allowed,
                at_boot,
            });
        } else if !allowed {
            self.seen.more += 1;
        }
    }
}

/// The kernel's taint; `None` where it cannot be read. A guest can also where a test has unmounted `/proc`.
fn tainted() -> Option<u64> {
    let read = |proc: &str| {
        let value = fs::read_to_string(format!("{proc}/{TAINTED}")).ok()?;
        value.trim().parse().ok()
    };
    let is_init = std::process::id() == 1;
    read("/proc").or_else(|| is_init.then(|| mounts::with_own_proc(read))?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn watch(allow: &[&str]) -> Watch {
        Watch {
            kmsg: None,
            record: Vec::new(),
            next: None,
            allow: allow.iter().map(|text| (*text).to_owned()).collect(),
            is_boot: false,
            seen: KernelSeen::default(),
        }
    }

    fn take(watch: &mut Watch, number: u64, message: &str) {
        watch.take(&format!("4,{number},1000000,-;{message}\n SUBSYSTEM=x\n"));
    }

    #[test]
    fn reports_are_kept_apart_by_whether_they_are_allowed() {
        let mut watch = watch(&["at kernel/x.c"]);
        let boot = "<5>[    0.000000] Linux version 6.12\n<4>[    0.5] WARNING: CPU: 0 PID: 1 at arch/x86/boot.c:1\n";
        watch.take_boot(&format!(
            "{boot}<14>[    1.5] {BODY_MARK}\n<4>[ 2.0] BUG: later\n"
        ));
        watch.take_boot(boot);
        take(&mut watch, 2, "clocksource: tsc is unstable");
        take(
            &mut watch,
            3,
            "WARNING: CPU: 0 PID: 7 at kernel/x.c:1 x+0x1/0x2",
        );
        assert!(!watch.has_found());
        take(
            &mut watch,
            4,
            "\\x0aBUG: KASAN: use-after-free\\x1b[31m in y",
        );
        assert!(watch.has_found());
        let seen = watch.seen;
        let told: Vec<_> = seen
            .warnings
            .iter()
            .map(|w| (w.allowed, w.at_boot))
            .collect();
        assert_eq!(told, [(true, true), (true, false), (false, false)]);
        assert!(
            seen.warnings[2].line.starts_with("BUG: KASAN: "),
            "{seen:?}"
        );
        assert_eq!((seen.taint_allowed, seen.taint_reported), (1 << 9, 1 << 5));
        assert_eq!((seen.lost, seen.more), (0, 0));
    }

    #[test]
    fn a_flood_is_bounded_and_hides_nothing() {
        let mut watch = watch(&["fine"]);
        for number in 0..1000 {
            take(
                &mut watch,
                number,
                &format!("BUG: fine {number} {}", "x".repeat(5000)),
            );
        }
        assert!(!watch.has_found());
        assert_eq!(watch.seen.warnings.len(), KEPT);
        for number in 1000..1100 {
            take(&mut watch, number, "BUG: not that");
        }
        assert!(watch.has_found());
        assert_eq!(
            (watch.seen.warnings.len(), watch.seen.more),
            (2 * KEPT, 100 - KEPT as u64)
        );
        assert!(
            watch
                .seen
                .warnings
                .iter()
                .all(|w| w.line.len() <= LONGEST + 3)
        );
    }

    #[test]
    fn what_was_overwritten_is_counted() {
        let mut watch = watch(&[]);
        take(&mut watch, 7, "one");
        take(&mut watch, 8, "two");
        take(&mut watch, 108, "three");
        assert_eq!(watch.seen.lost, 99);
    }

    proptest! {
        #[test]
        fn any_record_is_read_or_passed_over(record: String, head in "[0-9,]{0,12}") {
            let mut watch = watch(&["x"]);
            watch.take(&record);
            watch.take(&format!("{head};{record}"));
            prop_assert!(watch.seen.warnings.len() <= 3 * KEPT);
        }
    }
}
