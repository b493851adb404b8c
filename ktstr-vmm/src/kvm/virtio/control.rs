//! Control messages of a console with many ports: virtio 1.2, section 5.3.6.2.

/// Bytes of a message before its name.
pub(super) const HEADER_LEN: usize = 8;

/// What a message is about: `include/uapi/linux/virtio_console.h`.
pub(super) mod event {
    /// The driver is ready for ports.
    pub(in super::super) const DEVICE_READY: u16 = 0;
    /// There is a port.
    pub(in super::super) const PORT_ADD: u16 = 1;
    /// The driver has set the port up, or could not.
    pub(in super::super) const PORT_READY: u16 = 3;
    /// The port is a console.
    pub(in super::super) const CONSOLE_PORT: u16 = 4;
    /// The other side opened or closed the port.
    pub(in super::super) const PORT_OPEN: u16 = 6;
    /// The port has a name, which follows.
    pub(in super::super) const PORT_NAME: u16 = 7;
}

/// A message; the name is apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message {
    /// Which port.
    pub(super) port: u32,
    /// See [`event`].
    pub(super) event: u16,
    /// Mostly yes or no.
    pub(super) value: u16,
}

impl Message {
    /// Reads a message; `None` when it is too short to be one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let &[p0, p1, p2, p3, e0, e1, v0, v1] = bytes.first_chunk::<HEADER_LEN>()?;
        Some(Self {
            port: u32::from_le_bytes([p0, p1, p2, p3]),
            event: u16::from_le_bytes([e0, e1]),
            value: u16::from_le_bytes([v0, v1]),
        })
    }

    /// The message's bytes, then `name`.
    pub(super) fn encode(self, name: &str) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_LEN + name.len());
        bytes.extend_from_slice(&self.port.to_le_bytes());
        bytes.extend_from_slice(&self.event.to_le_bytes());
        bytes.extend_from_slice(&self.value.to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
        bytes
    }
}
