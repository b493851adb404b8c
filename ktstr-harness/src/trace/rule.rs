//! Rules that a stream of events must follow.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

use super::event::Event;

/// Whether an event is one that a rule is about.
type Is = Box<dyn FnMut(&Event) -> bool + Send>;

/// The key of an event that a rule is about, such as the id of a task.
type Key = Box<dyn FnMut(&Event) -> Option<i64> + Send>;

/// A rule that events must follow, as long as they are watched. Each event is judged when it comes and is not kept.
///
/// ```
/// use std::time::Duration;
/// use ktstr_harness::trace::{Event, Rule, What};
///
/// // Whoever is woken up runs within 50 ms.
/// let woken = |event: &Event| match event.what {
///     What::Wakeup { task, .. } => Some(task.pid.into()),
///     _ => None,
/// };
/// let runs = |event: &Event| match event.what {
///     What::Switch { next, .. } => Some(next.pid.into()),
///     _ => None,
/// };
/// let soon = Rule::within("runs_soon", Duration::from_millis(50), woken, runs);
/// # let _ = soon;
/// ```
pub struct Rule {
    pub(super) name: String,
    kind: Kind,
    at_most: Option<i64>,
    at_least: Option<i64>,
}

enum Kind {
    Never(Is),
    Always { of: Is, holds: Is },
    Within { limit: Duration, from: Key, to: Key },
    Count(Is),
    Max(Key),
}

/// What a rule came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruled {
    /// Name of the rule.
    pub name: String,
    /// Events that it was about: those that were counted or measured, or must not have been, or began a time.
    pub count: u64,
    /// The largest value of [`Rule::max`], or the longest time of [`Rule::within`] in nanoseconds.
    pub max: Option<i64>,
    /// Events that broke it.
    pub broken: u64,
    /// How it was broken first, and the moments before and after.
    pub first: Option<Broken>,
    pub(super) at_most: Option<i64>,
    pub(super) at_least: Option<i64>,
    pub(super) is_count: bool,
}

/// The first event that broke a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The event; of a time that was too long, the one that it began with.
    pub event: Event,
    /// Events before and after.
    pub moments: Vec<Event>,
    after: usize,
}

/// Begun times of one rule; more are not followed.
const MAX_OPEN: usize = 1 << 14;

/// Events that are shown before and after.
const BEFORE: usize = 6;
const AFTER: usize = 6;

