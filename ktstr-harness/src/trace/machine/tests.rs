use std::collections::HashMap;

use proptest::prelude::*;

use super::super::event::tests::{event, task};
use super::super::facts::CpuMask;
use super::*;

/// What tasks may use is told by a table; those that are not in it have ended.
#[derive(Debug, Default)]
struct Table {
    tasks: HashMap<i32, Facts>,
    now: Duration,
}

impl TaskFacts for Table {
    fn read(&mut self, pid: i32) -> Option<Facts> {
        self.tasks.get(&pid).cloned()
    }

    fn now(&self) -> Duration {
        self.now
    }
}

/// The task that watches.
const OBSERVER: i32 = 77;

const fn us(us: u64) -> Duration {
    Duration::from_micros(us)
}

fn facts(cpus: &str, has_quota: bool) -> Facts {
    let cpus: ktstr_core::CpuSet = cpus.parse().unwrap();
    Facts {
        cpus: CpuMask::from(&cpus),
        has_quota,
    }
}

/// Two CPUs, and tasks that may use these.
fn machine(tasks: &[(i32, &str)]) -> Machine<Table> {
    let tasks = tasks.iter().map(|(pid, cpus)| (*pid, facts(cpus, false)));
    let table = Table {
        tasks: tasks.collect(),
        now: us(1),
    };
    Machine::new(table, OBSERVER, &[0, 1], &[])
}

fn switch(prev: i32, runnable: bool, next: i32) -> What {
    What::Switch {
        prev: task(prev),
        runnable,
        next: task(next),
    }
}

fn wake(pid: i32) -> What {
    What::Wakeup {
        task: task(pid),
        target: 0,
        new: false,
    }
}

fn run(machine: &mut Machine<Table>, events: &[(u64, u32, What)]) {
    for (at, cpu, what) in events {
        let mut event = event(*at, *cpu, *what);
        if let What::Switch { prev, .. } = what {
            event.current = prev.pid;
        }
        machine.take(&event);
    }
}

fn longest(machine: &mut Machine<Table>, at: u64) -> Option<(u32, u64, u64, i32)> {
    let waste = machine.finish(us(at))?;
    Some((
        waste.cpu,
        waste.from.as_micros() as u64,
        waste.to.as_micros() as u64,
        waste.task.pid,
    ))
}

/// CPU 0 runs task 7, CPU 1 goes idle at 1000, and task 8 wakes up at 2000.
const BASE: [(u64, u32, What); 0] = [];

fn base() -> Vec<(u64, u32, What)> {
    let mut events = BASE.to_vec();
    events.extend([
        (500, 0, switch(0, true, 7)),
        (1000, 1, switch(9, false, 0)),
        (2000, 0, wake(8)),
    ]);
    events
}

#[test]
fn an_idle_cpu_that_a_waiting_task_may_use_is_wasted() {
    let mut all = machine(&[(8, "0-1")]);
    run(&mut all, &base());
    run(&mut all, &[(5000, 0, switch(7, false, 8))]);
    let waste = all.finish(us(9000)).unwrap();
    assert_eq!(
        (waste.cpu, waste.from, waste.to, waste.task.pid),
        (1, us(2000), us(5000), 8)
    );
    assert_eq!((waste.length(), waste.waited_since), (us(3000), us(2000)));
    let shown: Vec<String> = waste.moments.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "CPU 1: task (9) sleeps; idle",
            "CPU 0: task (8) wakes up, for CPU 0",
            "CPU 0: task (7) sleeps; task (8) runs",
        ]
    );
    let (of_cpu, of_task) = (all.latencies.by_cpu.clone(), all.latencies.into_tasks());
    assert_eq!(
        (of_cpu[0].count, of_cpu[0].max, of_task[0].task.pid),
        (1, us(3000), 8)
    );
}

#[test]
fn one_that_it_may_not_use_is_not() {
    for tasks in [&[(8, "0")][..], &[]] {
        let mut all = machine(tasks);
        run(&mut all, &base());
        run(&mut all, &[(5000, 0, switch(7, false, 8))]);
        assert_eq!(longest(&mut all, 9000), None, "{tasks:?}");
    }
    let mut all = machine(&[]);
    all.facts.tasks.insert(8, facts("0-1", true));
    run(&mut all, &base());
    assert_eq!(longest(&mut all, 9000), None);
}

#[test]
fn tasks_may_take_turns_in_waiting() {
    let mut all = machine(&[(7, "0-1"), (8, "0-1")]);
    run(&mut all, &base());
    let turns = (0..10).map(|turn| {
        let (prev, next) = if turn % 2 == 0 { (7, 8) } else { (8, 7) };
        (3000 + 1000 * turn, 0, switch(prev, true, next))
    });
    run(&mut all, &turns.collect::<Vec<_>>());
    run(&mut all, &[(13_000, 1, switch(0, true, 8))]);
    assert_eq!(longest(&mut all, 20_000), Some((1, 2000, 13_000, 8)));
}

