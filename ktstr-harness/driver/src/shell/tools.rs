//! What a shell finds in its machine.

use ktstr_core::host::Host;
use ktstr_vmm::initramfs::{Initramfs, InitramfsBuilder, Pack};

use crate::programs;

/// What a shell cannot do without.
const TOOLS: &[&str] = &[
    "bash", "cat", "chmod", "dd", "dmesg", "echo", "head", "kill", "ls", "mkdir", "mount", "nproc",
    "ps", "pwd", "rm", "sh", "sleep", "stty", "tail", "uname", "wc", "yes",
];

/// A root directory with a shell and tools of the host.
pub(super) fn root(host: &Host) -> InitramfsBuilder {
    let mut root = Initramfs::builder();
    for tool in TOOLS {
        if let Some(program) = programs::find(tool, &host.path) {
            root = root.executable(program, format!("/bin/{tool}"), Pack::Loadable);
        }
    }
    root
}
