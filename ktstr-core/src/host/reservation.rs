//! Host resources that a machine reserves: CPUs, last-level caches, slots for emulation.
//!
//! A machine in performance mode holds the locks of its caches and CPUs exclusively; any other machine shares those of
//! the CPUs that it runs on. A reservation takes all of its locks at once or none, and a waiting process holds none, so
//! that no two processes can deadlock.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cpus::HostCpus;
use super::lock::{Attempt, first_of, make_shared_dir, retry};
use super::lock::{LockError, LockFile, LockMode};
use crate::CpuSet;

/// A host resource that has a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// A last-level cache, by [`crate::host::HostLlc::number`].
    Llc(u32),
    /// A CPU.
    Cpu(u32),
}

/// The resources of a reservation with their modes; they are locked in this order.
pub type Claims = BTreeMap<Resource, LockMode>;

impl Resource {
    /// Its lock file.
    pub fn lock_path(self, lock_dir: &Path) -> PathBuf {
        lock_dir.join(match self {
            Self::Llc(number) => format!("ktstr-llc-{number}.lock"),
            Self::Cpu(cpu) => format!("ktstr-cpu-{cpu}.lock"),
        })
    }
}

/// Host resources reserved for one machine; dropping it releases them.
#[derive(Debug)]
pub struct Reservation {
    _locks: Vec<LockFile>,
}

impl Reservation {
    /// Reserves one of `slots` slots for an emulated machine, and waits for one up to `wait`.
    ///
    /// Single-threaded emulation keeps one host CPU busy. Guest time is host time, so machines that share a CPU would
    /// see stalls that no scheduler caused. With one slot per CPU, parallel tests have the verdicts that they would
    /// have one after another.
    pub fn emulator(lock_dir: &Path, slots: usize, wait: Duration) -> Result<Self, LockError> {
        make_shared_dir(lock_dir)?;
        let paths: Vec<PathBuf> = (0..slots.max(1))
            .map(|slot| lock_dir.join(format!("ktstr-emulator-{slot}.lock")))
            .collect();
        let lock = first_of(
            &paths,
            LockMode::Exclusive,
            wait,
            "every emulator slot of this host",
        )?;
        Ok(Self { _locks: vec![lock] })
    }

    /// Reserves the first of `candidates` whose resources are all free, and waits for one up to `wait`; returns its
    /// index.
    pub fn any_of(
        lock_dir: &Path,
        candidates: &[Claims],
        wait: Duration,
    ) -> Result<(usize, Self), LockError> {
        make_shared_dir(lock_dir)?;
        retry(wait, "every set of host CPUs that would do", || {
            let mut busy = lock_dir.to_owned();
            for (index, claims) in candidates.iter().enumerate() {
                match all_of(lock_dir, claims)? {
                    Ok(locks) => return Ok(Ok((index, Self { _locks: locks }))),
                    Err(path) => busy = path,
                }
            }
            Ok(Err(busy))
        })
    }

    /// Reserves `count` of the CPUs that this process may use, and their caches, in shared mode; waits up to `wait` for
    /// those that are reserved exclusively. Returns the CPUs.
    ///
    /// `start` is the index of the first CPU to try: processes with different values load the host evenly. `count` must
    /// be between 1 and the number of allowed CPUs.
    pub fn shared(
        lock_dir: &Path,
        host: &HostCpus,
        count: usize,
        start: usize,
        wait: Duration,
    ) -> Result<(CpuSet, Self), LockError> {
        make_shared_dir(lock_dir)?;
        let mut cpus: Vec<u32> = host.allowed.iter().collect();
        let begin = start % cpus.len().max(1);
        cpus.rotate_left(begin);
        retry(wait, &format!("{count} CPUs of this host"), || {
            share(lock_dir, host, &cpus, count)
        })
    }
}

fn share(
    lock_dir: &Path,
    host: &HostCpus,
    cpus: &[u32],
    count: usize,
) -> Attempt<(CpuSet, Reservation)> {
    let mut busy = lock_dir.to_owned();
    let mut taken = CpuSet::new();
    let mut locks: BTreeMap<Resource, LockFile> = BTreeMap::new();
    for &cpu in cpus {
        if taken.len() == count {
            break;
        }
        let llc = host.llc_of(cpu).map(|llc| Resource::Llc(llc.number));
        // A cache without a reserved CPU stays locked as well: service CPUs of other machines are on it, so it is not
        // exclusive.
        let wanted = llc.into_iter().chain([Resource::Cpu(cpu)]);
        let mut got = true;
        for resource in wanted
            .filter(|resource| !locks.contains_key(resource))
            .collect::<Vec<_>>()
        {
            let path = resource.lock_path(lock_dir);
            let Some(lock) = LockFile::try_acquire(&path, LockMode::Shared)? else {
                busy = path;
                got = false;
                break;
            };
            locks.insert(resource, lock);
        }
        if got {
            taken.insert(cpu);
        }
    }
    if taken.len() < count {
        return Ok(Err(busy));
    }
    let locks = locks.into_values().collect();
    Ok(Ok((taken, Reservation { _locks: locks })))
}

