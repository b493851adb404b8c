//! The optional fields of a record, and why one may be absent.

use ktstr_core::Outcome;
use ktstr_core::record::{CgroupStats, Reading, RunQueues, Sampled, Sidecar, Timings, Traced};

use super::{CaseKind, Class, Reason, ran};

/// An optional field.
pub(super) struct Field {
    /// Its path in the record.
    pub(super) name: &'static str,
    pub(super) look: fn(&Sidecar, CaseKind) -> Look,
}

/// Whether a record has a field, or why not; `None` where the part is absent that has it.
type Look = Option<Result<(), Reason>>;

const AGAIN: &str = "run the tests again with this version of ktstr";
const BUILT: &str =
    "test on a kernel that `cargo ktstr kernel build` made: its configuration has what is read";
const MAIN: &str =
    "give the test binary its main by `ktstr_harness::main!()` and run the tests again";

/// What a guest says where there is no sample at all.
const TOO_SHORT: &str = "the run ended before the first sample";

fn expected(why: impl Into<String>) -> Reason {
    Reason {
        class: Class::Expected,
        why: why.into(),
        fix: None,
    }
}

fn actionable(why: impl Into<String>, fix: &'static str) -> Reason {
    Reason {
        class: Class::Actionable,
        why: why.into(),
        fix: Some(fix),
    }
}

fn old() -> Reason {
    actionable("an earlier version of ktstr wrote the record", AGAIN)
}

/// A field that is there if `present`; else `reason` says why it is not.
#[expect(clippy::unnecessary_wraps)] // It is what the table asks for.
fn field(present: bool, reason: impl FnOnce() -> Reason) -> Look {
    Some(if present { Ok(()) } else { Err(reason()) })
}

/// A field of the host context.
fn of_host(present: bool) -> Look {
    field(present, || {
        expected("the host's /proc and /sys do not tell it")
    })
}

/// Why a field is absent that comes from a machine; `None` if a machine ran.
fn without_machine(sidecar: &Sidecar, kind: CaseKind) -> Option<Reason> {
    if ran(sidecar) {
        return None;
    }
    Some(expected(match kind {
        CaseKind::Host => "it ran on the host, without a machine",
        CaseKind::Skipped => "it was skipped before a machine ran",
        CaseKind::Unfinished => "it did not end: its process was killed, or it is running",
        CaseKind::Cell | CaseKind::NoMachine | CaseKind::Machine => "it ended before a machine ran",
    }))
}

/// The same for what the guest reports at the end of the test.
fn without_report(sidecar: &Sidecar, kind: CaseKind) -> Option<Reason> {
    let unreported = || {
        let reported = sidecar.timings.teardown_s.is_some();
        (!reported).then(|| expected("the machine did not reach the end of the test"))
    };
    without_machine(sidecar, kind).or_else(unreported)
}

/// A phase of the run.
fn phase(sidecar: &Sidecar, kind: CaseKind, seconds: fn(&Timings) -> Option<f64>) -> Look {
    let reason = || {
        let not_reached = || expected("the run ended before this phase");
        without_machine(sidecar, kind).unwrap_or_else(not_reached)
    };
    field(seconds(&sidecar.timings).is_some(), reason)
}

/// A field that each cgroup has, or some lack.
fn of_cgroups(
    sidecar: &Sidecar,
    has: fn(&CgroupStats) -> bool,
    reason: fn(&Sidecar) -> Reason,
) -> Look {
    let cgroups = &sidecar.cgroups;
    (!cgroups.is_empty()).then_some(())?;
    field(cgroups.iter().all(has), || reason(sidecar))
}

fn sampled(sidecar: &Sidecar) -> Option<&Sampled> {
    sidecar.sampled.as_ref()
}

fn run_queues(sidecar: &Sidecar) -> Option<&RunQueues> {
    sampled(sidecar)?.run_queues.get().ok()
}

fn traced(sidecar: &Sidecar) -> Option<&Traced> {
    sidecar.traced.as_ref()?.get().ok()
}

/// Data of the kernel that could not be read.
#[expect(clippy::unnecessary_wraps)] // It is what the table asks for.
fn reading<T>(reading: &Reading<T>, fix: Option<&'static str>) -> Look {
    let reason = |why: &str| match fix {
        Some(fix) => actionable(why, fix),
        None => expected(why),
    };
    Some(reading.get().map(|_| ()).map_err(reason))
}

/// The kernel's own default scheduler.
fn is_default(sidecar: &Sidecar) -> bool {
    sidecar.scheduler == "eevdf"
}

