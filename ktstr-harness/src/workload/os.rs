//! Shared memory and `fork`: what the standard library does not offer.
#![allow(unsafe_code)]

use std::io;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use rustix::process::Pid;

/// Exit status of a worker whose code panicked, as `main` of a Rust program has it.
pub(super) const EXIT_PANIC: i32 = 101;

/// The scheduling policy of this task.
pub(super) fn policy() -> Option<i32> {
    // SAFETY: plain system call without pointers.
    let policy = unsafe { libc::sched_getscheduler(0) };
    (policy >= 0).then_some(policy & !libc::SCHED_RESET_ON_FORK)
}

/// A type that may live in memory that several processes map.
///
/// # Safety
/// All bytes zero must be a valid value, every field must be an atomic (so that `&T` may be used
/// from several processes at once), and the type must not need `Drop`.
pub(super) unsafe trait Shareable: Sync {}

/// A slice in memory that parent and children share after `fork`; all zero at first.
#[derive(Debug)]
pub(super) struct Shared<T: Shareable> {
    start: NonNull<T>,
    len: usize,
}

impl<T: Shareable> Shared<T> {
    /// Room for `len` values. Pages are only taken from the system when they are first written.
    pub(super) fn new(len: usize) -> io::Result<Self> {
        if len == 0 {
            return Ok(Self {
                start: NonNull::dangling(),
                len,
            });
        }
        let bytes = len
            .checked_mul(size_of::<T>())
            .ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches no memory of
        // ours.
        let start = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                // Most pages are never touched: they must not count against the memory of a small machine.
                MapFlags::SHARED | MapFlags::NORESERVE,
            )
        }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }
}

impl<T: Shareable> Deref for Shared<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `new` mapped `len` values, page-aligned and zero, which `Shareable` makes valid;
        // the mapping lives until `drop`, and all writing goes through atomics.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Shareable> Drop for Shared<T> {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: exactly the mapping that `new` made; no reference into it outlives `self`.
            let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len * size_of::<T>()) };
            debug_assert!(unmapped.is_ok());
        }
    }
}

/// A few pages of a worker's own, which show on which NUMA node the kernel places memory.
#[derive(Debug)]
pub(super) struct WorkingSet {
    start: NonNull<u8>,
    /// Page that is touched next.
    next: usize,
}

impl WorkingSet {
    /// Pages of it.
    pub(super) const PAGES: usize = 16;

    const PAGE: usize = 4096;

    /// Takes the memory and touches all of it.
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: as in `Shared::new`.
        let start = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                Self::PAGES * Self::PAGE,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let mut set = Self { start, next: 0 };
        for _ in 0..Self::PAGES {
            set.touch_next();
        }
        Ok(set)
    }

    /// Writes to one page after the other.
    pub(super) fn touch_next(&mut self) {
        // SAFETY: `next` is below `PAGES`, so this is within the mapping, which only this value uses. Volatile, as
        // nobody reads what is written.
        unsafe {
            let byte = self.start.as_ptr().add(self.next * Self::PAGE);
            byte.write_volatile(byte.read_volatile().wrapping_add(1));
        }
        self.next = (self.next + 1) % Self::PAGES;
    }

    /// NUMA node of each page; `None` where the kernel does not tell.
    pub(super) fn nodes(&self) -> Option<[u32; Self::PAGES]> {
        let mut pages = [ptr::null_mut::<u8>(); Self::PAGES];
        for (index, page) in pages.iter_mut().enumerate() {
            *page = self.start.as_ptr().wrapping_add(index * Self::PAGE);
        }
        let mut nodes = [-1_i32; Self::PAGES];
        // SAFETY: without target nodes the call moves nothing: it reads `count` addresses and writes as many
        // numbers (move_pages(2)).
        let result = unsafe {
            libc::syscall(
                libc::SYS_move_pages,
                0,
                Self::PAGES,
                pages.as_ptr(),
                ptr::null::<i32>(),
                nodes.as_mut_ptr(),
                0,
            )
        };
        // A negative number is an error of that page.
        let known = result == 0 && nodes.iter().all(|node| *node >= 0);
        known.then(|| nodes.map(i32::cast_unsigned))
    }
}

impl Drop for WorkingSet {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping that `new` made.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), Self::PAGES * Self::PAGE) };
        debug_assert!(unmapped.is_ok());
    }
}

/// Starts a process that runs `worker` and exits with the status it returns.
///
/// `worker` must not lock or rely on destructors of the caller's values: the new process has only the calling thread, and
/// it never returns from here. It should not allocate: only C libraries whose allocator works after a fork (glibc, musl
/// from 1.2.2) let it.
pub(super) fn fork(worker: impl FnOnce() -> i32) -> io::Result<Pid> {
    // SAFETY: the child runs only `worker`, whose callers keep to system calls, atomics, its own stack and, for further
    // threads, the allocator of a C library that resets it in the child (see above), and then leaves by `_exit`, so that
    // it is sound even when the parent has more threads.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // A panic must not unwind into the parent's frames, which are mapped here as well.
            let status = catch_unwind(AssertUnwindSafe(worker)).unwrap_or(EXIT_PANIC);
            exit_now(status)
        }
        pid => Pid::from_raw(pid).ok_or_else(|| io::ErrorKind::InvalidData.into()),
    }
}

/// Ends this process with all its threads at once, without running anything of its parent's.
pub(super) fn exit_now(status: i32) -> ! {
    // SAFETY: plain system call that does not return.
    unsafe { libc::_exit(status) }
}

/// Where a thread's memory comes from, as `set_mempolicy(2)` takes it: mode and nodes, of which bit 0 is node 0.
pub(super) fn set_memory_policy(mode: i32, nodes: u64) -> io::Result<()> {
    // The kernel takes one bit less than it is told (`get_nodes` of its mm/mempolicy.c).
    let bits = u64::BITS as usize + 1;
    // SAFETY: the kernel reads one word of nodes before the call returns.
    let result = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, &raw const nodes, bits) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
