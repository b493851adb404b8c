//! How the kernel schedules a worker: policy, nice value, CPUs.
#![allow(unsafe_code)]

use std::io;
use std::time::Duration;

use ktstr_core::{CpuSet, Topology};
use rustix::process::{Pid, setpriority_process};
use rustix::thread::sched_setaffinity;

use crate::shuffle::shuffle;

/// A scheduling policy of a task (sched(7)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// `SCHED_OTHER`: the kernel's fair class, or a sched_ext scheduler that takes all tasks.
    #[default]
    Other,
    /// `SCHED_BATCH`: likewise, without wake-up preemption.
    Batch,
    /// `SCHED_IDLE`: likewise, with less than the least weight.
    Idle,
    /// `SCHED_FIFO` with a priority of 1 (least) to 99.
    Fifo(u32),
    /// `SCHED_RR` with a priority of 1 (least) to 99.
    RoundRobin(u32),
    /// `SCHED_DEADLINE`: `runtime` of CPU time in every `period`, before the `deadline` in it.
    Deadline {
        /// CPU time of one period, 1 microsecond at least.
        runtime: Duration,
        /// At least `runtime`, at most `period`.
        deadline: Duration,
        /// At most 4 s (`sched_deadline_period_max_us`).
        period: Duration,
    },
    /// `SCHED_EXT`: a sched_ext scheduler, also one that takes only tasks that ask for it.
    Ext,
}

/// `include/uapi/linux/sched.h` of the kernel.
const SCHED_DEADLINE: u32 = 6;
const SCHED_EXT: libc::c_int = 7;

/// `struct sched_attr` of the kernel's `include/uapi/linux/sched/types.h`, its first version.
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

