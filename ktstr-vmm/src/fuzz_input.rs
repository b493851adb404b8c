//! What fuzz targets are made from: numbers out of any bytes, and an account of what happened.

/// What happened, so that a test can tell that something did.
#[derive(Debug, Default, Clone, Copy)]
pub struct Report {
    /// Things that the guest or the host did.
    pub actions: u64,
    /// Bytes that came out at the host.
    pub to_host: u64,
    /// Times that the driver was running.
    pub running: u64,
    /// Whether it was given up for what it did.
    pub faults: u64,
    /// Times that a port was open at both ends.
    pub reading: u64,
}

/// Takes numbers from bytes; zeros when there are none left.
#[derive(Debug)]
pub(crate) struct Input<'d> {
    rest: &'d [u8],
}

impl<'d> Input<'d> {
    pub(crate) fn new(data: &'d [u8]) -> Self {
        Self { rest: data }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Up to `count` bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> &'d [u8] {
        let (bytes, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        bytes
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or_default()
    }

    pub(crate) fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }
}
