//! Names of the virtio ports that machines have.

/// Name of the virtio port that carries frames.
pub const PORT_NAME: &str = "ktstr";

/// Name of the virtio port that is the terminal, where a machine has one; the guest's `hvc0`.
pub const TERMINAL_NAME: &str = "ktstr-terminal";
