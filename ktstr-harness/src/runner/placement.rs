//! Which host CPUs a machine runs on, and what is locked for it.

use std::path::Path;
use std::time::Duration;

use ktstr_core::host::{Claims, HostCpus, LockError, Placement, Reservation};
use ktstr_core::{Topology, Verdict};
use ktstr_vmm::{Backend, CancelToken, HostPlacement, Performance};

use super::cancel;
use super::plan::MachinePlan;
use super::refusal::{Refusal, ReserveError};
use super::result::RunError;
use super::settings::Settings;

/// How long to wait for host CPUs: others' tests take minutes at most.
const WAIT: Duration = Duration::from_secs(900);

/// Priority of vCPU threads among real-time threads: above every ordinary one.
const PRIORITY: u8 = 1;

/// Host CPUs that are reserved for a machine; dropping it gives them to others.
#[derive(Debug)]
pub(super) struct Reserved {
    pub(super) placement: HostPlacement,
    _reservation: Reservation,
}

impl Reserved {
    /// Whether the machine has them to itself: performance mode.
    pub(super) fn is_alone(&self) -> bool {
        is_alone(&self.placement)
    }
}

fn is_alone(placement: &HostPlacement) -> bool {
    matches!(placement, HostPlacement::Dedicated(_))
}

/// Which host CPUs a machine may use.
#[derive(Debug, Clone, PartialEq, Eq)]
enum CpuDemand {
    /// Emulated, on a CPU that no other emulated machine uses.
    Emulated,
    /// On so many CPUs, which others may use too.
    Budget(usize),
    /// On the CPUs of one of these placements, alone.
    Alone(Vec<Placement>),
}

/// Whether the machine of `plan` runs in performance mode.
pub(super) fn in_performance_mode(plan: &MachinePlan, settings: &Settings) -> bool {
    plan.performance_mode && !settings.no_perf_mode
}

/// Memory in MiB for a machine that is given `mib`: in performance mode every node's is whole 2 MiB pages.
pub(super) fn memory_mib(mib: u32, topology: Topology, performance: bool) -> u32 {
    if performance {
        mib.next_multiple_of(2 * topology.numa_nodes())
    } else {
        mib
    }
}

/// Waits for host CPUs for the machine of `plan`; calls `waiting` once, where others have them.
pub(super) fn reserve(
    plan: &MachinePlan,
    backend: Backend,
    settings: &Settings,
    waiting: &mut dyn FnMut(),
    cancel: &CancelToken,
) -> Result<Reserved, RunError> {
    let host =
        HostCpus::read(Path::new("/")).map_err(|error| Verdict::fail("host", error.to_string()))?;
    let refused = |error: ReserveError| error.verdict((settings.words)(Refusal::HostCpus(&error)));
    let locked = |error: LockError| refused(error.into());
    let wants = Wants {
        performance: in_performance_mode(plan, settings),
        cap: settings.cpu_cap,
        budget: plan.cpu_budget,
    };
    let lock_dir = &settings.lock_dir;
    let (placement, reservation) =
        match demand(&host, plan.topology, backend, wants).map_err(refused)? {
            CpuDemand::Emulated => {
                let slots = host.allowed.len();
                let reservation = cancel::wait_for_lock(cancel, WAIT, waiting, |wait| {
                    Reservation::emulator(lock_dir, slots, wait)
                })?
                .map_err(locked)?;
                (HostPlacement::Unpinned, reservation)
            }
            CpuDemand::Budget(count) => {
                // Processes of a run have numbers in a row: each begins where the one before ends.
                let start = (std::process::id() as usize).wrapping_mul(count);
                let (cpus, reservation) = cancel::wait_for_lock(cancel, WAIT, waiting, |wait| {
                    Reservation::shared(lock_dir, &host, count, start, wait)
                })?
                .map_err(locked)?;
                (HostPlacement::Affinity(cpus), reservation)
            }
            CpuDemand::Alone(mut placements) => {
                let claims: Vec<Claims> = placements.iter().map(|it| it.claims.clone()).collect();
                let (index, reservation) = cancel::wait_for_lock(cancel, WAIT, waiting, |wait| {
                    Reservation::any_of(lock_dir, &claims, wait)
                })?
                .map_err(locked)?;
                (alone(placements.swap_remove(index)), reservation)
            }
        };
    Ok(Reserved {
        placement,
        _reservation: reservation,
    })
}

/// What of the host a machine in performance mode has.
fn alone(place: Placement) -> HostPlacement {
    HostPlacement::Dedicated(Performance {
        vcpus: place.vcpus,
        emulator_cpu: place.service,
        nodes: place.nodes,
        hugepages: true,
        priority: PRIORITY,
    })
}

/// What the test and whoever runs it ask for.
#[derive(Debug, Clone, Copy, Default)]
struct Wants {
    performance: bool,
    /// Host CPUs by `KTSTR_CPU_CAP`.
    cap: Option<usize>,
    /// Host CPUs by the test's `cpu_budget`.
    budget: Option<u32>,
}

