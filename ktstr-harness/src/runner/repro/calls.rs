//! Calls from events: entry and exit of each together, who called whom, and what was under way at the end.

use std::collections::HashMap;

use super::trace::{Event, Seen, Task, What};

/// `SCX_EXIT_ERROR` of `enum scx_exit_kind`: kinds from there on are faults of the scheduler.
const FIRST_ERROR: u32 = 1024;

/// One call of a probed function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// Its number in the plan.
    pub(super) function: usize,
    pub(super) at_us: u64,
    /// Where it was made.
    pub(super) cpu: u32,
    /// The task that made it.
    pub(super) current: i32,
    /// The recorded call that it was made within.
    pub(super) parent: Option<usize>,
    pub(super) before: Seen,
    /// At its return, where that was recorded.
    pub(super) after: Option<Seen>,
}

impl Call {
    /// Whether `other` is the same call again, of the same function about the same task.
    pub(super) fn repeats(&self, other: &Self) -> bool {
        let key = |call: &Self| {
            (
                call.function,
                call.cpu,
                call.parent,
                call.task().map(|t| t.pid),
            )
        };
        key(self) == key(other)
    }

    /// The task that it is about, as it was at entry.
    pub(super) fn task(&self) -> Option<&Task> {
        self.before.task.as_ref()
    }
}

/// The moment that a scheduler was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exit {
    pub(super) current: i32,
    /// The calls under way that led there, outermost first.
    pub(super) open: Vec<usize>,
}

/// A call whose return is still to come.
#[derive(Debug, Clone, Copy)]
struct Open {
    function: usize,
    /// Its index; `None` for what began after the end.
    call: Option<usize>,
}

/// Calls within calls; nothing real comes near.
const MAX_DEPTH: usize = 64;

/// All that was recorded up to the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Trail {
    /// In the order they were made.
    pub(super) calls: Vec<Call>,
    /// The error that ended it; `None` where there was none, or it was not recorded.
    pub(super) exit: Option<Exit>,
    /// When it ended.
    pub(super) end_us: u64,
}

impl Trail {
    /// The calls that began before the first error, or in all of `events` where there is none.
    pub(super) fn of(events: Vec<Event>) -> Self {
        let mut trail = Self::default();
        // Interrupts nest within the task they interrupt; idle tasks all have pid 0, one on each CPU.
        let mut open: HashMap<(i32, u32), Vec<Open>> = HashMap::new();
        for event in events {
            let by = (
                event.current,
                if event.current == 0 { event.cpu } else { 0 },
            );
            let stack = open.entry(by).or_default();
            if stack.len() >= MAX_DEPTH {
                stack.clear();
            }
            if trail.exit.is_none() {
                trail.end_us = event.at_us;
            }
            match event.what {
                What::Enter(function, before) => {
                    // What begins after the end has an end of its own, to be kept apart.
                    let call = trail.exit.is_none().then_some(trail.calls.len());
                    let parent = stack.last().and_then(|open| open.call);
                    stack.push(Open { function, call });
                    if call.is_some() {
                        trail.calls.push(Call {
                            function,
                            at_us: event.at_us,
                            cpu: event.cpu,
                            current: event.current,
                            parent,
                            before,
                            after: None,
                        });
                    }
                }
                What::Leave(function, after) => {
                    // The returns of those above it were lost.
                    if let Some(at) = stack.iter().rposition(|open| open.function == function) {
                        if let Some(call) = stack[at].call {
                            trail.calls[call].after = Some(after);
                        }
                        stack.truncate(at);
                    }
                }
                What::Exit(kind) if kind >= FIRST_ERROR && trail.exit.is_none() => {
                    trail.exit = Some(Exit {
                        current: event.current,
                        open: stack.iter().filter_map(|open| open.call).collect(),
                    });
                }
                What::Exit(_) => {}
                What::Stop => break,
            }
        }
        trail
    }

    /// Whether a call is about the task `pid`.
    pub(super) fn is_about(&self, call: &Call, pid: i32) -> bool {
        // Of no task: part of the call that made it.
        let mut about = call;
        while let (None, Some(parent)) = (about.task(), about.parent) {
            about = &self.calls[parent];
        }
        let is_its = about.task().is_some_and(|task| task.pid == pid);
        is_its || (pid != 0 && about.current == pid)
    }

