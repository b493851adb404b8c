//! [`WorkType::PageFaults`](crate::workload::WorkType::PageFaults).
//!
//! Presses on time in the kernel that no slice accounts for: `do_anonymous_page`, the zeroing of pages, charges to the
//! memory controller, the zone's locks; threads of one process also contend for `mmap_lock`, whose waiters sleep. Measures
//! iterations, and the page faults that the kernel counted.

use std::ops::RangeInclusive;

use crate::workload::failure::{Call, Failure};
use crate::workload::region::{Region, minor_faults};
use crate::workload::slot::Recorder;

pub(super) const PAGES: RangeInclusive<u32> = 1..=16_384;

pub(super) fn run(recorder: &mut Recorder<'_>, pages: u32) -> Result<(), Failure> {
    let pages = pages as usize;
    let mut region = Region::new(pages * Region::PAGE).map_err(Failure::of(Call::Memory))?;
    region.use_small_pages();
    let mut counted = minor_faults();
    loop {
        for page in 0..pages {
            region.touch(page * Region::PAGE);
        }
        region.discard().map_err(Failure::of(Call::Memory))?;
        let now = minor_faults();
        recorder.add(0, now.saturating_sub(counted));
        counted = now;
        if !recorder.iteration(1) {
            return Ok(());
        }
    }
}
