//! Values and arguments of calls in words.

use crate::runner::repro::calls::Call;

/// Columns of a line.
const WIDTH: usize = 80;

/// What else is to be said of a call, word by word.
pub(super) fn details(call: &Call, pid: i32) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(other) = call.task().filter(|task| task.pid != pid) {
        words.push(format!("{}[{}]", other.name, other.pid));
    }
    for (name, value) in &call.before.others {
        // No flag is set in most calls.
        if !(name.ends_with("flags") && value == "0x0") {
            words.push(argument(name, value));
        }
    }
    if let Some(after) = &call.after {
        for (name, value) in &after.others {
            words.push(argument(name, value));
        }
        if let (Some(before), Some(after)) = (call.task(), &after.task)
            && before.vtime != after.vtime
        {
            words.push(format!("vtime={}>{}*", before.vtime, after.vtime));
        }
    }
    words
}

/// `text` in lines of at most [`WIDTH`], each behind `indent`.
pub(super) fn wrapped(text: &str, indent: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("{indent}{word}")),
        }
    }
    lines
}

/// The numbers in brackets of a message, the last first: `spin[57] failed` has 57.
pub(super) fn pids_in(message: &str) -> impl Iterator<Item = i32> {
    let parts = message.rsplit('[').filter_map(|part| part.split_once(']'));
    parts.filter_map(|(digits, _)| digits.parse().ok().filter(|pid| *pid > 0))
}

/// A slice; `SCX_SLICE_INF` has a name.
pub(super) fn nanoseconds(slice: u64) -> String {
    match slice {
        u64::MAX => "inf".to_owned(),
        slice => slice.to_string(),
    }
}

/// `scx.flags`, with the one that is asked for most by name (`include/linux/sched/ext.h`).
pub(super) fn flags(flags: u64) -> String {
    let queued = if flags & 1 == 1 { " QUEUED" } else { "" };
    format!("{flags:#x}{queued}")
}

/// An argument; queues of the kernel's own have names (`include/linux/sched/ext.h`).
fn argument(name: &str, value: &str) -> String {
    const BUILTIN: u64 = 1 << 63;
    const LOCAL_ON: u64 = 1 << 62;
    let number = value
        .strip_prefix("0x")
        .and_then(|hex| u64::from_str_radix(hex, 16).ok());
    match (name, number) {
        ("dsq", Some(id)) if id == BUILTIN | 1 => "dsq=GLOBAL".to_owned(),
        ("dsq", Some(id)) if id == BUILTIN | 2 => "dsq=LOCAL".to_owned(),
        ("dsq", Some(id)) if id & (BUILTIN | LOCAL_ON) == BUILTIN | LOCAL_ON => {
            format!("dsq=LOCAL_ON|{}", id & u64::from(u32::MAX))
        }
        ("ret", _) => format!("returned={value}"),
        _ => format!("{name}={value}"),
    }
}
