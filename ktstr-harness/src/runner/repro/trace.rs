//! The recording of a run, from the text of tracefs to events. It is a guest's: anything may be in it.

use crate::probe::{EXIT_EVENT, STOP_EVENT};

/// One recorded moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// Time in microseconds of the guest's clock.
    pub(super) at_us: u64,
    /// Where.
    pub(super) cpu: u32,
    /// The task that ran there.
    pub(super) current: i32,
    /// What.
    pub(super) what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// The function of that number was called.
    Enter(usize, Seen),
    /// It returned.
    Leave(usize, Seen),
    /// A scheduler was given up, with this `enum scx_exit_kind`.
    Exit(u32),
    /// The recording ended.
    Stop,
}

/// What was seen at that moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The task that the call is about.
    pub(super) task: Option<Task>,
    /// Arguments and results by name.
    pub(super) others: Vec<(String, String)>,
}

/// A task at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) pid: i32,
    pub(super) name: String,
    pub(super) cpu: u32,
    /// `scx.slice`, in nanoseconds.
    pub(super) slice: u64,
    /// `scx.dsq_vtime`
    pub(super) vtime: u64,
    /// `scx.flags`
    pub(super) flags: u64,
}

/// Most of an argument's text; numbers are shorter.
const MAX_VALUE: usize = 24;

/// Arguments that a function can have.
const MAX_OTHERS: usize = 6;

/// The events in `text`, in its order, of `functions` functions. Lines of anything else are passed over.
pub(super) fn parse(text: &str, functions: usize) -> Vec<Event> {
    text.lines()
        .filter_map(|line| event(line, functions))
        .collect()
}

/// `   name-41    [001] d..21     4.979086: e3: (function+0x4/0xb0) pid=91 ... name="x"`
fn event(line: &str, functions: usize) -> Option<Event> {
    // The name of a task may contain all that is looked for here; the kernel's own comes first all the same.
    line.match_indices(" [").find_map(|(at, _)| {
        let (before, rest) = (&line[..at], &line[at + 2..]);
        let (_, current) = before.trim_end().rsplit_once('-')?;
        let (cpu, rest) = rest.split_once("] ")?;
        let (context, rest) = rest.split_once(": ")?;
        let time = context.split_whitespace().next_back()?;
        let (name, rest) = rest.split_once(": (")?;
        // The place is the kernel's own text and has no closing bracket but its own.
        let (_, fields) = rest.split_once(')')?;
        Some(Event {
            at_us: micros(time)?,
            cpu: cpu.parse().ok()?,
            current: current.parse().ok()?,
            what: what(name, fields.trim_start(), functions)?,
        })
    })
}

/// `12.345678` in microseconds.
fn micros(time: &str) -> Option<u64> {
    let (seconds, fraction) = time.split_once('.')?;
    if fraction.len() != 6 {
        return None;
    }
    let seconds: u64 = seconds.parse().ok()?;
    let fraction: u64 = fraction.parse().ok()?;
    seconds.checked_mul(1_000_000)?.checked_add(fraction)
}

fn what(name: &str, fields: &str, functions: usize) -> Option<What> {
    if name == EXIT_EVENT {
        let (_, value) = seen(fields).others.into_iter().find(|(n, _)| n == "kind")?;
        return Some(What::Exit(value.parse().ok()?));
    }
    if name.starts_with(STOP_EVENT) {
        return Some(What::Stop);
    }
    let number = |digits: &str| digits.parse().ok().filter(|index| *index < functions);
    match (name.strip_prefix('e'), name.strip_prefix('r')) {
        (Some(index), _) => Some(What::Enter(number(index)?, seen(fields))),
        (_, Some(index)) => Some(What::Leave(number(index)?, seen(fields))),
        _ => None,
    }
}

/// `pid=91 cpu=0 ... name="x"`
fn seen(fields: &str) -> Seen {
    let mut seen = Seen::default();
    let mut task = Task::default();
    let (numbers, name) = match fields.split_once("name=\"") {
        Some((numbers, name)) => (numbers, name.strip_suffix('"').unwrap_or(name)),
        None => (fields, ""),
    };
    for (name, value) in numbers.split_whitespace().filter_map(|f| f.split_once('=')) {
        match (name, number(value)) {
            ("pid", _) => {
                let Ok(pid) = value.parse() else { continue };
                task.pid = pid;
                seen.task = Some(Task::default());
            }
            ("cpu", Some(cpu)) => task.cpu = u32::try_from(cpu).unwrap_or(u32::MAX),
            ("slice", Some(slice)) => task.slice = slice,
            ("vtime", Some(vtime)) => task.vtime = vtime,
            ("flags", Some(flags)) => task.flags = flags,
            _ if seen.others.len() < MAX_OTHERS && is_short(name) && is_short(value) => {
                seen.others.push((name.to_owned(), value.to_owned()));
            }
            _ => {}
        }
    }
    if let Some(seen) = &mut seen.task {
        // The kernel keeps 15 bytes; control characters would spoil a terminal.
        let shown = name
            .chars()
            .take(15)
            .map(|c| if c.is_control() { '?' } else { c });
        task.name = shown.collect();
        *seen = task;
    }
    seen
}

fn number(value: &str) -> Option<u64> {
    match value.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => value.parse().ok(),
    }
}

fn is_short(word: &str) -> bool {
    word.len() <= MAX_VALUE && word.chars().all(|c| c.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENTER: &str = "         busybox-94      [001] d.s51     4.394163: e3: (scx_bpf_dispatch+0x4/0xb0) \
        dsq=0x8000000000000002 pid=16 cpu=0 slice=19897807 vtime=5 flags=0x309 name=\"rcu [1] x\"";
    const EXIT: &str = "          <idle>-0       [000] d.s51     4.394913: exit: (scx_ops_exit_kind+0x0/0x150) kind=1025 code=0";

    #[test]
    fn lines_become_events() {
        let text = format!("# tracer: nop\n{ENTER}\n{EXIT}\ngarbage\n");
        let events = parse(&text, 4);
        assert_eq!(events.len(), 2);
        let task = Task {
            pid: 16,
            name: "rcu [1] x".to_owned(),
            cpu: 0,
            slice: 19_897_807,
            vtime: 5,
            flags: 0x309,
        };
        let seen = Seen {
            task: Some(task),
            others: vec![("dsq".to_owned(), "0x8000000000000002".to_owned())],
        };
        let expected = Event {
            at_us: 4_394_163,
            cpu: 1,
            current: 94,
            what: What::Enter(3, seen),
        };
        assert_eq!(events[0], expected);
        assert_eq!(
            (events[1].what.clone(), events[1].current),
            (What::Exit(1025), 0)
        );
        // A function that nobody asked for.
        assert_eq!(parse(&text, 3).len(), 1);
    }

    #[test]
    fn names_do_not_mislead() {
        let line = ENTER.replacen("busybox", "a-1 [2] b: x: (", 1);
        let event = &parse(&line, 4)[0];
        assert_eq!((event.current, event.cpu), (94, 1));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_passed_over(noise in ".{0,200}", at in 0..ENTER.len(), functions in 0..5_usize) {
            let _ = parse(&noise, functions);
            let (head, tail) = ENTER.split_at(at);
            for event in parse(&format!("{head}{noise}{tail}\n{noise}{EXIT}"), functions) {
                if let What::Enter(index, seen) | What::Leave(index, seen) = event.what {
                    prop_assert!(index < functions && seen.others.len() <= MAX_OTHERS);
                    prop_assert!(seen.task.is_none_or(|task| task.name.chars().count() <= 15));
                }
            }
        }
    }
}
