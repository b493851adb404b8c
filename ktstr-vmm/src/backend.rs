//! Backends by name, and the options of each.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::MachineError;
use crate::spec::MachineSpec;

/// What runs a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Backend {
    /// ktstr's own microVM on the host's KVM.
    Kvm,
    /// QEMU, which emulates the CPUs in software.
    Qemu,
}

impl Backend {
    /// The name in commands, settings and results: `kvm` or `qemu`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Qemu => "qemu",
        }
    }

    /// The CPU model that guests see, where the backend decides it; on KVM, guests see the host's.
    pub const fn cpu_model(self) -> Option<&'static str> {
        match self {
            Self::Kvm => None,
            Self::Qemu => Some(crate::qemu::CPU_MODEL),
        }
    }

    /// Whether its machines have what `spec` asks for, whatever this host has: [`MachineError::QemuOnly`] if not.
    pub fn check_features(self, spec: &MachineSpec) -> Result<(), MachineError> {
        let qemu_only = [
            (spec.gdb.is_some(), "a debugger (gdb)"),
            (
                !spec.shared_directories.is_empty(),
                "a directory shared with the host",
            ),
        ];
        let wanted = qemu_only.into_iter().find(|(wanted, _)| *wanted);
        match (self, wanted) {
            (Self::Kvm, Some((_, what))) => Err(MachineError::QemuOnly {
                what,
                backend: self,
            }),
            (Self::Kvm, None) | (Self::Qemu, _) => Ok(()),
        }
    }
}

/// A name that no backend has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown backend `{0}`: use kvm or qemu")]
pub struct ParseBackendError(String);

impl FromStr for Backend {
    type Err = ParseBackendError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "kvm" => Ok(Self::Kvm),
            "qemu" => Ok(Self::Qemu),
            _ => Err(ParseBackendError(text.to_owned())),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A backend with its options.
///
/// A [`Backend`] converts into one with the defaults:
///
/// ```
/// use ktstr_vmm::{Backend, BackendConfig, QemuConfig};
///
/// let qemu = BackendConfig::from(Backend::Qemu);
/// assert_eq!(qemu, BackendConfig::Qemu(QemuConfig::default()));
/// assert_eq!(qemu.backend(), Backend::Qemu);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendConfig {
    /// See [`Backend::Kvm`].
    Kvm(KvmConfig),
    /// See [`Backend::Qemu`].
    Qemu(QemuConfig),
}

impl BackendConfig {
    /// Which backend this configures.
    pub const fn backend(&self) -> Backend {
        match self {
            Self::Kvm(_) => Backend::Kvm,
            Self::Qemu(_) => Backend::Qemu,
        }
    }
}

impl From<Backend> for BackendConfig {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::Kvm => Self::Kvm(KvmConfig::default()),
            Backend::Qemu => Self::Qemu(QemuConfig::default()),
        }
    }
}

/// Options of [`Backend::Kvm`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvmConfig {
    /// The device file of KVM; `/dev/kvm` by default.
    pub device: PathBuf,
}

impl Default for KvmConfig {
    fn default() -> Self {
        Self {
            device: PathBuf::from("/dev/kvm"),
        }
    }
}

/// Options of [`Backend::Qemu`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QemuConfig {
    /// The QEMU to start: a path, or a name to be found in the `PATH` of this process (`qemu-system-x86_64` by
    /// default). With an absolute path, such as [`crate::Probe`] finds, its faster firmware is found too.
    pub program: PathBuf,
    /// How emulation uses the host's threads.
    pub emulation: Emulation,
}

impl QemuConfig {
    /// The QEMU at `program`, other options by default.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            emulation: Emulation::default(),
        }
    }
}

impl Default for QemuConfig {
    fn default() -> Self {
        Self::new(QEMU)
    }
}

/// Name of the QEMU that emulates the host's architecture.
pub(crate) const QEMU: &str = "qemu-system-x86_64";

/// The command that installs QEMU.
pub(crate) const QEMU_INSTALL: &str = "apt-get install qemu-system-x86";

/// How emulation uses the host's threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Emulation {
    /// All guest CPUs take turns on one host thread.
    #[default]
    SingleThreaded,
    /// One host thread per guest CPU. It loses races in the kernel's code patching: now and then a kernel panics
    /// through no fault of its own.
    MultiThreaded,
}

/// Whether this process can run Linux on the host's KVM. Its display is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvmAccess {
    /// A trial guest ran.
    Works,
    /// `/dev/kvm` opens, and a trial guest did not run; why, in one line. So it is in VMs whose hypervisor interprets
    /// their guests.
    Broken(String),
    /// There is no `/dev/kvm`.
    Absent,
    /// `/dev/kvm` does not open; what the system said.
    Refused(String),
}

impl fmt::Display for KvmAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Works => f.write_str("/dev/kvm works"),
            Self::Broken(why) => write!(f, "/dev/kvm opens but cannot run Linux ({why})"),
            Self::Absent => f.write_str("there is no /dev/kvm"),
            Self::Refused(why) => write!(f, "/dev/kvm does not open ({why})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use ktstr_core::Topology;

    use super::*;
    use crate::SharedDirectory;

    #[test]
    fn kvm_has_no_shared_directories_and_no_debugger() {
        let plain = MachineSpec::new("/k", Topology::constant(1, 1, 1, 1));
        let mut shared = plain.clone();
        shared.shared_directories.push(SharedDirectory {
            tag: "root".to_owned(),
            path: "/".into(),
        });
        let mut debugged = plain.clone();
        debugged.gdb = Some("/tmp/gdb".into());
        for (spec, refused) in [
            (plain, None),
            (shared, Some("a directory shared with the host")),
            (debugged, Some("a debugger (gdb)")),
        ] {
            assert!(Backend::Qemu.check_features(&spec).is_ok());
            let told = Backend::Kvm.check_features(&spec).err();
            let expected = refused.map(|what| {
                format!("{what} needs the qemu backend, and this machine runs on kvm; choose qemu")
            });
            assert_eq!(told.map(|error| error.to_string()), expected);
        }
    }

    #[test]
    fn backends_are_known_by_their_names() {
        for backend in [Backend::Kvm, Backend::Qemu] {
            assert_eq!(backend.name().parse(), Ok(backend));
            assert_eq!(BackendConfig::from(backend).backend(), backend);
        }
        let error = "xen".parse::<Backend>().unwrap_err().to_string();
        assert_eq!(error, "unknown backend `xen`: use kvm or qemu");
    }
}
