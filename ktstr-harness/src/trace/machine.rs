//! Who runs, who waits and which CPUs are idle, from a stream of events; from it, work conservation and wake-to-run
//! time.
//!
//! A CPU is wasted as long as it is idle while any task that may use it waits. The tasks may take turns in waiting.

mod pid_map;
mod waste;

use std::time::Duration;

use super::event::{Event, Task, What};
use super::facts::{Facts, TaskFacts};
use super::latency::Latencies;

use pid_map::PidMap;
pub use waste::Waste;
use waste::{Run, Wastes};

/// A wait that is shorter does not count: a CPU that is told to wake up takes that long.
const FLOOR: Duration = Duration::from_micros(100);

/// Waiting tasks that are looked at for one idle CPU.
const MAX_LOOKED_AT: usize = 256;

/// Times of one CPU that are kept until it is no longer idle.
const MAX_RUNS: usize = 64;

/// Tasks whose facts are kept.
const MAX_KNOWN: usize = 8192;

/// Tasks that are on the CPUs and waiting for them; more are not followed.
const MAX_TASKS: usize = 1 << 16;

/// Follows a machine.
#[derive(Debug)]
pub(super) struct Machine<F> {
    facts: F,
    /// The task that watches: what it takes of a CPU that is idle otherwise does not count.
    observer: i32,
    cpus: Vec<Cpu>,
    tasks: PidMap<State>,
    known: PidMap<Known>,
    /// Before this moment nothing can be said of who waits.
    blind_until: Duration,
    pub(super) latencies: Latencies,
    wastes: Wastes,
    /// Whether there were more tasks than are followed.
    pub(super) overflowed: bool,
    /// How often tasks were read.
    pub(super) reads: u64,
}

#[derive(Debug, Clone, Default)]
struct Cpu {
    is_watched: bool,
    is_offline: bool,
    /// Id of the task that runs on it, where that is known.
    current: Option<i32>,
    /// Since when.
    since: Duration,
    /// Since when it can be used: CPUs come and go.
    usable_since: Duration,
    went_idle: Option<Event>,
    /// Since when the observer runs on it, where it was idle before.
    observed_since: Option<Duration>,
    /// The times during which it has been wasted, apart from each other and in order, since it has been idle.
    runs: Vec<Run>,
}

#[derive(Debug, Clone)]
enum State {
    Running,
    Waiting(Waiting),
}

/// A task that waits for a CPU.
#[derive(Debug, Clone)]
struct Waiting {
    task: Task,
    since: Duration,
    /// Since when its CPUs are what they are.
    free_since: Duration,
    was_woken: bool,
    /// The event with which it began to wait.
    began: Event,
}

/// What was read of a task, and when.
#[derive(Debug, Clone)]
struct Known {
    facts: Option<Facts>,
    at: Duration,
    /// Whether it was kept from the pass before.
    is_old: bool,
}

impl<F: TaskFacts> Machine<F> {
    /// Follows the CPUs `watched`, those of them that are in `offline` being off. The task `observer` is passed over.
    pub(super) fn new(facts: F, observer: i32, watched: &[u32], offline: &[u32]) -> Self {
        let count = watched.iter().max().map_or(0, |last| *last as usize + 1);
        let mut cpus = vec![Cpu::default(); count];
        for cpu in watched {
            cpus[*cpu as usize].is_watched = true;
            cpus[*cpu as usize].is_offline = offline.contains(cpu);
        }
        Self {
            facts,
            observer,
            cpus,
            tasks: PidMap::default(),
            known: PidMap::default(),
            blind_until: Duration::ZERO,
            latencies: Latencies::default(),
            wastes: Wastes::default(),
            overflowed: false,
            reads: 0,
        }
    }

    /// Nothing before `until` is judged: who runs is not known everywhere yet.
    pub(super) fn blind_until(&mut self, until: Duration) {
        self.blind_until = self.blind_until.max(until);
    }

