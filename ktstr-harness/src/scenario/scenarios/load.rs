//! Workers that need each other, and all kinds at once.

use ktstr_core::Topology;

use super::shape::{self, Lack, Plan};
use crate::cgroup::CgroupDef;
use crate::scenario::{Hold, Op, Step};
use crate::workload::{Affinity, Policy, WorkType};
use crate::{AssertResult, Ctx, Result};

/// Workers that wait for each other, first alone, then against load of the same and of ten times the weight, then with one
/// CPU between them.
///
/// ```text
///           alone       same weight  ten times    one CPU
/// locks     a mutex among all of its workers, threads of one process
/// pings     pairs that wake each other
/// load      .           weight 100   weight 1000  weight 1000, on one CPU as all
/// ```
///
/// `locks` and `pings` have a worker for every second CPU, two at least; `load` spins with one for each, up to 16.
pub fn contention(ctx: &Ctx) -> Result<AssertResult> {
    shape::execute(ctx, contention_plan)
}

/// Work of many kinds at once, while workers are moved, stopped, started, frozen, and given other priorities and CPUs every
/// 50 ms.
///
/// ```text
///           full        stirred every 50 ms            calm
/// spinning  ........    weight, affinity, move to /    ........
/// waking    ........    freeze, thaw                   ........
/// forking   ........    nice                           ........
/// faulting  ........    one worker more, one less      ........
/// serving   ........    SCHED_BATCH and back           ........
/// ```
///
/// Two or four workers each, whatever the size of the machine.
pub fn stress(ctx: &Ctx) -> Result<AssertResult> {
    shape::execute(ctx, stress_plan)
}

#[allow(clippy::unnecessary_wraps, reason = "as all families")]
pub(super) fn contention_plan(topology: Topology) -> Result<Plan, Lack> {
    let pairs = shape::pairs(topology);
    let one = |name: &str| Op::set_affinity(name, Affinity::Cpu(0));
    let quarter = shape::share(4);
    let steps = vec![
        Step::new("alone")
            .setup(
                CgroupDef::named("locks")
                    .workers(pairs)
                    .threads()
                    .work(WorkType::mutex_contention()),
            )
            .setup(
                CgroupDef::named("pings")
                    .workers(pairs)
                    .work(WorkType::FutexPingPong),
            )
            .hold(quarter),
        Step::new("same weight")
            .setup(
                CgroupDef::named("load")
                    .workers(shape::workers(topology))
                    .weight(100),
            )
            .hold(quarter),
        Step::new("ten times")
            .op(Op::set_weight("load", 1000))
            .hold(quarter),
        Step::new("one CPU")
            .op(one("locks"))
            .op(one("pings"))
            .op(one("load"))
            .hold(quarter),
    ];
    Ok(Plan::of(steps))
}

#[allow(clippy::unnecessary_wraps, reason = "as all families")]
pub(super) fn stress_plan(topology: Topology) -> Result<Plan, Lack> {
    let drawn = Affinity::Random {
        cpus: topology.cpus().div_ceil(2),
        seed: 5,
    };
    let mut full = Step::new("full").hold(Hold::Share(0.25));
    full.setup.extend(many());
    let stirred = Step::new("stirred")
        .op(Op::set_weight("spinning", 10))
        .op(Op::set_affinity("spinning", drawn))
        .op(Op::move_some("spinning", "/", 1))
        .op(Op::freeze("waking"))
        .op(Op::set_nice("forking", 10))
        .op(Op::spawn("faulting", 1, WorkType::page_faults()))
        .op(Op::set_policy("serving", Policy::Batch))
        .op(Op::thaw("waking"))
        .op(Op::stop("faulting", 1))
        .op(Op::set_nice("forking", 0))
        .op(Op::move_all("/", "spinning"))
        .op(Op::set_affinity("spinning", Affinity::All))
        .op(Op::set_policy("serving", Policy::Other))
        .op(Op::set_weight("spinning", 100))
        .hold(shape::again(0.5));
    let calm = Step::new("calm").hold(Hold::Share(0.25));
    Ok(Plan::of(vec![full, stirred, calm]))
}

fn many() -> [CgroupDef; 5] {
    let def = CgroupDef::named;
    [
        def("spinning"),
        def("waking").workers(4).work(WorkType::wake_chain()),
        def("forking").work(WorkType::fork_exit()),
        def("faulting").work(WorkType::page_faults()),
        def("serving").work(WorkType::timer_wake()),
    ]
}
