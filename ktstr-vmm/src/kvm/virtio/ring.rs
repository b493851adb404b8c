//! Access to a queue: bounded walks over descriptors of the driver, which is not trusted.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};
use vm_memory::{Address, Bytes, GuestAddress, GuestMemoryError, GuestMemoryMmap};

use super::buffer::Buffer;

/// The guest's memory.
pub(super) type Memory = Arc<GuestMemoryMmap>;

/// Maximum number of chains and descriptors that one turn at a queue handles.
pub(super) const TURN: u32 = 1024;

/// A violation by the driver that makes a queue unusable.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// A ring is broken.
    #[error("the guest's driver broke a queue: {0}")]
    Queue(#[from] virtio_queue::Error),
    /// A buffer is not in RAM.
    #[error("the guest's driver queued a buffer outside of RAM: {0}")]
    Memory(#[from] GuestMemoryError),
    /// A ring is not in RAM.
    #[error("the guest's driver put a queue outside of RAM")]
    Outside,
}

/// A descriptor chain, and how far it was read.
#[derive(Debug)]
pub(super) struct Chain {
    rest: DescriptorChain<Memory>,
    /// The rest of the descriptor that is being read.
    piece: Option<(GuestAddress, u32)>,
}

/// The next chain of a queue.
#[derive(Debug)]
pub(super) enum Next {
    /// A chain.
    Chain(Chain),
    /// The queue is empty; the driver will notify the device.
    Empty,
    /// The turn is over; the queue may have more.
    Later,
}

/// A turn at a queue.
#[derive(Debug)]
pub(super) struct Ring<'r> {
    queue: &'r mut Queue,
    memory: &'r Memory,
    left: u32,
    used: bool,
}

impl<'r> Ring<'r> {
    /// Begins a turn; `None` if the driver does not use the queue.
    pub(super) fn new(queue: &'r mut Queue, memory: &'r Memory) -> Result<Option<Self>, Fault> {
        if !queue.ready() {
            return Ok(None);
        }
        queue.disable_notification(&**memory)?;
        Ok(Some(Self {
            queue,
            memory,
            left: TURN,
            used: false,
        }))
    }

    /// Counts a step of this turn; returns false if the turn is over.
    fn look(&mut self) -> bool {
        let go = self.left > 0;
        self.left = self.left.saturating_sub(1);
        go
    }

    /// Whether there is a chain. If not, the driver will notify the device.
    pub(super) fn available(&mut self) -> Result<bool, Fault> {
        let memory = &**self.memory;
        let there = self.queue.avail_idx(memory, Ordering::Acquire)?.0 != self.queue.next_avail();
        Ok(there || self.queue.enable_notification(memory)?)
    }

    /// Takes the next chain.
    pub(super) fn next(&mut self) -> Result<Next, Fault> {
        while self.look() {
            if let Some(rest) = self.queue.iter(Arc::clone(self.memory))?.next() {
                return Ok(Next::Chain(Chain { rest, piece: None }));
            }
            if !self.queue.enable_notification(&**self.memory)? {
                return Ok(Next::Empty);
            }
        }
        Ok(Next::Later)
    }

    /// Reads from `chain` until `buffer` is full; returns true at the end of the chain. Descriptors for writing are
    /// skipped.
    pub(super) fn read(&mut self, chain: &mut Chain, buffer: &mut Buffer) -> Result<bool, Fault> {
        loop {
            let Some((address, len)) = chain.piece else {
                if !self.look() {
                    return Ok(false);
                }
                match chain.rest.next() {
                    None => return Ok(true),
                    Some(descriptor) if descriptor.is_write_only() || descriptor.len() == 0 => {}
                    Some(descriptor) => chain.piece = Some((descriptor.addr(), descriptor.len())),
                }
                continue;
            };
            let room = buffer.room();
            if room.is_empty() {
                return Ok(false);
            }
            let count = room.len().min(len as usize);
            self.memory.read_slice(&mut room[..count], address)?;
            buffer.fill(count);
            // At most `len`, so it fits.
            let left = len - count as u32;
            chain.piece = match address.checked_add(count as u64) {
                Some(address) if left > 0 => Some((address, left)),
                _ => None,
            };
        }
    }

    /// Writes `bytes` into `chain` as far as it has room; returns how many were written.
    pub(super) fn write(&mut self, chain: &mut Chain, bytes: &[u8]) -> Result<usize, Fault> {
        let mut rest = bytes;
        while !rest.is_empty() && self.look() {
            let Some(descriptor) = chain.rest.next() else {
                break;
            };
            if descriptor.is_write_only() {
                let (now, later) = rest.split_at(rest.len().min(descriptor.len() as usize));
                self.memory.write_slice(now, descriptor.addr())?;
                rest = later;
            }
        }
        Ok(bytes.len() - rest.len())
    }

    /// Returns `chain` to the driver as used, with `written` bytes written.
    pub(super) fn give_back(&mut self, chain: &Chain, written: usize) -> Result<(), Fault> {
        let head = chain.rest.head_index();
        // One write is a buffer or a message, which are both small.
        self.queue.add_used(
            &**self.memory,
            head,
            u32::try_from(written).unwrap_or(u32::MAX),
        )?;
        self.used = true;
        Ok(())
    }

    /// Ends the turn; returns true if the driver wants an interrupt.
    pub(super) fn end(self) -> Result<bool, Fault> {
        Ok(self.used && self.queue.needs_notification(&**self.memory)?)
    }
}
