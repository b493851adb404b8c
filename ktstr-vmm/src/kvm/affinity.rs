//! The host CPUs that the threads of a machine run on.
#![allow(unsafe_code)]

use std::io;

use ktstr_core::CpuSet;
use rustix::thread::{self, Pid, gettid, sched_getaffinity, sched_setaffinity};

use crate::error::KvmError;

/// The host CPU that the thread of one vCPU is pinned to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VcpuPin {
    pub(super) cpu: u32,
    /// `SCHED_FIFO` priority, 1 to 99.
    pub(super) priority: u8,
}

impl VcpuPin {
    /// Pins the calling thread.
    pub(super) fn apply(self) -> Result<(), KvmError> {
        let cpus = CpuSet::from_iter([self.cpu]);
        set_affinity(None, &mask(&cpus)?, &cpus)?;
        let parameter = libc::sched_param {
            sched_priority: self.priority.into(),
        };
        // SAFETY: the kernel reads the structure, which lives until the call returns; 0 is the calling thread.
        let code = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameter) };
        if code == 0 {
            return Ok(());
        }
        Err(KvmError::Performance {
            what: "real-time scheduling of vCPU threads (SCHED_FIFO)",
            why: io::Error::last_os_error().to_string(),
            remedy: "run with CAP_SYS_NICE or a larger RLIMIT_RTPRIO (ulimit -r)",
        })
    }
}

/// Restricts the calling thread, and the threads that it starts in the meantime, to some host CPUs. Dropping it
/// restores the affinity of the thread.
#[derive(Debug)]
pub(super) struct AffinityGuard {
    thread: Pid,
    before: thread::CpuSet,
}

impl AffinityGuard {
    pub(super) fn to(cpus: &CpuSet) -> Result<Self, KvmError> {
        let thread = gettid();
        let before = sched_getaffinity(None).map_err(|errno| affinity(cpus, errno))?;
        set_affinity(None, &mask(cpus)?, cpus)?;
        Ok(Self { thread, before })
    }
}

impl Drop for AffinityGuard {
    fn drop(&mut self) {
        // It fails if that thread has exited, or if its CPUs are offline.
        let _ = sched_setaffinity(Some(self.thread), &self.before);
    }
}

fn set_affinity(thread: Option<Pid>, mask: &thread::CpuSet, cpus: &CpuSet) -> Result<(), KvmError> {
    sched_setaffinity(thread, mask).map_err(|errno| affinity(cpus, errno))
}

fn mask(cpus: &CpuSet) -> Result<thread::CpuSet, KvmError> {
    let mut mask = thread::CpuSet::new();
    for cpu in cpus.iter() {
        let cpu = cpu as usize;
        if cpu >= thread::CpuSet::MAX_CPU {
            return Err(affinity(cpus, rustix::io::Errno::INVAL));
        }
        mask.set(cpu);
    }
    Ok(mask)
}

fn affinity(cpus: &CpuSet, errno: rustix::io::Errno) -> KvmError {
    KvmError::Affinity {
        cpus: cpus.clone(),
        source: errno.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> Vec<u32> {
        let mask = sched_getaffinity(None).unwrap();
        let all = 0..thread::CpuSet::MAX_CPU as u32;
        all.filter(|&cpu| mask.is_set(cpu as usize)).collect()
    }

    #[test]
    fn an_affinity_is_inherited_and_ends() {
        let before = allowed();
        let last = *before.last().unwrap();
        let guard = AffinityGuard::to(&CpuSet::from_iter([last])).unwrap();
        assert_eq!(allowed(), [last]);
        assert_eq!(std::thread::spawn(allowed).join().unwrap(), [last]);
        drop(guard);
        assert_eq!(allowed(), before);
    }

    #[test]
    fn cpus_that_are_not_there_are_named() {
        for cpu in [1000, 5000] {
            let error = AffinityGuard::to(&CpuSet::from_iter([cpu])).unwrap_err();
            assert!(
                error.to_string().starts_with(&format!("host CPUs {cpu}: ")),
                "{error}"
            );
        }
        assert!(AffinityGuard::to(&CpuSet::new()).is_err());
    }

    #[test]
    fn a_pin_is_one_cpu_in_real_time_or_says_why_not() {
        let cpu = allowed()[0];
        let thread = move || {
            let taken = VcpuPin { cpu, priority: 1 }.apply();
            // SAFETY: no memory is involved.
            (taken, allowed(), unsafe { libc::sched_getscheduler(0) })
        };
        let (taken, cpus, policy) = std::thread::spawn(thread).join().unwrap();
        assert_eq!(cpus, [cpu]);
        match taken {
            Ok(()) => assert_eq!(policy, libc::SCHED_FIFO),
            // This host does not grant it.
            Err(error) => {
                assert!(error.to_string().contains("RLIMIT_RTPRIO"), "{error}");
                assert_eq!(policy, libc::SCHED_OTHER);
            }
        }
        // The kernel does not refuse a priority for lack of privileges.
        let refused = std::thread::spawn(move || VcpuPin { cpu, priority: 0 }.apply());
        let error = refused.join().unwrap().unwrap_err();
        assert!(error.to_string().contains("SCHED_FIFO"), "{error}");
    }
}