impl Rule {
    fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self {
            name: name.into(),
            kind,
            at_most: None,
            at_least: None,
        }
    }

    /// No event may be so.
    pub fn never(name: impl Into<String>, is: impl FnMut(&Event) -> bool + Send + 'static) -> Self {
        Self::new(name, Kind::Never(Box::new(is)))
    }

    /// For every event that is `of` the kind, `holds` must be true.
    pub fn always(
        name: impl Into<String>,
        of: impl FnMut(&Event) -> bool + Send + 'static,
        holds: impl FnMut(&Event) -> bool + Send + 'static,
    ) -> Self {
        let (of, holds) = (Box::new(of), Box::new(holds));
        Self::new(name, Kind::Always { of, holds })
    }

    /// After an event to which `from` gives a key, one to which `to` gives the same key must come within `limit`.
    ///
    /// Until then, further events of the same key begin nothing. What has begun and is not over when the watch ends
    /// breaks the rule if that took longer than `limit`.
    pub fn within(
        name: impl Into<String>,
        limit: Duration,
        from: impl FnMut(&Event) -> Option<i64> + Send + 'static,
        to: impl FnMut(&Event) -> Option<i64> + Send + 'static,
    ) -> Self {
        let (from, to) = (Box::new(from), Box::new(to));
        Self::new(name, Kind::Within { limit, from, to })
    }

    /// Counts events; see [`Rule::at_most`] and [`Rule::at_least`].
    pub fn count(name: impl Into<String>, is: impl FnMut(&Event) -> bool + Send + 'static) -> Self {
        Self::new(name, Kind::Count(Box::new(is)))
    }

    /// Finds the largest value; see [`Rule::at_most`].
    pub fn max(
        name: impl Into<String>,
        value: impl FnMut(&Event) -> Option<i64> + Send + 'static,
    ) -> Self {
        Self::new(name, Kind::Max(Box::new(value)))
    }

    /// The number that the count, or the largest value, must not exceed.
    #[must_use]
    pub fn at_most(mut self, limit: i64) -> Self {
        self.at_most = Some(limit);
        self
    }

    /// The number that the count, or the largest value, must reach.
    #[must_use]
    pub fn at_least(mut self, limit: i64) -> Self {
        self.at_least = Some(limit);
        self
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Rules at work.
#[derive(Default)]
pub(super) struct Rules {
    rules: Vec<(Rule, Ruled, Open)>,
    history: VecDeque<Event>,
}

/// What has begun, by key.
type Open = HashMap<i64, Event>;

impl Rules {
    pub(super) fn new(rules: Vec<Rule>) -> Self {
        let rules = rules.into_iter().map(|rule| {
            let ruled = Ruled {
                name: rule.name.clone(),
                count: 0,
                max: None,
                broken: 0,
                first: None,
                at_most: rule.at_most,
                at_least: rule.at_least,
                is_count: matches!(rule.kind, Kind::Count(_)),
            };
            (rule, ruled, Open::new())
        });
        Self {
            rules: rules.collect(),
            history: VecDeque::new(),
        }
    }

    pub(super) fn take(&mut self, event: &Event) {
        if self.rules.is_empty() {
            return;
        }
        for (rule, ruled, open) in &mut self.rules {
            if let Some(first) = ruled.first.as_mut().filter(|first| first.after > 0) {
                first.after -= 1;
                first.moments.push(*event);
            }
            let broken = match &mut rule.kind {
                Kind::Never(is) => {
                    let found = is(event);
                    ruled.count += u64::from(found);
                    found.then_some(*event)
                }
                Kind::Always { of, holds } => {
                    let found = of(event);
                    ruled.count += u64::from(found);
                    (found && !holds(event)).then_some(*event)
                }
                Kind::Count(is) => {
                    ruled.count += u64::from(is(event));
                    let exceeds = |limit: i64| ruled.count.cast_signed() > limit;
                    let is_first = ruled.broken == 0 && rule.at_most.is_some_and(exceeds);
                    is_first.then_some(*event)
                }
                Kind::Max(value) => value(event).and_then(|value| {
                    ruled.count += 1;
                    ruled.max = ruled.max.max(Some(value));
                    rule.at_most
                        .is_some_and(|limit| value > limit)
                        .then_some(*event)
                }),
                Kind::Within { limit, from, to } => {
                    // One event may end a time and begin the next.
                    let begun = to(event).and_then(|key| open.remove(&key));
                    let late = begun.filter(|begun| ruled.took(begun, event.at) > *limit);
                    if let Some(key) = from(event)
                        && open.len() < MAX_OPEN
                    {
                        open.entry(key).or_insert_with(|| {
                            ruled.count += 1;
                            *event
                        });
                    }
                    late
                }
            };
            if let Some(event) = broken {
                ruled.note(event, &self.history);
            }
        }
        if self.history.len() == BEFORE {
            self.history.pop_front();
        }
        self.history.push_back(*event);
    }

    /// Events are lost: whatever has begun may have ended.
    pub(super) fn lost(&mut self) {
        for (_, _, open) in &mut self.rules {
            open.clear();
        }
    }

    /// Ends all rules; `now` is the end of the watch.
    pub(super) fn finish(self, now: Duration) -> Vec<Ruled> {
        let history = self.history;
        let ended = self.rules.into_iter().map(|(rule, mut ruled, open)| {
            if let Kind::Within { limit, .. } = rule.kind {
                let mut begun: Vec<Event> = open.into_values().collect();
                begun.sort_by_key(|event| event.at);
                for event in begun {
                    if now.saturating_sub(event.at) > limit {
                        ruled.took(&event, now);
                        ruled.note(event, &history);
                    }
                }
            }
            ruled
        });
        ended.collect()
    }
}

impl Ruled {
    /// How long it took from `begun` on.
    fn took(&mut self, begun: &Event, at: Duration) -> Duration {
        let time = at.saturating_sub(begun.at);
        let ns = i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        self.max = self.max.max(Some(ns));
        time
    }

    fn note(&mut self, event: Event, history: &VecDeque<Event>) {
        self.broken += 1;
        self.first.get_or_insert_with(|| {
            let mut moments: Vec<Event> = history.iter().copied().collect();
            if !moments.contains(&event) {
                moments.push(event);
                moments.sort_by_key(|event| event.at);
            }
            Broken {
                event,
                moments,
                after: AFTER,
            }
        });
    }
}

#[cfg(test)]
mod tests;
