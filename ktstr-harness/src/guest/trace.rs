//! The kernel's dump of an ejected scheduler: a trace event (`include/trace/events/sched_ext.h`).

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

pub(crate) const TRACING: &str = "/sys/kernel/tracing";

/// What is read of the trace buffer; a dump has 32 KiB unless the scheduler asks for more.
const LIMIT: u64 = 512 << 10;

/// The event's name in a line of the trace.
const MARK: &str = ": sched_ext_dump: ";

/// Makes the kernel write dumps into the buffer of the trace directory `tracing`. Kernels without the event just make none.
pub(super) fn enable_dump(tracing: &Path) {
    let _ = fs::write(tracing.join("events/sched_ext/sched_ext_dump/enable"), "1");
}

/// The dump so far; empty where there is none.
pub(super) fn dump(tracing: &Path) -> String {
    let mut trace = Vec::new();
    let read =
        File::open(tracing.join("trace")).and_then(|file| file.take(LIMIT).read_to_end(&mut trace));
    match read {
        Ok(_) => lines(&String::from_utf8_lossy(&trace)),
        Err(_) => String::new(),
    }
}

/// The dump's own lines, without what the trace puts before them.
fn lines(trace: &str) -> String {
    let dumped = trace.lines().filter_map(|line| line.split_once(MARK));
    dumped.fold(String::new(), |text, (_, line)| text + line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_dump_is_kept() {
        let trace = "# tracer: nop\n#\n \
            init-41 [000] ..... 2.31: sched_ext_dump: Debug dump triggered by x\n \
            init-41 [000] ..... 2.31: other_event: y\n \
            init-41 [000] ..... 2.32: sched_ext_dump: \n \
            init-41 [000] ..... 2.33: sched_ext_dump: CPU 0   : nr_run=1\n";
        assert_eq!(
            lines(trace),
            "Debug dump triggered by x\n\nCPU 0   : nr_run=1\n"
        );
    }
}
