//! The event counters of sched_ext: `scx_attr_events_show` in the kernel's `kernel/sched/ext.c`, 6.15 and later.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

/// Counters of the enabled scheduler.
pub(super) const PATH: &str = "/sys/kernel/sched_ext/root/events";

/// More than any kernel has.
const MAX_EVENTS: usize = 64;

/// The counters at this moment, by name; an error says what this kernel lacks.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, u64>, String> {
    let text = fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!(
            "{}: not there; the counters came with Linux 6.15 and belong to a sched_ext scheduler",
            path.display()
        ),
        _ => format!("{}: {error}", path.display()),
    })?;
    let counters = parse(&text);
    if counters.is_empty() {
        return Err(format!("{}: no counters in it", path.display()));
    }
    Ok(counters)
}

fn parse(text: &str) -> BTreeMap<String, u64> {
    let counters = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    });
    counters.take(MAX_EVENTS).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counters_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let error = read(&path).unwrap_err();
        assert!(error.contains("Linux 6.15"), "{error}");
        fs::write(&path, "").unwrap();
        assert!(read(&path).unwrap_err().contains("no counters"));
        let text = "SCX_EV_SELECT_CPU_FALLBACK 12\nSCX_EV_DISPATCH_KEEP_LAST 0\nodd\nSCX_EV_X -\n";
        fs::write(&path, text).unwrap();
        let counters = read(&path).unwrap();
        assert_eq!(counters["SCX_EV_SELECT_CPU_FALLBACK"], 12);
        assert_eq!(counters.len(), 2);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_passed_over(text in "(.{0,40}\n){0,100}") {
            prop_assert!(parse(&text).len() <= MAX_EVENTS);
        }
    }
}
