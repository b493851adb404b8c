//! The page tables at the kernel's entry: they map the first GiB one to one, with 2 MiB pages.

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::layout::{PAGE_DIRECTORY, PDPT, PML4};
use crate::error::KvmError;

// Bits of page table entries (Intel SDM, volume 3, 4.5).
const PRESENT_WRITABLE: u64 = 0b11;
const LARGE_PAGE: u64 = 1 << 7;

/// Writes them into `memory`.
pub(super) fn write(memory: &GuestMemoryMmap) -> Result<(), KvmError> {
    let pages = (0..512_u64).map(|page| page << 21);
    let entries = pages.map(|address| address | PRESENT_WRITABLE | LARGE_PAGE);
    let tables = [
        (PML4, vec![PDPT | PRESENT_WRITABLE]),
        (PDPT, vec![PAGE_DIRECTORY | PRESENT_WRITABLE]),
        (PAGE_DIRECTORY, entries.collect()),
    ];
    for (at, entries) in tables {
        let bytes: Vec<u8> = entries.into_iter().flat_map(u64::to_le_bytes).collect();
        memory
            .write_slice(&bytes, GuestAddress(at))
            .map_err(KvmError::memory)?;
    }
    Ok(())
}