/// The fields in the order of the record.
pub(super) const FIELDS: &[Field] = &[
    Field {
        name: "epoch",
        look: |it, _| field(!it.epoch.is_empty(), old),
    },
    Field {
        name: "package",
        look: |it, _| {
            field(it.package.is_some(), || {
                actionable("the test binary does not tell it", MAIN)
            })
        },
    },
    Field {
        name: "target",
        look: |it, _| {
            field(it.target.is_some(), || {
                actionable("the test binary does not tell it", MAIN)
            })
        },
    },
    Field {
        name: "source",
        look: |it, _| {
            field(it.source.is_some(), || {
                actionable("the test binary does not tell it", MAIN)
            })
        },
    },
    Field {
        name: "binary_id",
        look: |it, _| {
            field(it.binary_id.is_some(), || {
                actionable(
                    "nextest did not run it",
                    "run the tests by `cargo ktstr test` or `cargo nextest run`",
                )
            })
        },
    },
    Field {
        name: "stress",
        look: |it, _| {
            field(it.stress.is_some(), || {
                expected("it is no iteration of a stress run (`--stress-count`)")
            })
        },
    },
    Field {
        name: "topology",
        look: |it, kind| {
            field(it.topology.is_some(), || {
                without_machine(it, kind).unwrap_or_else(old)
            })
        },
    },
    Field {
        name: "kernel_version",
        look: |it, kind| {
            field(it.kernel_version.is_some(), || {
                without_machine(it, kind).unwrap_or_else(old)
            })
        },
    },
    Field {
        name: "kernel_label",
        look: |it, kind| {
            field(it.kernel_label.is_some(), || {
                without_machine(it, kind).unwrap_or_else(old)
            })
        },
    },
    Field {
        name: "kernel_build",
        look: kernel_build,
    },
    Field {
        name: "scheduler_build",
        look: scheduler_build,
    },
    Field {
        name: "scheduler_build.package",
        look: |it, _| {
            let build = it.scheduler_build.as_ref()?;
            field(build.package.is_some(), || {
                expected("the scheduler's program was given by path, or is the kernel's")
            })
        },
    },
    Field {
        name: "scheduler_build.profile",
        look: |it, _| {
            let build = it.scheduler_build.as_ref()?;
            field(build.profile.is_some(), || {
                expected("the scheduler's program was given by path, or is the kernel's")
            })
        },
    },
    Field {
        name: "scheduler_build.program_hash",
        look: |it, _| {
            let build = it.scheduler_build.as_ref()?;
            field(build.program_hash.is_some(), || {
                expected("the scheduler is the kernel's own: it has no program")
            })
        },
    },
    Field {
        name: "machine",
        look: |it, kind| {
            field(it.machine.is_some(), || {
                without_machine(it, kind).unwrap_or_else(old)
            })
        },
    },
    Field {
        name: "machine.cpu_model",
        look: |it, _| {
            let machine = it.machine.as_ref()?;
            field(machine.cpu_model.is_some(), || {
                expected("the host does not name its CPU model")
            })
        },
    },
    Field {
        name: "machine.backend_version",
        look: |it, _| {
            let machine = it.machine.as_ref()?;
            field(machine.backend_version.is_some(), || {
                expected("what ran the machine told no version")
            })
        },
    },
    Field {
        name: "thresholds",
        look: thresholds,
    },
    Field {
        name: "backend",
        look: |it, kind| {
            field(it.backend.is_some(), || {
                without_machine(it, kind).unwrap_or_else(old)
            })
        },
    },
    Field {
        name: "performance_mode",
        look: |it, kind| {
            field(it.performance_mode.is_some(), || {
                without_machine(it, kind).unwrap_or_else(old)
            })
        },
    },
    Field {
        name: "performance_mode_declared",
        look: |it, kind| {
            field(it.performance_mode_declared.is_some(), || match kind {
                CaseKind::Cell => expected("cells of the verifier sweep declare none"),
                _ => old(),
            })
        },
    },
    Field {
        name: "sampled",
        look: of_sampled,
    },
    Field {
        name: "sampled.run_queues",
        look: |it, _| {
            let queues = &sampled(it)?.run_queues;
            let fix = (queues.get().err() != Some(TOO_SHORT)).then_some(BUILT);
            reading(queues, fix)
        },
    },
    Field {
        name: "sampled.run_queues.imbalance",
        look: |it, _| {
            let queues = run_queues(it)?;
            field(queues.imbalance.is_some(), || {
                expected("no sample had a runnable task")
            })
        },
    },
    Field {
        name: "sampled.run_queues.local_dsq",
        look: |it, _| {
            let queues = run_queues(it)?;
            field(queues.local_dsq.is_some(), || {
                actionable("the kernel has no sched_ext", BUILT)
            })
        },
    },
    Field {
        name: "sampled.events",
        look: |it, _| {
            let fix = (!is_default(it)).then_some("test on Linux 6.15 or later");
            reading(&sampled(it)?.events, fix)
        },
    },
    Field {
        name: "traced",
        look: |it, _| match &it.traced {
            None => Some(Err(expected("no check of the test takes a trace"))),
            Some(traced) => reading(traced, Some(BUILT)),
        },
    },
    Field {
        name: "traced.wasted",
        look: |it, _| {
            let none = || expected("no CPU was idle while a task waited");
            field(traced(it)?.wasted.is_some(), none)
        },
    },
    Field {
        name: "traced.wake_to_run",
        look: |it, _| {
            let none = || expected("no task was woken up and ran");
            field(traced(it)?.wake_to_run.is_some(), none)
        },
    },
    Field {
        name: "verifier",
        look: verifier,
    },
    Field {
        name: "verifier.load_s",
        look: |it, _| {
            let stats = it.verifier.as_ref()?;
            field(stats.load_s.is_some(), || {
                expected("the scheduler was not enabled")
            })
        },
    },
    Field {
        name: "verifier.programs[].verified_insns",
        look: |it, _| {
            let programs = &it
                .verifier
                .as_ref()
                .filter(|stats| !stats.programs.is_empty())?
                .programs;
            field(
                programs
                    .iter()
                    .all(|program| program.verified_insns.is_some()),
                || {
                    actionable(
                        "the kernel does not report it",
                        "test on Linux 5.16 or later",
                    )
                },
            )
        },
    },
    Field {
        name: "kernel_warnings",
        look: |it, kind| {
            let none = || expected("the kernel reported no fault of its own");
            field(!it.kernel_warnings.is_empty(), || {
                without_report(it, kind).unwrap_or_else(none)
            })
        },
    },
    Field {
        name: "taint",
        look: |it, kind| {
            field(it.taint.is_some(), || {
                without_report(it, kind).unwrap_or_else(old)
            })
        },
    },
    Field {
        name: "kernel_messages_lost",
        look: |it, kind| {
            let none = || expected("no message of the kernel was lost");
            field(it.kernel_messages_lost > 0, || {
                without_report(it, kind).unwrap_or_else(none)
            })
        },
    },
    Field {
        name: "scheduler_restarts",
        look: |it, kind| {
            let none = || expected("the scheduler was not restarted");
            field(it.scheduler_restarts > 0, || {
                without_report(it, kind).unwrap_or_else(none)
            })
        },
    },
    Field {
        name: "scheduler_exit",
        look: |it, kind| {
            let none = || expected("the kernel did not end the scheduler");
            field(it.scheduler_exit.is_some(), || {
                without_report(it, kind).unwrap_or_else(none)
            })
        },
    },
    Field {
        name: "metric_definitions",
        look: |it, _| {
            let none = || expected("no program of the test measures anything");
            field(!it.metric_definitions.is_empty(), none)
        },
    },
    Field {
        name: "programs",
        look: |it, kind| {
            let none = || expected("the test ran no program of its own");
            field(!it.programs.is_empty(), || {
                without_report(it, kind).unwrap_or_else(none)
            })
        },
    },
    Field {
        name: "programs[].cpu_s",
        look: |it, _| {
            let untold = || actionable("the kernel does not count the CPU time of cgroups", BUILT);
            let told = it.programs.iter().all(|program| program.cpu_s.is_some());
            (!it.programs.is_empty()).then(|| if told { Ok(()) } else { Err(untold()) })
        },
    },
    Field {
        name: "timings.wait_s",
        look: |it, kind| phase(it, kind, |timings| timings.wait_s),
    },
    Field {
        name: "timings.boot_s",
        look: |it, kind| phase(it, kind, |timings| timings.boot_s),
    },
    Field {
        name: "timings.scenario_s",
        look: |it, kind| phase(it, kind, |timings| timings.scenario_s),
    },
    Field {
        name: "timings.teardown_s",
        look: |it, kind| phase(it, kind, |timings| timings.teardown_s),
    },
    Field {
        name: "auto_repro",
        look: auto_repro,
    },
    Field {
        name: "project_commit",
        look: |it, _| {
            field(it.project_commit.is_some(), || {
                actionable(
                    "the project's commit was not found",
                    "run in a git work tree that has a commit, with git installed",
                )
            })
        },
    },
    Field {
        name: "host.kernel_release",
        look: |it, _| of_host(it.host.kernel_release.is_some()),
    },
    Field {
        name: "host.cpu_model",
        look: |it, _| of_host(it.host.cpu_model.is_some()),
    },
    Field {
        name: "host.online_cpus",
        look: |it, _| of_host(it.host.online_cpus.is_some()),
    },
    Field {
        name: "host.allowed_cpus",
        look: |it, _| of_host(it.host.allowed_cpus.is_some()),
    },
    Field {
        name: "host.numa_nodes",
        look: |it, _| of_host(it.host.numa_nodes.is_some()),
    },
    Field {
        name: "host.memory_mib",
        look: |it, _| of_host(it.host.memory_mib.is_some()),
    },
    Field {
        name: "host.free_hugepages",
        look: |it, _| of_host(it.host.free_hugepages.is_some()),
    },
    Field {
        name: "host.virtualized",
        look: |it, _| of_host(it.host.virtualized.is_some()),
    },
    Field {
        name: "cgroups[].work_type",
        look: |it, _| {
            of_cgroups(
                it,
                |cgroup| cgroup.work_type.is_some(),
                |_| {
                    actionable(
                        "an earlier version of ktstr wrote the record, or the test says no type",
                        AGAIN,
                    )
                },
            )
        },
    },
    Field {
        name: "cgroups[].run_delay_s",
        look: |it, _| {
            of_cgroups(
                it,
                |cgroup| cgroup.run_delay_s.is_some(),
                |_| actionable("the kernel does not report it", BUILT),
            )
        },
    },
    Field {
        name: "cgroups[].under_sched_ext",
        look: |it, _| {
            of_cgroups(
                it,
                |cgroup| cgroup.under_sched_ext.is_some(),
                |it| {
                    if is_default(it) {
                        expected("the kernel does not report it, and the test does not need it")
                    } else {
                        actionable("the kernel does not report it", BUILT)
                    }
                },
            )
        },
    },
    Field {
        name: "cgroups[].spread_pct",
        look: |it, _| {
            of_cgroups(
                it,
                |cgroup| cgroup.spread_pct.is_some(),
                |_| expected("too few workers reported to compare them"),
            )
        },
    },
    Field {
        name: "cgroups[].p50_wake_latency_ns",
        look: |it, _| {
            of_cgroups(
                it,
                |cgroup| cgroup.p50_wake_latency_ns.is_some(),
                |_| no_latency(),
            )
        },
    },
    Field {
        name: "cgroups[].p99_wake_latency_ns",
        look: |it, _| {
            of_cgroups(
                it,
                |cgroup| cgroup.p99_wake_latency_ns.is_some(),
                |_| no_latency(),
            )
        },
    },
];