    /// Takes an event; they come in the order of their times, but for small differences between CPUs.
    pub(super) fn take(&mut self, event: &Event) {
        let index = event.cpu as usize;
        if self.cpus.len() <= index {
            // One that is not watched; its tasks are.
            self.cpus.resize(index + 1, Cpu::default());
        }
        self.wastes.saw(event);
        if self.cpus[index].current.is_none() {
            self.set_current(index, event.current, event);
        }
        match event.what {
            What::Switch {
                prev,
                runnable,
                next,
            } => self.switch(index, event, prev, runnable, next),
            What::Wakeup { task, new, .. } => {
                if new {
                    self.known.remove(&task.pid);
                }
                self.wait(task, event, true);
            }
            What::Affinity { pid } => self.cpus_changed(pid, event.at),
            What::Hotplug { cpu, online } => self.hotplug(cpu as usize, online, event.at),
            What::Migrate { .. } | What::Call(_) => {}
        }
    }

    fn switch(&mut self, index: usize, event: &Event, prev: Task, runnable: bool, next: Task) {
        let was_idle = self.cpus[index].current == Some(0);
        if next.pid == self.observer && was_idle {
            self.look_at_waiting(index, event.at);
            self.cpus[index].observed_since = Some(event.at);
            self.cpus[index].current = Some(next.pid);
            return;
        }
        if let Some(State::Waiting(waiting)) = self.tasks.remove(&next.pid) {
            self.waited(&waiting, event.at, index);
        }
        if let Some(since) = self.cpus[index].observed_since.take() {
            if next.is_idle() && prev.pid == self.observer {
                self.cpus[index].go_on_being_idle(since, event.at);
                return;
            }
            self.close_run(index);
        }
        if was_idle && next.is_idle() {
            return;
        }
        if was_idle {
            self.look_at_waiting(index, event.at);
            self.close_run(index);
        }
        if !prev.is_idle() {
            self.tasks.remove(&prev.pid);
            if runnable {
                self.wait(prev, event, false);
            }
        }
        self.set_current(index, next.pid, event);
    }

    fn set_current(&mut self, index: usize, pid: i32, event: &Event) {
        let cpu = &mut self.cpus[index];
        if let Some(before) = cpu.current.replace(pid)
            && before != pid
            && matches!(self.tasks.get(&before), Some(State::Running))
        {
            self.tasks.remove(&before);
        }
        cpu.since = event.at;
        cpu.went_idle = (pid == 0).then_some(*event);
        if pid != 0 {
            self.insert(pid, State::Running);
        }
    }

    fn wait(&mut self, task: Task, event: &Event, was_woken: bool) {
        let is_nobody = task.is_idle() || task.pid == self.observer;
        if event.at < self.blind_until || is_nobody || self.tasks.contains_key(&task.pid) {
            return;
        }
        let waiting = Waiting {
            task,
            since: event.at,
            free_since: Duration::ZERO,
            was_woken,
            began: *event,
        };
        self.insert(task.pid, State::Waiting(waiting));
    }

    fn insert(&mut self, pid: i32, state: State) {
        if self.tasks.len() < MAX_TASKS {
            self.tasks.insert(pid, state);
        } else {
            self.overflowed = true;
        }
    }

    /// A task gets the CPU `index` after it waited.
    fn waited(&mut self, waiting: &Waiting, at: Duration, index: usize) {
        let time = at.saturating_sub(waiting.since);
        if waiting.was_woken {
            self.latencies.take(at, index as u32, waiting.task, time);
        }
        if time >= FLOOR {
            for idle in 0..self.cpus.len() {
                self.add_segment(idle, waiting, at);
            }
        }
    }

    /// Adds the waits of tasks that still wait to the time that the idle CPU `index` was wasted.
    fn look_at_waiting(&mut self, index: usize, at: Duration) {
        if !self.cpus[index].is_idle() || at.saturating_sub(self.cpus[index].since) < FLOOR {
            return;
        }
        let is_long = |waiting: &Waiting| at.saturating_sub(waiting.since) >= FLOOR;
        let waiting = self.tasks.values().filter_map(|state| match state {
            State::Waiting(waiting) if is_long(waiting) => Some(waiting.clone()),
            _ => None,
        });
        let waiting: Vec<Waiting> = waiting.take(MAX_LOOKED_AT).collect();
        for waiting in &waiting {
            self.add_segment(index, waiting, at);
        }
    }

