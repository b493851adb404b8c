//! How a worker ended and what it reports.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use ktstr_core::CpuSet;

use super::failure::Call;
use super::slot::{ABSENT, SAMPLES, Slot, UNDER};
use crate::cpu_map::CpuMap;

/// What a worker counted over its run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerReport {
    /// Passes of the worker's loop; see [`super::WorkType`] for what one is.
    pub iterations: u64,
    /// Work units done, of 1024 rounds of arithmetic each.
    pub work_units: u64,
    /// From the release of all workers to this one's end, in nanoseconds.
    pub wall_ns: u64,
    /// CPU time in nanoseconds (`CLOCK_THREAD_CPUTIME_ID`).
    pub cpu_ns: u64,
    /// Time runnable and waiting for a CPU, in nanoseconds: second field of `/proc/thread-self/schedstat`.
    /// Absent when the kernel keeps no such account (`CONFIG_SCHED_INFO`).
    pub run_delay_ns: Option<u64>,
    /// How often an iteration ended on another CPU than the one before.
    pub migrations: u64,
    /// How many of those led to another NUMA node.
    pub node_migrations: u64,
    /// Iterations by the NUMA node they ended on.
    pub node_residence: BTreeMap<u32, u64>,
    /// The worker writes to 16 pages of its own in turn, one for each iteration: how many of them are on each NUMA
    /// node at the end. Absent where the kernel does not tell (`CONFIG_NUMA`, `CONFIG_MIGRATION`).
    pub pages: Option<BTreeMap<u32, u64>>,
    /// Iterations by the CPU they ended on.
    pub residence: BTreeMap<u32, u64>,
    /// Longest time in nanoseconds from when the worker could run until its next iteration ended.
    /// Sleep on purpose does not count.
    pub max_gap_ns: u64,
    /// CPU on which the longest gap ended.
    pub max_gap_cpu: u32,
    /// Wake-up latencies.
    pub wake: WakeLatency,
    /// Whether it was under a sched_ext scheduler at its end. Absent where the kernel does not tell.
    pub under_sched_ext: Option<bool>,
    /// What its work type counts of its own, by name: see [`WorkType`](super::WorkType).
    pub counts: BTreeMap<&'static str, u64>,
}

/// How long a worker took to run after it was woken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WakeLatency {
    /// Wake-ups seen.
    pub count: u64,
    /// The longest, in nanoseconds.
    pub max_ns: u64,
    /// Latencies in nanoseconds: all of them, or a fair sample when there were more than 4096.
    pub samples_ns: Vec<u64>,
}

/// How a worker ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerEnd {
    /// In time, with a report.
    Reported(WorkerReport),
    /// It could not go on with its work.
    Refused {
        /// The call that the kernel refused.
        call: &'static str,
        /// The error number.
        errno: i32,
    },
    /// By a signal that somebody else sent.
    Killed {
        /// The signal.
        signal: i32,
    },
    /// With an exit status and without a report; 101 is a panic.
    Exited {
        /// The exit status.
        status: i32,
    },
    /// It had not ended when the grace period was over, and was killed.
    Stuck {
        /// Grace period after the end of the run, in nanoseconds.
        grace_ns: u64,
        /// For how long it had ended no iteration although it was runnable, in nanoseconds.
        silent_ns: u64,
        /// CPU of its last iteration; absent when it never ended one.
        last_cpu: Option<u32>,
    },
    /// It left a report that contradicts itself, or none and no exit status.
    Lost(&'static str),
}

/// One worker of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerRun {
    /// Number within its group, from 0.
    pub worker: usize,
    /// Process id; of a worker that is a thread, that of the thread.
    pub pid: u32,
    /// Iterations that it ended, also when it left no report.
    pub iterations: u64,
    /// How it ended.
    pub end: WorkerEnd,
}

impl WorkerReport {
    /// CPUs the worker was seen on.
    pub fn cpus(&self) -> CpuSet {
        self.residence.keys().copied().collect()
    }

    /// Iterations per second; `None` when no time passed.
    pub fn iteration_rate(&self) -> Option<f64> {
        (self.wall_ns > 0).then(|| self.iterations as f64 * 1e9 / self.wall_ns as f64)
    }

    /// Share of the wall time in percent during which the worker was on no CPU; `None` when no time
    /// passed.
    pub fn off_cpu_pct(&self) -> Option<f64> {
        let off = self.wall_ns.saturating_sub(self.cpu_ns);
        (self.wall_ns > 0).then(|| off as f64 * 100.0 / self.wall_ns as f64)
    }

    /// Work units per second; `None` when no time passed.
    pub fn work_rate(&self) -> Option<f64> {
        (self.wall_ns > 0).then(|| self.work_units as f64 * 1e9 / self.wall_ns as f64)
    }