fn all_of(lock_dir: &Path, claims: &Claims) -> Attempt<Vec<LockFile>> {
    let mut locks = Vec::with_capacity(claims.len());
    for (resource, mode) in claims {
        let path = resource.lock_path(lock_dir);
        match LockFile::try_acquire(&path, *mode)? {
            Some(lock) => locks.push(lock),
            None => return Ok(Err(path)),
        }
    }
    Ok(Ok(locks))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    use super::super::cpus::HostLlc;
    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn exclusive(llcs: &[u32], cpus: &[u32]) -> Claims {
        let llcs = llcs.iter().map(|&llc| Resource::Llc(llc));
        let all = llcs.chain(cpus.iter().map(|&cpu| Resource::Cpu(cpu)));
        all.map(|resource| (resource, LockMode::Exclusive))
            .collect()
    }

    /// Two caches with two CPUs each.
    fn host() -> HostCpus {
        let one = |cpu| CpuSet::from_iter([cpu]);
        HostCpus {
            allowed: (0..4).collect(),
            llcs: vec![
                HostLlc {
                    number: 0,
                    cores: vec![one(0), one(1)],
                },
                HostLlc {
                    number: 1,
                    cores: vec![one(2), one(3)],
                },
            ],
            nodes: BTreeMap::new(),
            caches_known: true,
        }
    }

    #[test]
    fn emulators_take_no_more_than_their_places() {
        let dir = tempfile::tempdir().unwrap();
        let first = Reservation::emulator(dir.path(), 2, NOW).unwrap();
        let _second = Reservation::emulator(dir.path(), 2, NOW).unwrap();
        assert!(Reservation::emulator(dir.path(), 2, NOW).is_err());
        drop(first);
        assert!(Reservation::emulator(dir.path(), 2, NOW).is_ok());
    }

    #[test]
    fn what_is_taken_alone_is_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let candidates = [exclusive(&[0], &[0, 1]), exclusive(&[1], &[2, 3])];
        let (first, held) = Reservation::any_of(dir.path(), &candidates, NOW).unwrap();
        assert_eq!(first, 0);
        assert!(dir.path().join("ktstr-llc-0.lock").exists());
        let (cpus, shared) = Reservation::shared(dir.path(), &host(), 2, 0, NOW).unwrap();
        assert_eq!(cpus, "2-3".parse().unwrap());
        let (again, _more) = Reservation::shared(dir.path(), &host(), 1, 3, NOW).unwrap();
        assert_eq!(again, "3".parse().unwrap());
        let error = Reservation::shared(dir.path(), &host(), 3, 0, NOW).unwrap_err();
        assert!(error.to_string().contains("3 CPUs"), "{error}");
        assert!(error.to_string().contains("ktstr-llc-0.lock"), "{error}");
        let error = Reservation::any_of(dir.path(), &candidates, NOW).unwrap_err();
        assert!(error.to_string().contains("ktstr-llc-1.lock"), "{error}");
        drop(held);
        assert_eq!(
            Reservation::any_of(dir.path(), &candidates, NOW).unwrap().0,
            0
        );
        drop(shared);
    }

    #[test]
    fn a_failed_try_leaves_nothing_locked() {
        let dir = tempfile::tempdir().unwrap();
        let held = exclusive(&[], &[3]);
        let (_, _held) = Reservation::any_of(dir.path(), &[held], NOW).unwrap();
        let all = [exclusive(&[0], &[0, 1, 3])];
        assert!(Reservation::any_of(dir.path(), &all, NOW).is_err());
        assert!(Reservation::shared(dir.path(), &host(), 4, 0, NOW).is_err());
        let rest = [exclusive(&[0, 1], &[0, 1, 2])];
        assert!(Reservation::any_of(dir.path(), &rest, NOW).is_ok());
    }

    /// Reservations that overlap in every order: each gets its turn, and no two have a CPU at the same time.
    #[test]
    fn overlapping_reservations_neither_deadlock_nor_overlap() {
        let dir = tempfile::tempdir().unwrap();
        let owners = [const { AtomicU32::new(0) }; 4];
        thread::scope(|scope| {
            for me in 1..=6_u32 {
                let (dir, owners) = (dir.path(), &owners);
                scope.spawn(move || {
                    for round in 0..5 {
                        let first = (me + round) % 4;
                        let cpus = [first, (first + 1) % 4, (first + 2) % 4];
                        let wait = Duration::from_secs(120);
                        let claims = [exclusive(&[], &cpus)];
                        let (_, held) = Reservation::any_of(dir, &claims, wait).unwrap();
                        for cpu in cpus {
                            assert_eq!(owners[cpu as usize].swap(me, Ordering::SeqCst), 0);
                        }
                        thread::yield_now();
                        for cpu in cpus {
                            assert_eq!(owners[cpu as usize].swap(0, Ordering::SeqCst), me);
                        }
                        drop(held);
                    }
                });
            }
        });
    }
}