fn no_latency() -> Reason {
    expected("the work of a cgroup has no wake-ups to measure")
}

fn kernel_build(sidecar: &Sidecar, kind: CaseKind) -> Look {
    field(sidecar.kernel_build.is_some(), || {
        without_machine(sidecar, kind).unwrap_or_else(|| match sidecar.machine {
            None => old(),
            Some(_) => actionable(
                "the kernel is not of the kernel cache",
                "give --kernel a source, a release or a cache key, so that it is",
            ),
        })
    })
}

fn scheduler_build(sidecar: &Sidecar, kind: CaseKind) -> Look {
    field(sidecar.scheduler_build.is_some(), || {
        if is_default(sidecar) {
            return expected("it ran under the kernel's default scheduler");
        }
        without_machine(sidecar, kind).unwrap_or_else(|| match sidecar.machine {
            None => old(),
            Some(_) => expected("the run ended before there was a program"),
        })
    })
}

fn thresholds(sidecar: &Sidecar, kind: CaseKind) -> Look {
    field(!sidecar.thresholds.is_empty(), || match kind {
        CaseKind::Cell => expected("a cell of the verifier sweep has none"),
        _ if sidecar.machine.is_some() => expected("the test declares no check"),
        _ if ran(sidecar) => old(),
        _ => expected("the test declares no check, or did not get so far"),
    })
}

fn of_sampled(sidecar: &Sidecar, kind: CaseKind) -> Look {
    field(sidecar.sampled.is_some(), || match kind {
        CaseKind::Cell => expected("a cell of the verifier sweep is not sampled"),
        _ => without_report(sidecar, kind).unwrap_or_else(old),
    })
}

fn verifier(sidecar: &Sidecar, kind: CaseKind) -> Look {
    field(sidecar.verifier.is_some(), || match kind {
        CaseKind::Cell => expected("the cell ended before its first stage"),
        _ => expected("only cells of the verifier sweep have it"),
    })
}

fn auto_repro(sidecar: &Sidecar, kind: CaseKind) -> Look {
    field(sidecar.auto_repro.is_some(), || {
        if sidecar.verdict.outcome() != Outcome::Fail {
            return expected("it did not fail");
        }
        without_report(sidecar, kind).unwrap_or_else(|| {
            expected(
                "its scheduler did not die, or the test says `auto_repro = false` or `expect_err`",
            )
        })
    })
}
