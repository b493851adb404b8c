//! What takes the inside of a worker to see.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use ktstr_core::Topology;

use super::{Site, attach_storm, mutex_contention};
use crate::workload::clock;
use crate::workload::os::Shared;
use crate::workload::slot::{Cell, Cells, Control, Recorder, Slot, Stop};
use crate::workload::storm::Storm;

const MACHINE: Topology = Topology::constant(1, 1, 1, 1);
const MS: u64 = 1_000_000;

/// Calls `test` with the shared memory of `workers` workers whose run lasts `ms`.
fn with_cells(
    workers: usize,
    ms: u64,
    test: impl FnOnce(&(dyn Fn(usize) -> Recorder<'static> + Sync), &[Cell], &[Slot]),
) {
    let control: &'static [Control] = Box::leak(Box::new(Shared::new(1).unwrap()));
    let stops: &'static [Stop] = Box::leak(Box::new(Shared::new(workers).unwrap()));
    let slots: &'static [Slot] = Box::leak(Box::new(Shared::new(workers).unwrap()));
    let cells = Shared::<Cell>::new(workers).unwrap();
    let now = clock::monotonic_ns();
    control[0].released_ns.store(now, Relaxed);
    control[0].deadline_ns.store(now + ms * MS, Relaxed);
    let recorder = |worker: usize| {
        let cells = Cells {
            control: &control[0],
            stop: &stops[worker],
            whole: &slots[worker],
            steps: &[],
        };
        Recorder::new(cells, 1, MACHINE.into())
    };
    test(&recorder, &cells, slots);
}

#[test]
fn one_at_a_time_has_the_lock() {
    const WORKERS: usize = 4;
    with_cells(WORKERS, 60_000, |recorder, cells, _| {
        let lock = &cells[0];
        let (inside, turns) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for worker in 0..WORKERS {
                let (inside, turns) = (&inside, &turns);
                scope.spawn(move || {
                    let recorder = recorder(worker);
                    for _ in 0..500 {
                        mutex_contention::acquire(lock, &recorder).expect("the run goes on");
                        // A sum that two at once would spoil.
                        let before = inside.load(Relaxed);
                        std::thread::yield_now();
                        inside.store(before + 1, Relaxed);
                        mutex_contention::release(lock);
                        turns.fetch_add(1, Relaxed);
                    }
                });
            }
        });
        assert_eq!((inside.into_inner(), turns.into_inner()), (2000, 2000));
    });
}

#[test]
fn a_storm_writes_to_both_cgroups_in_turn() {
    let dir = tempfile::tempdir().unwrap();
    let cgroups = ["one", "other"].map(|name| dir.path().join(name));
    for cgroup in &cgroups {
        std::fs::create_dir(cgroup).unwrap();
        std::fs::write(cgroup.join("cgroup.procs"), "").unwrap();
    }
    let storm = Storm::new(&cgroups[0], &cgroups[1]).unwrap();
    with_cells(1, 20, |recorder, cells, slots| {
        let site = Site {
            worker: 0,
            workers: 1,
            place: 0,
            cells,
            channel: None,
            storm: Some(&storm),
            cpus: MACHINE.into(),
        };
        let mut recorder = recorder(0);
        attach_storm::run(&mut recorder, &site, 1).unwrap();
        recorder.finish();
        let [moves, iterations] =
            [&slots[0].counts[0], &slots[0].iterations].map(|it| it.load(Relaxed));
        assert!(moves > 0 && moves == iterations);
        // The first move leads away from where workers begin.
        let written =
            cgroups.map(|cgroup| std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap());
        let lengths = written.map(|text| text.len() as u64);
        assert_eq!(lengths, [moves / 2, moves.div_ceil(2)]);
        assert_eq!(slots[0].tid.load(Relaxed), 0);
    });
}
