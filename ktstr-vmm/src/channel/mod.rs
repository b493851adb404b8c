//! The channel between host and guest: checksummed frames over one named virtio port.
//!
//! On the host, a [`crate::Machine`] exchanges frames on behalf of its [`crate::Observer`]; in the guest,
//! [`GuestChannel`] does.

mod decoder;
pub(crate) mod frame;
mod guest;
mod ports;

pub use decoder::FrameDecoder;
pub use frame::{FrameEncoder, HEADER_LEN, MAX_PAYLOAD};
pub use guest::{ChannelError, GuestChannel};
pub use ports::{PORT_NAME, TERMINAL_NAME};