    /// Adds the wait until `at` to the time that the CPU `index` was wasted, where it was idle and the task may use it.
    fn add_segment(&mut self, index: usize, waiting: &Waiting, at: Duration) {
        let cpu = &self.cpus[index];
        // Deadline tasks have a budget, and wait when it is used up.
        if !cpu.is_idle() || waiting.task.prio < 0 {
            return;
        }
        let from = waiting
            .since
            .max(waiting.free_since)
            .max(cpu.since)
            .max(cpu.usable_since);
        if at.saturating_sub(from) < FLOOR {
            return;
        }
        let went_idle = cpu.went_idle;
        let Some(read_at) = self.may_use(waiting.task.pid, index as u32) else {
            return;
        };
        let segment = Run::new(
            from,
            at,
            read_at,
            waiting.task,
            waiting.since,
            [went_idle, Some(waiting.began)],
        );
        let runs = &mut self.cpus[index].runs;
        let mut whole = segment;
        // A long wait may join times that were apart.
        while let Some(before) = runs.pop_if(|before| before.to >= from) {
            whole.extend(&before);
        }
        runs.push(whole);
        if runs.len() > MAX_RUNS {
            let first = runs.remove(0);
            self.wastes.close(index as u32, first);
        }
    }

    fn close_run(&mut self, index: usize) {
        for run in std::mem::take(&mut self.cpus[index].runs) {
            self.wastes.close(index as u32, run);
        }
    }

    /// When what says that the task may use the CPU was read; `None` where it may not, and where that is not known.
    fn may_use(&mut self, pid: i32, cpu: u32) -> Option<Duration> {
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        let (facts, reads) = (&mut self.facts, &mut self.reads);
        let known = self.known.entry(pid).or_insert_with(|| {
            *reads += 1;
            Known {
                facts: facts.read(pid),
                at: facts.now(),
                is_old: false,
            }
        });
        let facts = known.facts.as_ref()?;
        (facts.cpus.contains(cpu) && !facts.has_quota).then_some(known.at)
    }

    /// What was read of the task holds no longer; if it was read after this moment, it did not hold before.
    fn cpus_changed(&mut self, pid: i32, at: Duration) {
        self.known.remove(&pid);
        if let Some(State::Waiting(waiting)) = self.tasks.get_mut(&pid) {
            waiting.free_since = at;
        }
        self.wastes.doubt(pid, at);
        for cpu in &mut self.cpus {
            cpu.runs.retain(|run| !run.is_doubtful(pid, at));
        }
    }

    fn hotplug(&mut self, index: usize, online: bool, at: Duration) {
        if index < self.cpus.len() {
            self.close_run(index);
            self.cpus[index].is_offline = !online;
            self.cpus[index].usable_since = at;
        }
    }

    /// Events of the CPU between `from` and `to` are lost.
    pub(super) fn lost(&mut self, cpu: u32, from: Duration, to: Duration) {
        for index in 0..self.cpus.len() {
            self.close_run(index);
        }
        if let Some(cpu) = self.cpus.get_mut(cpu as usize) {
            cpu.current = None;
            cpu.went_idle = None;
            cpu.observed_since = None;
        }
        self.blind_until(to.max(from));
        self.tasks.clear();
        for index in 0..self.cpus.len() {
            if let Some(pid) = self.cpus[index].current.filter(|pid| *pid != 0) {
                self.insert(pid, State::Running);
            }
        }
    }

    /// All events before `now` were taken: looks at those who still wait.
    pub(super) fn pass(&mut self, now: Duration) {
        for index in 0..self.cpus.len() {
            self.look_at_waiting(index, now);
        }
        // What is read anew is as new as the events; a quota that has just been lifted still excuses.
        self.known.retain(|_, known| {
            let has_quota = known.facts.as_ref().is_some_and(|facts| facts.has_quota);
            !std::mem::replace(&mut known.is_old, true) && has_quota
        });
        self.wastes.pass(now);
    }

    /// Ends, with what waits and is idle until now, and gives the longest time for which a CPU was wasted.
    pub(super) fn finish(&mut self, now: Duration) -> Option<Waste> {
        self.pass(now);
        for index in 0..self.cpus.len() {
            self.close_run(index);
        }
        self.wastes.longest()
    }
}

impl Cpu {
    /// The observer has run on it since then; a time for which it was wasted goes on, without that.
    fn go_on_being_idle(&mut self, observed_since: Duration, at: Duration) {
        if let Some(last) = self.runs.last_mut()
            && last.to + FLOOR >= observed_since
        {
            last.excluded += at.saturating_sub(last.to);
            last.to = at;
        }
        self.current = Some(0);
        self.since = at;
    }

    fn is_idle(&self) -> bool {
        self.is_watched && !self.is_offline && self.current == Some(0)
    }
}

#[cfg(test)]
mod tests;
