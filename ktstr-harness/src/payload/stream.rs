//! A stream of a program's output, in bounded memory.

use std::io::{self, PipeReader, Read};

use ktstr_vmm::BoundedLog;

/// Bytes that are kept of the beginning and of the end of each stream.
const KEPT: (usize, usize) = (512 << 10, 512 << 10);

/// A stream of a program's output.
#[derive(Debug)]
pub(super) struct Stream {
    /// `None` once every writer is gone.
    pub(super) pipe: Option<PipeReader>,
    log: BoundedLog,
    pub(super) bytes: u64,
}

impl Stream {
    pub(super) fn new(pipe: PipeReader) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&pipe, true)?;
        Ok(Self {
            pipe: Some(pipe),
            log: BoundedLog::with_limits(KEPT.0, KEPT.1),
            bytes: 0,
        })
    }

    pub(super) fn drain(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16 << 10];
        // Bounded: one that never stops writing must not keep the body from its other work.
        for _ in 0..64 {
            let Some(pipe) = &mut self.pipe else {
                return Ok(());
            };
            match pipe.read(&mut chunk) {
                Ok(0) => self.pipe = None,
                Ok(length) => {
                    self.log.push(&chunk[..length]);
                    self.bytes += length as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What is kept of it.
    pub(super) fn text(&self) -> String {
        let bytes = self.log.clone().into_bytes();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether there was more.
    pub(super) fn is_cut(&self) -> bool {
        self.bytes > (KEPT.0 + KEPT.1) as u64
    }
}