fn demand(
    host: &HostCpus,
    topology: Topology,
    backend: Backend,
    wants: Wants,
) -> Result<CpuDemand, ReserveError> {
    let allowed = host.allowed.len();
    if let Some(cap) = wants.cap.filter(|cap| *cap > allowed) {
        return Err(ReserveError::CapTooHigh { cap, allowed });
    }
    let needed = topology.cpus() as usize + 1;
    if wants.performance {
        if backend == Backend::Qemu {
            return Err(ReserveError::NotKvm);
        }
        if let Some(cap) = wants.cap.filter(|cap| *cap < needed) {
            return Err(ReserveError::CapTooLow {
                topology,
                needed,
                cap,
            });
        }
        return Ok(CpuDemand::Alone(Placement::candidates(host, topology)?));
    }
    let budget = wants.budget.map(|budget| budget as usize);
    if let Some(budget) = budget.filter(|budget| wants.cap.is_none() && *budget > allowed) {
        return Err(ReserveError::BudgetTooHigh { budget, allowed });
    }
    if backend == Backend::Qemu {
        // It takes one CPU, whatever the budget.
        return Ok(CpuDemand::Emulated);
    }
    let count = wants.cap.or(budget).unwrap_or(needed.min(allowed));
    Ok(CpuDemand::Budget(count))
}

#[cfg(test)]
mod tests {
    use ktstr_core::host::HostLlc;
    use ktstr_core::{CpuSet, Outcome};

    use super::*;

    /// `cpus` CPUs on one cache.
    fn host(cpus: u32) -> HostCpus {
        HostCpus {
            allowed: (0..cpus).collect(),
            llcs: vec![HostLlc {
                number: 0,
                cores: (0..cpus).map(|cpu| CpuSet::from_iter([cpu])).collect(),
            }],
            nodes: [(0, (0..cpus).collect())].into(),
            caches_known: true,
        }
    }

    const TWO: Topology = Topology::constant(1, 1, 2, 1);

    fn refusal(cpus: u32, backend: Backend, wants: Wants) -> (Outcome, String) {
        let error = demand(&host(cpus), TWO, backend, wants).unwrap_err();
        (error.verdict(String::new()).outcome(), error.to_string())
    }

    #[test]
    fn the_cap_goes_before_the_budget_and_that_before_the_default() {
        let count = |cpus, cap, budget| {
            let wants = Wants {
                performance: false,
                cap,
                budget,
            };
            match demand(&host(cpus), TWO, Backend::Kvm, wants).unwrap() {
                CpuDemand::Budget(count) => count,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(count(8, None, None), 3);
        assert_eq!(count(2, None, None), 2);
        assert_eq!(count(8, None, Some(5)), 5);
        assert_eq!(count(8, Some(1), Some(5)), 1);
        assert_eq!(count(2, Some(2), Some(5)), 2);
    }

    #[test]
    fn what_the_host_cannot_give_is_a_failure_for_the_operator_and_a_skip_for_the_test() {
        for backend in [Backend::Kvm, Backend::Qemu] {
            let wants = Wants {
                cap: Some(3),
                ..Wants::default()
            };
            let (outcome, why) = refusal(2, backend, wants);
            assert_eq!(outcome, Outcome::Fail);
            assert!(why.contains("3 host CPUs is above the 2 that"), "{why}");
            let wants = Wants {
                budget: Some(3),
                ..Wants::default()
            };
            let (outcome, why) = refusal(2, backend, wants);
            assert_eq!(outcome, Outcome::Skip);
            assert!(why.starts_with("cpu_budget: 3 host CPUs"), "{why}");
        }
    }

    #[test]
    fn performance_mode_is_granted_or_skipped_with_the_reason() {
        let wants = Wants {
            performance: true,
            ..Wants::default()
        };
        match demand(&host(3), TWO, Backend::Kvm, wants).unwrap() {
            CpuDemand::Alone(mut places) => {
                assert_eq!(places[0].vcpus, [0, 1]);
                assert!(is_alone(&alone(places.swap_remove(0))));
            }
            other => panic!("{other:?}"),
        }
        let capped = Wants {
            cap: Some(2),
            ..wants
        };
        for (cpus, backend, wants, expected) in [
            (3, Backend::Qemu, wants, "needs KVM"),
            (2, Backend::Kvm, wants, "takes 3 host CPUs"),
            (8, Backend::Kvm, capped, "the cap grants 2"),
        ] {
            let (outcome, why) = refusal(cpus, backend, wants);
            assert_eq!(outcome, Outcome::Skip);
            assert!(why.contains(expected), "{why}");
            assert!(!why.contains("--"), "{why}");
        }
        // Emulated machines take a CPU each, and that is all.
        let emulated = demand(&host(2), TWO, Backend::Qemu, Wants::default());
        assert_eq!(emulated.unwrap(), CpuDemand::Emulated);
    }

    #[test]
    fn only_locks_that_others_hold_are_a_skip() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |lock_dir: &Path| {
            let error = Reservation::emulator(lock_dir, 1, Duration::ZERO).unwrap_err();
            let error = ReserveError::from(error);
            let verdict = error.verdict(error.to_string());
            (verdict.outcome(), verdict.details()[0].message.clone())
        };
        let held = Reservation::emulator(dir.path(), 1, Duration::ZERO).unwrap();
        assert_eq!(refused(dir.path()).0, Outcome::Skip);
        drop(held);
        let no_dir = dir.path().join("file");
        std::fs::write(&no_dir, "").unwrap();
        for lock_dir in [&no_dir, Path::new("/proc/none")] {
            let (outcome, message) = refused(lock_dir);
            assert_eq!(outcome, Outcome::Fail);
            assert!(message.contains(lock_dir.to_str().unwrap()), "{message}");
        }
    }

    #[test]
    fn memory_of_every_node_is_whole_pages() {
        assert_eq!(memory_mib(257, TWO, false), 257);
        assert_eq!(memory_mib(257, TWO, true), 258);
        assert_eq!(memory_mib(257, Topology::constant(3, 3, 1, 1), true), 258);
        assert_eq!(memory_mib(260, Topology::constant(4, 4, 1, 1), true), 264);
    }
}
