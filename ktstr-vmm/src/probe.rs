//! Which back ends can run machines on this host.

use std::env::split_paths;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

use ktstr_core::files::is_program;

use crate::error::MachineError;
use crate::machine::Backend;
use crate::qemu::INSTALL;

/// Name of the QEMU that emulates x86-64 machines.
const QEMU: &str = "qemu-system-x86_64";

/// What was found on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// QEMU, where it is installed.
    pub qemu: Option<PathBuf>,
    /// Whether `/dev/kvm` is there.
    pub kvm: KvmAccess,
}

/// Whether the host's KVM can be used by this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvmAccess {
    /// `/dev/kvm` opens. Whether a kernel boots on it is another question: nested KVM may be emulated.
    Opens,
    /// There is no `/dev/kvm`.
    Absent,
    /// It does not open; what the system said.
    Refused(String),
}

impl Probe {
    /// Looks at this host: QEMU in the search path `path`, KVM at `/dev/kvm` below `root` (`/` but in tests).
    pub fn new(path: &OsStr, root: &Path) -> Self {
        Self {
            qemu: split_paths(path)
                .map(|dir| dir.join(QEMU))
                .find(|path| is_program(path)),
            kvm: kvm_access(&root.join("dev/kvm")),
        }
    }

    /// The back end that runs machines here. This version has one: QEMU.
    pub fn choose(&self) -> Result<Backend, MachineError> {
        match self.qemu {
            Some(_) => Ok(Backend::Qemu),
            None => Err(MachineError::Unavailable(format!(
                "{QEMU}: not found in PATH; run: {INSTALL}"
            ))),
        }
    }
}

fn kvm_access(device: &Path) -> KvmAccess {
    match OpenOptions::new().read(true).write(true).open(device) {
        Ok(_) => KvmAccess::Opens,
        Err(error) if error.kind() == io::ErrorKind::NotFound => KvmAccess::Absent,
        Err(error) => KvmAccess::Refused(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn finds_what_is_there_and_says_what_is_not() {
        let root = tempfile::tempdir().unwrap();
        let bin = root.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let probe = Probe::new(bin.as_os_str(), root.path());
        assert_eq!(probe.kvm, KvmAccess::Absent);
        let error = probe.choose().unwrap_err().to_string();
        assert!(error.contains("qemu-system-x86_64: not found"), "{error}");
        assert!(error.contains(INSTALL), "{error}");

        let qemu = bin.join(QEMU);
        fs::write(&qemu, "").unwrap();
        assert_eq!(Probe::new(bin.as_os_str(), root.path()).qemu, None);
        fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(root.path().join("dev/kvm")).unwrap();
        let probe = Probe::new(bin.as_os_str(), root.path());
        assert_eq!(probe.qemu, Some(qemu));
        assert_eq!(probe.choose().unwrap(), Backend::Qemu);
        assert!(matches!(probe.kvm, KvmAccess::Refused(_)));
    }
}