impl Policy {
    /// Its name in messages, as sched(7) has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Other => "SCHED_OTHER",
            Self::Batch => "SCHED_BATCH",
            Self::Idle => "SCHED_IDLE",
            Self::Fifo(_) => "SCHED_FIFO",
            Self::RoundRobin(_) => "SCHED_RR",
            Self::Deadline { .. } => "SCHED_DEADLINE",
            Self::Ext => "SCHED_EXT",
        }
    }

    /// What is wrong with its parameters, if anything.
    pub(crate) fn fault(self) -> Option<&'static str> {
        match self {
            Self::Fifo(priority) | Self::RoundRobin(priority) => {
                (!(1..=99).contains(&priority)).then_some("its priority is not from 1 to 99")
            }
            Self::Deadline {
                runtime,
                deadline,
                period,
            } => (runtime < Duration::from_micros(1) || deadline < runtime || period < deadline)
                .then_some("1us <= runtime <= deadline <= period does not hold"),
            Self::Other | Self::Batch | Self::Idle | Self::Ext => None,
        }
    }

    /// Gives a process this policy; its nice value stays.
    pub(crate) fn set(self, pid: Pid) -> io::Result<()> {
        let (number, priority) = match self {
            Self::Other => (libc::SCHED_OTHER, 0),
            Self::Batch => (libc::SCHED_BATCH, 0),
            Self::Idle => (libc::SCHED_IDLE, 0),
            Self::Fifo(priority) => (libc::SCHED_FIFO, priority),
            Self::RoundRobin(priority) => (libc::SCHED_RR, priority),
            Self::Ext => (SCHED_EXT, 0),
            Self::Deadline {
                runtime,
                deadline,
                period,
            } => return set_deadline(pid, runtime, deadline, period),
        };
        let parameter = libc::sched_param {
            sched_priority: priority.cast_signed(),
        };
        // SAFETY: plain system call; the parameter is read before it returns.
        let result =
            unsafe { libc::sched_setscheduler(pid.as_raw_pid(), number, &raw const parameter) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

fn set_deadline(
    pid: Pid,
    runtime: Duration,
    deadline: Duration,
    period: Duration,
) -> io::Result<()> {
    let attributes = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: SCHED_DEADLINE,
        flags: 0,
        nice: 0,
        priority: 0,
        runtime: super::clock::nanoseconds(runtime),
        deadline: super::clock::nanoseconds(deadline),
        period: super::clock::nanoseconds(period),
    };
    // SAFETY: the kernel reads `size` bytes of the structure before the call returns (sched_setattr(2)).
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_setattr,
            pid.as_raw_pid(),
            &raw const attributes,
            0,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Which CPUs a worker asks for (`sched_setaffinity`); the cpuset of its cgroup limits them further.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Affinity {
    /// All of the machine.
    #[default]
    All,
    /// One CPU.
    Cpu(u32),
    /// The CPUs of one last-level cache, counted over the machine from 0.
    Llc(u32),
    /// So many of the machine's CPUs, drawn anew for each worker; the same seed draws the same ones.
    Random {
        /// How many, from 1 to all.
        cpus: u32,
        /// What the draw starts from.
        seed: u64,
    },
    /// Exactly these.
    Exact(CpuSet),
}

impl Affinity {
    /// The CPUs of worker `number`; an error says what is wrong.
    pub(crate) fn cpus(&self, topology: Topology, number: u64) -> Result<CpuSet, String> {
        let cpus = match self {
            Self::All => return Ok(topology.all_cpus()),
            Self::Cpu(cpu) => CpuSet::from_iter([*cpu]),
            Self::Llc(llc) if *llc < topology.llcs() => topology.cpus_of_llc(*llc),
            Self::Llc(llc) => return Err(format!("no LLC {llc} on {topology}")),
            Self::Random { cpus, seed } => {
                if *cpus == 0 || *cpus > topology.cpus() {
                    return Err(format!("{cpus} random CPUs of {topology}"));
                }
                draw(*cpus, topology.cpus(), seed.wrapping_add(number))
            }
            Self::Exact(cpus) => cpus.clone(),
        };
        if cpus.is_empty() {
            return Err("no CPU at all".to_owned());
        }
        if !cpus.is_subset(&topology.all_cpus()) {
            return Err(format!("CPUs {cpus} are not all on {topology}"));
        }
        Ok(cpus)
    }
}

/// `count` of `all` CPUs.
fn draw(count: u32, all: u32, seed: u64) -> CpuSet {
    let mut cpus: Vec<u32> = (0..all).collect();
    shuffle(&mut cpus, seed);
    cpus.into_iter().take(count as usize).collect()
}

/// Lets a process run on `cpus`.
pub(crate) fn set_affinity(pid: Pid, cpus: &CpuSet) -> io::Result<()> {
    let mut mask = rustix::thread::CpuSet::new();
    for cpu in cpus
        .iter()
        .filter(|cpu| *cpu < rustix::thread::CpuSet::MAX_CPU as u32)
    {
        mask.set(cpu as usize);
    }
    Ok(sched_setaffinity(Some(pid), &mask)?)
}

/// Gives a process a nice value, -20 (most CPU time) to 19.
pub(crate) fn set_nice(pid: Pid, nice: i32) -> io::Result<()> {
    Ok(setpriority_process(Some(pid), nice)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustix::process::getpid;

    use super::*;

    const MACHINE: Topology = Topology::constant(1, 2, 2, 1);

    #[test]
    fn affinities_name_cpus_of_the_machine() {
        let cpus = |affinity: Affinity| affinity.cpus(MACHINE, 0).map(|cpus| cpus.to_string());
        assert_eq!(cpus(Affinity::All).unwrap(), "0-3");
        assert_eq!(cpus(Affinity::Cpu(3)).unwrap(), "3");
        assert_eq!(cpus(Affinity::Llc(1)).unwrap(), "2-3");
        assert!(cpus(Affinity::Cpu(4)).unwrap_err().contains("not all on"));
        assert!(cpus(Affinity::Llc(2)).unwrap_err().contains("no LLC 2"));
        assert!(cpus(Affinity::Exact(CpuSet::default())).is_err());
        for none in [0, 5] {
            assert!(
                cpus(Affinity::Random {
                    cpus: none,
                    seed: 1
                })
                .is_err()
            );
        }
    }

    #[test]
    fn parameters_have_bounds() {
        let ms = Duration::from_millis;
        let deadline = |runtime, deadline, period| Policy::Deadline {
            runtime: ms(runtime),
            deadline: ms(deadline),
            period: ms(period),
        };
        for fine in [Policy::Other, Policy::Fifo(1), Policy::RoundRobin(99)] {
            assert_eq!(fine.fault(), None, "{fine:?}");
        }
        assert_eq!(deadline(1, 2, 2).fault(), None);
        for odd in [Policy::Fifo(0), Policy::RoundRobin(100), deadline(0, 2, 2)] {
            assert!(odd.fault().is_some(), "{odd:?}");
        }
        assert!(deadline(2, 1, 3).fault().is_some() && deadline(1, 3, 2).fault().is_some());
    }

    #[test]
    fn what_is_set_is_what_the_kernel_has() {
        // On a thread of its own: its policy and CPUs end with it.
        std::thread::spawn(|| {
            let me = rustix::thread::gettid();
            let before = rustix::thread::sched_getaffinity(None).unwrap();
            let one = (0..1024).find(|cpu| before.is_set(*cpu)).unwrap();
            set_affinity(me, &CpuSet::from_iter([one as u32])).unwrap();
            let now = rustix::thread::sched_getaffinity(None).unwrap();
            assert_eq!((now.count(), now.is_set(one)), (1, true));
            assert_ne!(me, getpid());
            Policy::Batch.set(me).unwrap();
            // SAFETY: plain system call without pointers.
            let policy = unsafe { libc::sched_getscheduler(0) };
            assert_eq!(policy, libc::SCHED_BATCH);
        })
        .join()
        .unwrap();
    }

    proptest! {
        #[test]
        fn as_many_are_drawn_as_are_asked_for(all in 1_u32..512, part in 0_u32..512, seed: u64) {
            let count = 1 + part % all;
            let drawn = draw(count, all, seed);
            prop_assert_eq!(drawn.len(), count as usize);
            prop_assert!(drawn.iter().all(|cpu| cpu < all));
            prop_assert_eq!(draw(count, all, seed), drawn);
        }
    }
}
