//! Memory of a worker's own, taken and touched without an allocator.
#![allow(unsafe_code)]

use std::ptr::{self, NonNull};

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// Bytes that only this worker uses; all zero, and not backed by pages before they are touched.
#[derive(Debug)]
pub(super) struct Region {
    start: NonNull<u8>,
    len: usize,
}

impl Region {
    pub(super) const PAGE: usize = 4096;

    /// Takes `len` bytes, which must not be 0.
    pub(super) fn new(len: usize) -> Result<Self, Errno> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), len, protection, MapFlags::PRIVATE) }?;
        let start = NonNull::new(start.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self { start, len })
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds 1 to the byte at `offset`, counted round and round, and returns what it then is.
    pub(super) fn touch(&mut self, offset: usize) -> u8 {
        // SAFETY: the offset is within the mapping, which only this value uses. Volatile, as most callers read nothing.
        unsafe {
            let byte = self.start.as_ptr().add(offset % self.len);
            let value = byte.read_volatile().wrapping_add(1);
            byte.write_volatile(value);
            value
        }
    }

    /// Asks for pages of the least size, where the kernel would make large ones.
    pub(super) fn use_small_pages(&self) {
        // SAFETY: exactly the mapping; the advice changes no byte. A kernel without large pages refuses it.
        let _ = unsafe {
            madvise(
                self.start.as_ptr().cast(),
                self.len,
                Advice::LinuxNoHugepage,
            )
        };
    }

    /// Gives all pages back: the next touch of each is a page fault, and finds zero.
    pub(super) fn discard(&mut self) -> Result<(), Errno> {
        // SAFETY: exactly the mapping, whose bytes are plain data that nothing refers to.
        unsafe { madvise(self.start.as_ptr().cast(), self.len, Advice::LinuxDontNeed) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping that `new` made.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok());
    }
}

/// Page faults of this thread so far that needed no input or output.
pub(super) fn minor_faults() -> u64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the kernel writes the structure; zeroed, it is valid all the same.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr());
        usage.assume_init()
    };
    usage.ru_minflt.cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_discarded_is_zero_and_faults_again() {
        const PAGES: usize = 32;
        let mut region = Region::new(PAGES * Region::PAGE).unwrap();
        assert_eq!((region.touch(0), region.touch(region.len())), (1, 2));
        for page in 0..PAGES {
            region.touch(page * Region::PAGE);
        }
        let before = minor_faults();
        region.discard().unwrap();
        assert_eq!(region.touch(0), 1);
        for page in 1..PAGES {
            region.touch(page * Region::PAGE);
        }
        // Fewer where the kernel makes huge pages, but one at least.
        assert!(minor_faults() > before);
    }
}
