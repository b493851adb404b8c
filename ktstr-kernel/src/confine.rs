//! Keeping work on some of the host's CPUs.

use std::io;
use std::panic::resume_unwind;
use std::thread;

use ktstr_core::CpuSet;
use rustix::thread::{CpuSet as Mask, sched_setaffinity};

use crate::error::Error;

/// Does `work` on `cpus`, with every thread and process that it starts; anywhere where there are none.
///
/// What is started inherits the affinity of the thread that starts it, so that work with CPUs of its own gets a thread of
/// its own: that of the caller stays as it is.
pub(crate) fn on<T: Send>(
    cpus: Option<&CpuSet>,
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> Result<T, Error> {
    let Some(cpus) = cpus else {
        return work();
    };
    thread::scope(|scope| {
        let confined = scope.spawn(|| {
            let set = sched_setaffinity(None, &mask(cpus));
            set.map_err(|errno| Error::Cpus {
                cpus: cpus.clone(),
                source: io::Error::from(errno),
            })?;
            work()
        });
        confined.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

fn mask(cpus: &CpuSet) -> Mask {
    let mut mask = Mask::new();
    for cpu in cpus.iter().map(|cpu| cpu as usize) {
        // The system knows no others.
        if cpu < Mask::MAX_CPU {
            mask.set(cpu);
        }
    }
    mask
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    /// Which CPUs the thread may use whose status that is.
    fn allowed(status: &str) -> CpuSet {
        let list = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        list.unwrap().trim().parse().unwrap()
    }

    fn ours() -> CpuSet {
        allowed(&fs::read_to_string("/proc/thread-self/status").unwrap())
    }

    #[test]
    fn what_is_started_stays_on_its_cpus_and_the_caller_where_it_was() {
        let before = ours();
        let one: CpuSet = before.iter().take(1).collect();
        let (thread, process) = on(Some(&one), || {
            let inner = thread::scope(|scope| scope.spawn(ours).join().unwrap());
            let output = Command::new("cat").arg("/proc/self/status").output();
            let status = String::from_utf8(output.unwrap().stdout).unwrap();
            Ok((inner, allowed(&status)))
        })
        .unwrap();
        assert_eq!((thread, process), (one.clone(), one));
        assert_eq!(ours(), before);
        assert_eq!(on(None, || Ok(ours())).unwrap(), before);
        let none = on(Some(&CpuSet::new()), || Ok(())).unwrap_err();
        assert!(none.to_string().contains("host CPUs"), "{none}");
    }
}