#[test]
fn what_waits_at_the_end_counts_up_to_there() {
    let mut all = machine(&[(8, "0-1")]);
    run(&mut all, &base());
    all.pass(us(3000));
    assert_eq!(longest(&mut all, 4000), Some((1, 2000, 4000, 8)));
}

#[test]
fn a_cpu_where_only_the_observer_runs_is_idle() {
    let mut all = machine(&[(8, "0-1"), (OBSERVER, "0-1")]);
    run(&mut all, &base());
    run(
        &mut all,
        &[
            (3000, 1, wake(OBSERVER)),
            (3500, 1, switch(0, true, OBSERVER)),
            (4000, 1, switch(OBSERVER, false, 0)),
            (5000, 1, switch(0, true, OBSERVER)),
            (6000, 1, switch(OBSERVER, false, 0)),
            (7000, 1, switch(0, true, 8)),
        ],
    );
    let waste = all.finish(us(9000)).unwrap();
    assert_eq!(
        (waste.from, waste.to, waste.length()),
        (us(2000), us(7000), us(3500))
    );
    let tasks = all.latencies.into_tasks();
    assert_eq!(tasks.len(), 1, "{tasks:?}");

    // It is no reason for another to wait.
    let mut all = machine(&[(7, "0-1")]);
    run(&mut all, &base()[..2]);
    run(
        &mut all,
        &[
            (2000, 0, switch(7, true, OBSERVER)),
            (2050, 0, switch(OBSERVER, false, 7)),
        ],
    );
    assert_eq!(longest(&mut all, 9000), None);

    // Nobody can use a CPU that it runs on.
    let mut all = machine(&[(8, "1")]);
    run(&mut all, &base()[..2]);
    run(
        &mut all,
        &[
            (1500, 1, switch(0, true, OBSERVER)),
            (2000, 0, wake(8)),
            (6000, 1, switch(OBSERVER, false, 8)),
        ],
    );
    assert_eq!(longest(&mut all, 9000), None);
}

#[test]
fn wakes_of_those_who_run_are_none() {
    let mut all = machine(&[(7, "0-1")]);
    run(&mut all, &base()[..2]);
    run(
        &mut all,
        &[
            (2000, 1, wake(7)),
            (2500, 0, switch(7, false, 0)),
            (3000, 1, switch(0, true, 7)),
        ],
    );
    assert_eq!(longest(&mut all, 4000), None);
    assert!(all.latencies.by_cpu.is_empty());
}

#[test]
fn cpus_that_are_off_are_not_idle() {
    let off = |online| What::Hotplug { cpu: 1, online };
    let mut all = machine(&[(8, "0-1")]);
    run(&mut all, &base()[..2]);
    run(
        &mut all,
        &[
            (1500, 0, off(false)),
            (2000, 0, wake(8)),
            (5000, 0, off(true)),
        ],
    );
    assert_eq!(longest(&mut all, 6000), Some((1, 5000, 6000, 8)));
    let mut all = Machine::new(Table::default(), OBSERVER, &[0, 1], &[1]);
    all.facts.tasks.insert(8, facts("0-1", false));
    run(&mut all, &base());
    assert_eq!(longest(&mut all, 6000), None);
}

#[test]
fn what_a_task_may_use_counts_from_when_it_may() {
    let mut all = machine(&[(8, "0-1")]);
    run(&mut all, &base());
    run(
        &mut all,
        &[
            (4000, 0, What::Affinity { pid: 8 }),
            (5000, 0, switch(7, false, 8)),
        ],
    );
    assert_eq!(longest(&mut all, 6000), Some((1, 4000, 5000, 8)));

    // It was read too late to say what was so before.
    let mut all = machine(&[(8, "0-1")]);
    all.facts.now = us(7000);
    run(&mut all, &base());
    run(
        &mut all,
        &[
            (5000, 0, switch(7, false, 8)),
            (6000, 0, What::Affinity { pid: 8 }),
        ],
    );
    assert_eq!(longest(&mut all, 8000), None);
    // Of another task it says nothing.
    let mut all = machine(&[(8, "0-1")]);
    all.facts.now = us(7000);
    run(&mut all, &base());
    run(
        &mut all,
        &[
            (5000, 0, switch(7, false, 8)),
            (6000, 0, What::Affinity { pid: 9 }),
        ],
    );
    assert_eq!(longest(&mut all, 8000), Some((1, 2000, 5000, 8)));
}