    /// Chance that an access to the worker's own memory stays on the NUMA node it runs on, from 0 to 1: its
    /// iterations and its pages on each node, as shares of all, multiplied and summed up.
    ///
    /// `None` without iterations, and where the kernel does not tell where pages are.
    pub fn page_locality(&self) -> Option<f64> {
        let pages = self.pages.as_ref()?;
        let all_pages: u64 = pages.values().sum();
        let all = self.iterations as f64 * all_pages as f64;
        let local = pages.iter().map(|(node, pages)| {
            let iterations = self.node_residence.get(node).copied().unwrap_or(0);
            iterations as f64 * *pages as f64
        });
        (all > 0.0).then(|| local.sum::<f64>() / all)
    }

    /// Reads what a worker left; an error says what is wrong with it.
    pub(super) fn read(
        slot: &Slot,
        cpus: CpuMap,
        counts: &[&'static str],
    ) -> Result<Self, &'static str> {
        if slot.done.load(Acquire) == 0 {
            return Err("ended without a report");
        }
        if slot.beyond.load(Relaxed) > 0 {
            return Err("ran on a CPU beyond number 511, which ktstr does not count");
        }
        let iterations = slot.iterations.load(Relaxed);
        let residence: BTreeMap<u32, u64> = (0..)
            .zip(&slot.residence)
            .map(|(cpu, count)| (cpu, count.load(Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect();
        let resided = residence
            .values()
            .fold(0_u64, |sum, count| sum.saturating_add(*count));
        if resided != iterations {
            return Err("left a report whose residence does not add up to its iterations");
        }
        let mut node_residence = BTreeMap::new();
        for (cpu, count) in &residence {
            *node_residence.entry(cpus.node_of(*cpu)).or_insert(0) += count;
        }
        let pages = (0..)
            .zip(&slot.pages)
            .map(|(node, count)| (node, u64::from(count.load(Relaxed))))
            .filter(|(_, count)| *count > 0);
        let counts = counts.iter().zip(&slot.counts);
        let count = slot.wakes.load(Relaxed);
        let kept = usize::try_from(count).unwrap_or(SAMPLES).min(SAMPLES);
        let delay = slot.run_delay_ns.load(Relaxed);
        Ok(Self {
            iterations,
            work_units: slot.work_units.load(Relaxed),
            wall_ns: slot.wall_ns.load(Relaxed),
            cpu_ns: slot.cpu_ns.load(Relaxed),
            run_delay_ns: (delay != ABSENT).then_some(delay),
            migrations: slot.migrations.load(Relaxed),
            node_migrations: slot.node_migrations.load(Relaxed),
            node_residence,
            pages: (slot.pages_known.load(Relaxed) == 1).then(|| pages.collect()),
            residence,
            max_gap_ns: slot.max_gap_ns.load(Relaxed),
            max_gap_cpu: slot.max_gap_cpu.load(Relaxed),
            under_sched_ext: match slot.under_sched_ext.load(Relaxed) {
                0 => None,
                told => Some(told == UNDER),
            },
            counts: counts
                .map(|(name, count)| (*name, count.load(Relaxed)))
                .collect(),
            wake: WakeLatency {
                count,
                max_ns: slot.max_wake_ns.load(Relaxed),
                samples_ns: slot.samples[..kept]
                    .iter()
                    .map(|sample| sample.load(Relaxed))
                    .collect(),
            },
        })
    }
}

impl WorkerRun {
    /// The report of a worker that ended in time.
    pub fn report(&self) -> Option<&WorkerReport> {
        match &self.end {
            WorkerEnd::Reported(report) => Some(report),
            _ => None,
        }
    }
}

impl WorkerEnd {
    /// What ended a worker that was refused something.
    pub(super) fn refused(slot: &Slot) -> Option<Self> {
        let call = Call::of(slot.refused_call.load(Acquire))?;
        Some(Self::Refused {
            call: call.name(),
            errno: slot.refused_errno.load(Relaxed).cast_signed(),
        })
    }
}

impl fmt::Display for WorkerEnd {
    /// What the worker did, to follow its name: `was killed by signal 9 (SIGKILL)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NS_PER_MS: u64 = 1_000_000;
        match self {
            Self::Reported(_) => f.write_str("ended in time"),
            Self::Refused { call, errno } => {
                let why = std::io::Error::from_raw_os_error(*errno);
                write!(
                    f,
                    "could not go on with its work: {call}: {why}{}",
                    hint(*errno)
                )
            }
            Self::Killed { signal } => write!(f, "was killed by {}", signal_in_words(*signal)),
            Self::Exited { status: 101 } => f.write_str("panicked (exit status 101)"),
            Self::Exited { status } => {
                write!(f, "exited with status {status} before the end of the run")
            }
            Self::Stuck {
                grace_ns,
                silent_ns,
                last_cpu,
            } => {
                let (grace, silent) = (grace_ns / NS_PER_MS, silent_ns / NS_PER_MS);
                write!(
                    f,
                    "did not end within {grace} ms after the run and was killed: no iteration for {silent} ms, "
                )?;
                match last_cpu {
                    Some(cpu) => write!(f, "the last one on CPU {cpu}"),
                    None => f.write_str("and none before"),
                }
            }
            Self::Lost(what) => f.write_str(what),
        }
    }
}

/// What to do about an error number, after a semicolon.
fn hint(errno: i32) -> &'static str {
    match errno {
        libc::EPERM | libc::EACCES => "; it needs root",
        libc::ENOSYS => "; the kernel does not have it",
        libc::EAGAIN | libc::ENOMEM => "; use fewer workers or a machine with more memory",
        _ => "",
    }
}

/// `signal 9 (SIGKILL)`; of one whose usual cause is no fault in the code, that cause as well.
pub(crate) fn signal_in_words(signal: i32) -> String {
    let name = signal_name(signal);
    match signal {
        libc::SIGILL => format!("{name}: {SIGILL_CAUSE}"),
        _ => name,
    }
}

/// What SIGILL usually means in a machine that is not the one that compiled.
const SIGILL_CAUSE: &str = "illegal instruction; it is usually built with `-C target-cpu=native`, for a \
    CPU with instructions that this machine's has not";

/// `signal 9 (SIGKILL)`.
fn signal_name(signal: i32) -> String {
    match ktstr_core::signal::name(signal) {
        Some(name) => format!("signal {signal} ({name})"),
        None => format!("signal {signal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::os::Shared;
    use super::*;

    const MACHINE: ktstr_core::Topology = ktstr_core::Topology::constant(2, 2, 4, 1);

    #[test]
    fn a_report_must_be_finished_and_add_up() {
        let slots = Shared::<Slot>::new(1).unwrap();
        let slot = &slots[0];
        assert_eq!(
            WorkerReport::read(slot, MACHINE.into(), &["things"]),
            Err("ended without a report")
        );
        slot.done.store(1, Relaxed);
        slot.iterations.store(3, Relaxed);
        assert!(
            WorkerReport::read(slot, MACHINE.into(), &["things"])
                .unwrap_err()
                .contains("add up")
        );
        slot.residence[5].store(3, Relaxed);
        slot.run_delay_ns.store(ABSENT, Relaxed);
        slot.wakes.store(u64::MAX, Relaxed);
        let report = WorkerReport::read(slot, MACHINE.into(), &["things"]).unwrap();
        assert_eq!(report.cpus().to_string(), "5");
        assert_eq!((report.page_locality(), &report.pages), (None, &None));
        assert_eq!(report.counts, BTreeMap::from([("things", 0)]));
        slot.pages[0].store(4, Relaxed);
        slot.pages[1].store(12, Relaxed);
        slot.pages_known.store(1, Relaxed);
        let located = WorkerReport::read(slot, MACHINE.into(), &["things"]).unwrap();
        // CPU 5 is on node 1.
        assert_eq!(located.page_locality(), Some(0.75));
        assert_eq!(report.run_delay_ns, None);
        assert_eq!(report.wake.samples_ns.len(), SAMPLES);
        slot.beyond.store(1, Relaxed);
        assert!(WorkerReport::read(slot, MACHINE.into(), &["things"]).is_err());
    }

    #[test]
    fn shares_need_time() {
        let mut report = WorkerReport::default();
        assert_eq!(report.iteration_rate(), None);
        assert_eq!(report.off_cpu_pct(), None);
        (report.wall_ns, report.cpu_ns, report.iterations) = (2_000_000_000, 500_000_000, 8);
        assert_eq!(report.iteration_rate(), Some(4.0));
        assert_eq!(report.off_cpu_pct(), Some(75.0));
        // CPU accounting may run ahead of the wall clock by a tick.
        report.cpu_ns = 3_000_000_000;
        assert_eq!(report.off_cpu_pct(), Some(0.0));
    }

    #[test]
    fn ends_read_as_sentences() {
        let text = |end: WorkerEnd| end.to_string();
        assert_eq!(
            text(WorkerEnd::Killed { signal: 9 }),
            "was killed by signal 9 (SIGKILL)"
        );
        assert_eq!(
            text(WorkerEnd::Refused {
                call: "sched_setscheduler",
                errno: 1
            }),
            "could not go on with its work: sched_setscheduler: Operation not permitted (os error 1); it needs root"
        );
        assert_eq!(
            text(WorkerEnd::Killed { signal: 40 }),
            "was killed by signal 40"
        );
        assert_eq!(
            text(WorkerEnd::Stuck {
                grace_ns: 10_000_000_000,
                silent_ns: 12_500_000_000,
                last_cpu: Some(3)
            }),
            "did not end within 10000 ms after the run and was killed: no iteration for 12500 ms, \
             the last one on CPU 3"
        );
    }
}
