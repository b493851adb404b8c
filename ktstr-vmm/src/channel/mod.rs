//! The channel between host and guest: checked frames over one named virtio port.

mod decoder;
mod frame;
mod guest;

pub use decoder::FrameDecoder;
pub use frame::{Frame, FrameEncoder, FrameError, HEADER_LEN, MAX_PAYLOAD};
pub use guest::{ChannelError, GuestChannel};

/// Name of the virtio port that carries frames.
pub const PORT_NAME: &str = "ktstr";

/// Name of the virtio port that is the terminal, where a machine has one; the guest's `hvc0`.
pub const TERMINAL_NAME: &str = "ktstr-terminal";