#[test]
fn nothing_is_said_of_what_was_lost() {
    let mut all = machine(&[(8, "0-1"), (9, "0-1")]);
    run(&mut all, &base());
    all.lost(0, us(3000), us(5000));
    run(
        &mut all,
        &[
            (4000, 1, wake(9)),
            (6000, 0, switch(8, false, 7)),
            (8000, 0, switch(7, false, 0)),
        ],
    );
    assert_eq!(longest(&mut all, 9000), None);

    // What comes after is judged again.
    let mut all = machine(&[(8, "0-1")]);
    all.lost(0, us(100), us(400));
    run(&mut all, &base());
    assert_eq!(longest(&mut all, 9000), Some((1, 2000, 9000, 8)));
}

#[test]
fn a_start_in_the_middle_makes_up_nothing() {
    let mut all = machine(&[(7, "0-1"), (8, "0-1")]);
    all.blind_until(us(1500));
    // Whoever runs on CPU 0 is woken up, which says nothing.
    run(
        &mut all,
        &[
            (1000, 1, switch(9, false, 0)),
            (1200, 1, wake(7)),
            (1400, 0, switch(7, true, 8)),
        ],
    );
    assert_eq!(longest(&mut all, 9000), None);
}

/// A random machine, and the same by brute force over small steps of time.
fn arbitrary_events() -> impl Strategy<Value = Vec<(u64, u32, u8, i32)>> {
    prop::collection::vec((1..4_u64, 0..3_u32, 0..4_u8, 1..5_i32), 1..60)
}

proptest! {
    #[test]
    fn as_by_brute_force(steps in arbitrary_events(), pinned in 1..5_i32) {
        const STEP: u64 = 1000;
        let allowed = |pid: i32, cpu: u32| pid != pinned || cpu == 0;
        let tasks = (1..5).map(|pid| (pid, if pid == pinned { "0" } else { "0-2" }));
        let mut all = machine(&[]);
        all.cpus = vec![Cpu { is_watched: true, ..Cpu::default() }; 3];
        all.facts.tasks = tasks.map(|(pid, cpus)| (pid, facts(cpus, false))).collect();
        // All CPUs are idle, and nobody waits.
        run(&mut all, &[0, 1, 2].map(|cpu| (0, cpu, switch(100, false, 0))));
        let (mut current, mut waiting) = ([0_i32; 3], [false; 5]);
        let (mut begun, mut best) = ([None; 3], 0_u64);
        let mut at = 0;
        for (gap, cpu, what, pid) in steps {
            at += gap * STEP;
            let index = cpu as usize;
            let runs = current.contains(&pid);
            match what {
                // It wakes up.
                0 => {
                    run(&mut all, &[(at, cpu, wake(pid))]);
                    waiting[pid as usize] |= !runs;
                }
                // One that waits gets the CPU.
                1 if waiting[pid as usize] => {
                    run(&mut all, &[(at, cpu, switch(current[index], true, pid))]);
                    waiting[pid as usize] = false;
                    waiting[current[index] as usize] = current[index] != 0;
                    current[index] = pid;
                }
                // The CPU goes idle.
                2 if current[index] != 0 => {
                    run(&mut all, &[(at, cpu, switch(current[index], false, 0))]);
                    current[index] = 0;
                }
                _ => all.pass(us(at)),
            }
            for cpu in 0..3 {
                let is_wasted = current[cpu as usize] == 0
                    && (1..5).any(|pid| waiting[pid as usize] && allowed(pid, cpu));
                let begin = &mut begun[cpu as usize];
                // Who waits may have changed; that the CPU was wasted has not.
                if let Some(begin) = *begin {
                    best = best.max(at - begin);
                }
                *begin = is_wasted.then(|| begin.unwrap_or(at));
            }
        }
        let found = all.finish(us(at)).map_or(0, |waste| waste.length().as_micros() as u64);
        prop_assert_eq!(found, best);
    }

    #[test]
    fn any_stream_is_followed(events in prop::collection::vec((0..9_u64, 0..4_u32, 0..7_u8, -2..6_i32, 0..6_i32, any::<bool>()), 0..80)) {
        let mut all = machine(&[(1, "0-1"), (2, "0"), (3, "0-9")]);
        for (at, cpu, what, one, other, flag) in events {
            let at = 1000 * at;
            match what {
                0..=2 => run(&mut all, &[(at, cpu, switch(one, flag, other))]),
                3 => run(&mut all, &[(at, cpu, wake(one))]),
                4 => run(&mut all, &[(at, cpu, What::Hotplug { cpu: one as u32, online: flag })]),
                5 => run(&mut all, &[(at, cpu, What::Affinity { pid: one })]),
                _ => all.lost(cpu, us(at), us(at + other as u64)),
            }
        }
        if let Some(waste) = all.finish(us(20_000)) {
            prop_assert!(waste.length() <= us(20_000) && waste.cpu < 2);
        }
    }
}
