//! Which backends work on this host, and which one to use.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

use ktstr_core::host::Host;
use ktstr_core::host::files::find_program;

use crate::backend::{Backend, BackendConfig, KvmAccess, KvmConfig, QEMU, QemuConfig};
use crate::error::MachineError;
use crate::kvm;

/// What was found on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// QEMU, where it is installed.
    pub qemu: Option<PathBuf>,
    /// The device file of KVM.
    pub kvm_device: PathBuf,
    /// Whether KVM works.
    pub kvm: KvmAccess,
}

/// The backend that machines run on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendSelection {
    /// The backend, with the options that make it work on this host.
    pub config: BackendConfig,
    /// Why it is not KVM, in one line, where nobody asked for another one.
    pub why: Option<String>,
}

impl BackendSelection {
    /// Selects the backend to run machines on: `wanted`, or else KVM where it works and QEMU where it does not.
    ///
    /// Looks at `host` as [`Probe::new`] does; KVM is not tried when it is not wanted.
    pub fn detect(host: &Host, wanted: Option<Backend>) -> Result<Self, MachineError> {
        let probe = match wanted {
            Some(Backend::Qemu) => Probe {
                qemu: find_qemu(host),
                kvm_device: KvmConfig::default().device,
                kvm: KvmAccess::Absent,
            },
            Some(Backend::Kvm) | None => Probe::new(host),
        };
        probe.select(wanted)
    }

    /// The selection of a caller who has tried `backend` on this host already, such as a session for all of its tests.
    /// Nothing is tried again; what fails after all is reported by the machine.
    pub fn tried(host: &Host, backend: Backend) -> Self {
        let config = match (backend, find_qemu(host)) {
            (Backend::Qemu, Some(program)) => BackendConfig::Qemu(QemuConfig::new(program)),
            (Backend::Qemu | Backend::Kvm, _) => backend.into(),
        };
        Self { config, why: None }
    }

    /// The selected backend.
    pub fn backend(&self) -> Backend {
        self.config.backend()
    }

    /// One line that explains a selection that nobody asked for.
    pub fn note(&self) -> Option<String> {
        let why = self.why.as_ref()?;
        Some(format!("machines run on {}: {why}", self.backend()))
    }
}

impl Probe {
    /// Looks at `host`: QEMU in its search path, KVM at `dev/kvm` below its root.
    ///
    /// KVM is tried with a guest of a few instructions, which takes some milliseconds.
    pub fn new(host: &Host) -> Self {
        let kvm_device = host.root.join("dev/kvm");
        Self {
            qemu: find_qemu(host),
            kvm: kvm_access(&kvm_device),
            kvm_device,
        }
    }

    /// Selects the backend to run machines on: `wanted`, or else KVM where it works and QEMU where it does not.
    pub fn select(&self, wanted: Option<Backend>) -> Result<BackendSelection, MachineError> {
        let kvm = || {
            BackendConfig::Kvm(KvmConfig {
                device: self.kvm_device.clone(),
            })
        };
        let qemu = |program: &PathBuf| BackendConfig::Qemu(QemuConfig::new(program));
        let (config, why) = match (wanted, &self.kvm, &self.qemu) {
            (Some(Backend::Kvm) | None, KvmAccess::Works, _) => (kvm(), None),
            (Some(Backend::Kvm), access, _) => {
                return Err(MachineError::KvmUnavailable(access.clone()));
            }
            (Some(Backend::Qemu), _, Some(program)) => (qemu(program), None),
            (None, access, Some(program)) => (qemu(program), Some(access.to_string())),
            (Some(Backend::Qemu), _, None) => {
                return Err(MachineError::QemuNotFound {
                    program: PathBuf::from(QEMU),
                });
            }
            (None, access, None) => {
                return Err(MachineError::NoBackend {
                    kvm: access.clone(),
                });
            }
        };
        Ok(BackendSelection { config, why })
    }
}

