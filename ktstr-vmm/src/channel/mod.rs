//! The channel between host and guest: checked frames over one named virtio port.
//!
//! On the host a [`crate::Machine`] speaks for its [`crate::Observer`]; in the guest a [`GuestChannel`] does.

mod decoder;
pub(crate) mod frame;
mod guest;
mod ports;

pub use decoder::FrameDecoder;
pub use frame::{FrameEncoder, HEADER_LEN, MAX_PAYLOAD};
pub use guest::{ChannelError, GuestChannel};
pub use ports::{PORT_NAME, TERMINAL_NAME};
