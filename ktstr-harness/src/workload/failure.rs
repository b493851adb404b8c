//! What the system refuses a worker in the middle of its run.

use rustix::io::Errno;

/// A call that a worker's work needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Call {
    Affinity = 1,
    Nice,
    Policy,
    MemoryPolicy,
    Memory,
    Fork,
    Wait,
    Read,
    Write,
    Attach,
    Lock,
}

impl Call {
    const ALL: [Self; 11] = [
        Self::Affinity,
        Self::Nice,
        Self::Policy,
        Self::MemoryPolicy,
        Self::Memory,
        Self::Fork,
        Self::Wait,
        Self::Read,
        Self::Write,
        Self::Attach,
        Self::Lock,
    ];

    /// The call of this number in shared memory.
    pub(super) fn of(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|call| *call as u32 == number)
    }

    /// Its name in messages.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Affinity => "sched_setaffinity",
            Self::Nice => "setpriority",
            Self::Policy => "sched_setscheduler",
            Self::MemoryPolicy => "set_mempolicy",
            Self::Memory => "mmap",
            Self::Fork => "fork",
            Self::Wait => "waitpid",
            Self::Read => "read",
            Self::Write => "write",
            Self::Attach => "writing cgroup.procs",
            Self::Lock => "futex",
        }
    }
}

/// A call that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) call: Call,
    pub(super) errno: i32,
}

impl Failure {
    /// Makes one of what the call returned.
    pub(super) fn of(call: Call) -> impl FnOnce(Errno) -> Self {
        move |errno| Self {
            call,
            errno: errno.raw_os_error(),
        }
    }

    /// The same from an error of the standard library.
    pub(super) fn from_io(call: Call, error: &std::io::Error) -> Self {
        Self {
            call,
            errno: error.raw_os_error().unwrap_or(libc::EIO),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_have_numbers_of_their_own() {
        for call in Call::ALL {
            assert_eq!(Call::of(call as u32), Some(call));
        }
        assert_eq!((Call::of(0), Call::of(12)), (None, None));
    }
}