/// Finds QEMU in the search path of `host`.
pub fn find_qemu(host: &Host) -> Option<PathBuf> {
    find_program(&host.path, QEMU)
}

fn kvm_access(device: &Path) -> KvmAccess {
    match OpenOptions::new().read(true).write(true).open(device) {
        Ok(_) => match kvm::trial::run(device) {
            Ok(()) => KvmAccess::Works,
            Err(why) => KvmAccess::Broken(why),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => KvmAccess::Absent,
        Err(error) => KvmAccess::Refused(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::backend::QEMU_INSTALL;

    #[test]
    fn finds_what_is_there_and_says_what_is_not() {
        let root = tempfile::tempdir().unwrap();
        let bin = root.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let host = Host {
            root: root.path().into(),
            path: bin.clone().into(),
            ..Host::default()
        };
        let probe = Probe::new(&host);
        assert_eq!(probe.kvm, KvmAccess::Absent);
        let error = probe.select(None).unwrap_err().to_string();
        assert!(error.contains("qemu-system-x86_64: not found"), "{error}");
        assert!(error.contains(QEMU_INSTALL), "{error}");

        let qemu = bin.join(QEMU);
        fs::write(&qemu, "").unwrap();
        assert_eq!(Probe::new(&host).qemu, None);
        fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(root.path().join("dev/kvm")).unwrap();
        let probe = Probe::new(&host);
        assert_eq!(probe.qemu, Some(qemu));
        assert!(matches!(probe.kvm, KvmAccess::Refused(_)));
    }

    #[test]
    fn kvm_comes_first_and_what_is_asked_for_is_taken_or_refused() {
        let probe = |kvm| Probe {
            qemu: Some("/bin/qemu".into()),
            kvm_device: "/dev/kvm".into(),
            kvm,
        };
        let works = probe(KvmAccess::Works);
        let broken = probe(KvmAccess::Broken("at cmpxchg16b".to_owned()));
        let selected = |probe: &Probe, wanted| probe.select(wanted).unwrap();
        assert_eq!(selected(&works, None).backend(), Backend::Kvm);
        assert_eq!(selected(&works, None).why, None);
        assert_eq!(
            selected(&works, Some(Backend::Qemu)).backend(),
            Backend::Qemu
        );
        let selection = selected(&broken, None);
        assert_eq!(selection.backend(), Backend::Qemu);
        assert!(selection.why.unwrap().contains("cmpxchg16b"));
        assert_eq!(selected(&broken, Some(Backend::Qemu)).why, None);
        let error = broken.select(Some(Backend::Kvm)).unwrap_err().to_string();
        assert!(
            error.contains("cmpxchg16b") && error.contains("qemu"),
            "{error}"
        );
        let neither = Probe {
            qemu: None,
            ..broken
        };
        assert!(neither.select(Some(Backend::Qemu)).is_err());
    }

    #[test]
    fn what_was_tried_is_not_tried_again() {
        // Nothing in that path, and no look at /dev/kvm: either works for whoever tried it.
        let host = Host {
            path: "/nonexistent".into(),
            ..Host::default()
        };
        for backend in [Backend::Kvm, Backend::Qemu] {
            let selection = BackendSelection::tried(&host, backend);
            assert_eq!((selection.backend(), selection.why), (backend, None));
        }
        let error = MachineError::QemuNotFound {
            program: QemuConfig::default().program,
        };
        assert!(error.to_string().contains(QEMU_INSTALL), "{error}");
    }

    #[test]
    fn a_device_that_is_no_kvm_is_told() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("dev")).unwrap();
        fs::write(root.path().join("dev/kvm"), "").unwrap();
        let probe = Probe::new(&Host {
            root: root.path().into(),
            ..Host::default()
        });
        assert!(matches!(&probe.kvm, KvmAccess::Broken(_)), "{probe:?}");
    }
}
