//! The frame, which is the message of the channel, and its wire format.
//!
//! ```text
//!  0      2     3     4         8            12             16
//!  | magic | ver | tag | length  | payload CRC | header CRC   | payload ...
//! ```
//!
//! Numbers are little-endian, CRCs are CRC-32 (IEEE). The header has a CRC of its own, so that a damaged
//! length is detected before the receiver waits for that many bytes.

/// A message between host and guest: a tag and bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The kind of message, which the protocol on top of the channel defines.
    pub tag: u8,
    /// The content, at most [`crate::channel::MAX_PAYLOAD`] bytes.
    pub payload: Vec<u8>,
}

/// The largest payload a frame may carry, in bytes.
pub const MAX_PAYLOAD: usize = 16 << 20;

/// Bytes of a frame before its payload.
pub const HEADER_LEN: usize = 16;

const MAGIC: [u8; 2] = *b"kt";
const VERSION: u8 = 1;

/// A frame that cannot be sent, or bytes that are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The payload is larger than [`crate::channel::MAX_PAYLOAD`]; its size in bytes.
    #[error("channel: a frame of {0} bytes; at most {MAX_PAYLOAD} fit, split the message")]
    TooLarge(usize),
    /// The bytes do not start with a frame header.
    #[error("channel: received data is not a frame; both sides must run the same ktstr version")]
    NotAFrame,
    /// The other side uses another version of the format.
    #[error("channel: frame format {0}, not {VERSION}; rebuild the guest's binary with this ktstr")]
    Version(u8),
    /// The header's checksum does not match.
    #[error("channel: a frame's header is damaged; the guest or its kernel corrupts memory")]
    Header,
    /// The payload's checksum does not match.
    #[error("channel: a frame's payload is damaged; the guest or its kernel corrupts memory")]
    Payload,
}

/// Turns frames into bytes to send.
#[derive(Debug, Default)]
pub struct FrameEncoder {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that were sent; moving the rest for every partial write would cost more.
    sent: usize,
}

impl FrameEncoder {
    /// Creates an encoder with nothing to send.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `frame` to the bytes to send.
    pub fn push(&mut self, frame: &Frame) -> Result<(), FrameError> {
        let header = Header::of(frame)?;
        // Without this, a sender that never catches up would keep everything that it has sent.
        if self.sent > self.buffer.len() / 2 {
            self.buffer.drain(..self.sent);
            self.sent = 0;
        }
        self.buffer.extend_from_slice(&header.encode());
        self.buffer.extend_from_slice(&frame.payload);
        Ok(())
    }

    /// The bytes that are still to be sent, oldest first.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.sent..]
    }

    /// Drops the first `count` bytes, which were sent.
    pub fn consume(&mut self, count: usize) {
        self.sent = (self.sent + count).min(self.buffer.len());
        if self.sent == self.buffer.len() {
            self.buffer.clear();
            self.sent = 0;
        }
    }

    /// Whether nothing is left to send.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

/// The checked content of a header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) tag: u8,
    pub(super) len: usize,
    pub(super) payload_crc: u32,
}

impl Header {
    fn of(frame: &Frame) -> Result<Self, FrameError> {
        let len = frame.payload.len();
        if len > MAX_PAYLOAD {
            return Err(FrameError::TooLarge(len));
        }
        Ok(Self {
            tag: frame.tag,
            len,
            payload_crc: crc32fast::hash(&frame.payload),
        })
    }

    fn encode(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..2].copy_from_slice(&MAGIC);
        bytes[2] = VERSION;
        bytes[3] = self.tag;
        bytes[4..8].copy_from_slice(&(self.len as u32).to_le_bytes());
        bytes[8..12].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..12]);
        bytes[12..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, FrameError> {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        if bytes[..2] != MAGIC {
            return Err(FrameError::NotAFrame);
        }
        if crc32fast::hash(&bytes[..12]) != word(12) {
            return Err(FrameError::Header);
        }
        if bytes[2] != VERSION {
            return Err(FrameError::Version(bytes[2]));
        }
        let len = word(4) as usize;
        if len > MAX_PAYLOAD {
            return Err(FrameError::TooLarge(len));
        }
        Ok(Self {
            tag: bytes[3],
            len,
            payload_crc: word(8),
        })
    }
}
