//! Control messages of the multiport console: virtio 1.2, section 5.3.6.2.

/// Size of a message without the name, in bytes.
pub(super) const HEADER_LEN: usize = 8;

/// Events of messages: `include/uapi/linux/virtio_console.h`.
pub(super) mod event {
    /// The driver is ready for ports.
    pub(in super::super) const DEVICE_READY: u16 = 0;
    /// The device adds a port.
    pub(in super::super) const PORT_ADD: u16 = 1;
    /// The driver has set up the port, or failed to.
    pub(in super::super) const PORT_READY: u16 = 3;
    /// The port is a console.
    pub(in super::super) const CONSOLE_PORT: u16 = 4;
    /// The other side opened or closed the port.
    pub(in super::super) const PORT_OPEN: u16 = 6;
    /// The name of the port, which follows the message.
    pub(in super::super) const PORT_NAME: u16 = 7;
}

/// A message without the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message {
    /// The port's id.
    pub(super) port: u32,
    /// See [`event`].
    pub(super) event: u16,
    /// For most events a boolean.
    pub(super) value: u16,
}

impl Message {
    /// Parses a message; `None` if it is too short.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let &[p0, p1, p2, p3, e0, e1, v0, v1] = bytes.first_chunk::<HEADER_LEN>()?;
        Some(Self {
            port: u32::from_le_bytes([p0, p1, p2, p3]),
            event: u16::from_le_bytes([e0, e1]),
            value: u16::from_le_bytes([v0, v1]),
        })
    }

    /// The bytes of the message, followed by `name`.
    pub(super) fn encode(self, name: &str) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_LEN + name.len());
        bytes.extend_from_slice(&self.port.to_le_bytes());
        bytes.extend_from_slice(&self.event.to_le_bytes());
        bytes.extend_from_slice(&self.value.to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
        bytes
    }
}