    /// The first of `pids` that some call is about.
    pub(super) fn first_known(&self, pids: impl IntoIterator<Item = i32>) -> Option<i32> {
        let is_known = |pid: &i32| {
            let mut tasks = self.calls.iter().filter_map(Call::task);
            tasks.any(|task| task.pid == *pid)
        };
        pids.into_iter().find(is_known)
    }

    /// The innermost call under way at the end that `matches`.
    pub(super) fn innermost(&self, matches: impl Fn(&Call) -> bool) -> Option<&Call> {
        let open = &self.exit.as_ref()?.open;
        let calls = open.iter().rev().filter_map(|index| self.calls.get(*index));
        calls.into_iter().find(|call| matches(call))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(pid: i32, slice: u64) -> Seen {
        let task = Task {
            pid,
            slice,
            ..Task::default()
        };
        Seen {
            task: Some(task),
            others: Vec::new(),
        }
    }

    fn event(at_us: u64, current: i32, what: What) -> Event {
        Event {
            at_us,
            cpu: 1,
            current,
            what,
        }
    }

    #[test]
    fn entries_meet_exits_and_the_end_knows_what_was_open() {
        let trail = Trail::of(vec![
            event(1, 9, What::Leave(0, seen(5, 1))), // it began before the recording
            event(2, 9, What::Enter(0, seen(5, 10))),
            event(3, 8, What::Enter(1, seen(6, 1))), // another task, elsewhere
            event(4, 9, What::Enter(1, seen(5, 11))),
            event(5, 9, What::Exit(64)), // not an error
            event(6, 9, What::Enter(2, Seen::default())),
            event(7, 9, What::Exit(1025)),
            event(8, 9, What::Enter(1, seen(5, 77))), // after the end
            event(9, 9, What::Leave(1, seen(5, 78))),
            event(10, 9, What::Leave(1, seen(5, 12))), // and the return of 2 is lost
            event(11, 9, What::Leave(0, seen(5, 13))),
            event(12, 9, What::Stop),
            event(13, 8, What::Leave(1, seen(6, 2))),
        ]);
        assert_eq!(trail.end_us, 7);
        assert_eq!(trail.exit.as_ref().unwrap().open, [0, 2, 3]);
        let slices: Vec<_> = trail
            .calls
            .iter()
            .map(|c| {
                c.after
                    .as_ref()
                    .map(|after| after.task.as_ref().unwrap().slice)
            })
            .collect();
        assert_eq!(slices, [Some(13), None, Some(12), None]);
        assert_eq!(
            trail.innermost(|call| call.task().is_some()),
            Some(&trail.calls[2])
        );
        assert!(trail.is_about(&trail.calls[3], 5) && !trail.is_about(&trail.calls[1], 5));
        assert!(trail.is_about(&trail.calls[1], 8));
        assert_eq!(trail.first_known([7, 6, 5]), Some(6));
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let what = prop_oneof![
            (0..3_usize, 0..3).prop_map(|(function, pid)| What::Enter(function, seen(pid, 0))),
            (0..3_usize, 0..3).prop_map(|(function, pid)| What::Leave(function, seen(pid, 0))),
            (0..3_usize).prop_map(|function| What::Enter(function, Seen::default())),
            (1023..1026_u32).prop_map(What::Exit),
        ];
        (any::<u64>(), 0..3_u32, 0..3, what).prop_map(|(at_us, cpu, current, what)| Event {
            at_us,
            cpu,
            current,
            what,
        })
    }

    proptest! {
        #[test]
        fn any_events_make_a_trail(events in prop::collection::vec(any_event(), 0..60)) {
            let trail = Trail::of(events);
            for (index, call) in trail.calls.iter().enumerate() {
                prop_assert!(call.parent.is_none_or(|parent| parent < index));
                let _ = trail.is_about(call, 1);
            }
            let open = trail.exit.iter().flat_map(|exit| &exit.open);
            prop_assert!(open.into_iter().all(|index| *index < trail.calls.len()));
        }
    }
}
