//! Names of the virtio ports that machines have.

/// Name of the virtio port that carries frames.
pub const PORT_NAME: &str = "ktstr";

/// Name of the virtio port of the terminal, which is `hvc0` in the guest; only machines with a
/// [terminal](crate::MachineSpec::terminal) have it.
pub const TERMINAL_NAME: &str = "ktstr-terminal";
