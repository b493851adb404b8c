//! Which back ends can run machines on this host.

use std::env::split_paths;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

use ktstr_core::host::files::is_program;

use crate::error::MachineError;
use crate::kvm;
use crate::machine::Backend;
use crate::qemu::INSTALL;

/// Name of the QEMU that emulates x86-64 machines.
const QEMU: &str = "qemu-system-x86_64";

/// What was found on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// QEMU, where it is installed.
    pub qemu: Option<PathBuf>,
    /// What became of trying KVM.
    pub kvm: KvmAccess,
}

/// Whether this process can run Linux on the host's KVM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvmAccess {
    /// A trial guest ran.
    Works,
    /// `/dev/kvm` opens, and a trial guest did not run; why. So it is in VMs whose hypervisor interprets their guests.
    Broken(String),
    /// There is no `/dev/kvm`.
    Absent,
    /// It does not open; what the system said.
    Refused(String),
}

/// The back end that machines run on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The back end.
    pub backend: Backend,
    /// QEMU, where it is installed.
    pub qemu: Option<PathBuf>,
    /// Why it is not KVM, in one line, where nobody asked for another one.
    pub why: Option<String>,
}

impl Choice {
    /// The back end to run machines on: `wanted`, or else KVM where it works and QEMU where it does not.
    ///
    /// Looks at this host as [`Probe::new`] does; KVM is not tried where it is not wanted.
    pub fn make(path: &OsStr, root: &Path, wanted: Option<Backend>) -> Result<Self, MachineError> {
        let probe = match wanted {
            Some(Backend::Qemu) => Probe {
                qemu: find_qemu(path),
                kvm: KvmAccess::Absent,
            },
            Some(Backend::Kvm) | None => Probe::new(path, root),
        };
        probe.choose(wanted)
    }

    /// The choice of somebody who has tried `backend` on this host already, such as a session for all of its tests. KVM
    /// is not tried again; where it fails after all, the machine says so.
    pub fn tried(path: &OsStr, backend: Backend) -> Result<Self, MachineError> {
        let probe = Probe {
            qemu: find_qemu(path),
            kvm: KvmAccess::Works,
        };
        probe.choose(Some(backend))
    }

    /// One line that tells of a choice that nobody made.
    pub fn note(&self) -> Option<String> {
        let why = self.why.as_ref()?;
        Some(format!("machines run on {}: {why}", self.backend))
    }
}

impl Probe {
    /// Looks at this host: QEMU in the search path `path`, KVM at `/dev/kvm` below `root` (`/` but in tests).
    ///
    /// KVM is tried by a guest of a few instructions, which takes some milliseconds.
    pub fn new(path: &OsStr, root: &Path) -> Self {
        Self {
            qemu: find_qemu(path),
            kvm: kvm_access(&root.join("dev/kvm")),
        }
    }

    /// The back end to run machines on: `wanted`, or else KVM where it works and QEMU where it does not.
    pub fn choose(&self, wanted: Option<Backend>) -> Result<Choice, MachineError> {
        let no_qemu = || format!("{QEMU}: not found in PATH; run: {INSTALL}");
        let (backend, why) = match (wanted, &self.kvm, &self.qemu) {
            (Some(Backend::Kvm) | None, KvmAccess::Works, _) => (Backend::Kvm, None),
            (Some(Backend::Kvm), _, _) => {
                return Err(MachineError::Unavailable(format!(
                    "the kvm back end does not work here: {}; use qemu, or name no back end",
                    self.kvm.why()
                )));
            }
            (Some(Backend::Qemu), _, Some(_)) => (Backend::Qemu, None),
            (None, _, Some(_)) => (Backend::Qemu, Some(self.kvm.why())),
            (Some(Backend::Qemu), _, None) => {
                return Err(MachineError::Unavailable(no_qemu()));
            }
            (None, _, None) => {
                let why = format!("{}, and {}", self.kvm.why(), no_qemu());
                return Err(MachineError::Unavailable(why));
            }
        };
        Ok(Choice {
            backend,
            qemu: self.qemu.clone(),
            why,
        })
    }
}

impl KvmAccess {
    /// One line on it.
    pub fn why(&self) -> String {
        match self {
            Self::Works => "/dev/kvm works".to_owned(),
            Self::Broken(why) => format!("/dev/kvm opens but cannot run Linux ({why})"),
            Self::Absent => "there is no /dev/kvm".to_owned(),
            Self::Refused(why) => format!("/dev/kvm does not open ({why})"),
        }
    }
}

/// QEMU in the search path `path`.
pub fn find_qemu(path: &OsStr) -> Option<PathBuf> {
    let found = split_paths(path).map(|dir| dir.join(QEMU));
    found.into_iter().find(|path| is_program(path))
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

    #[test]
    fn finds_what_is_there_and_says_what_is_not() {
        let root = tempfile::tempdir().unwrap();
        let bin = root.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let probe = Probe::new(bin.as_os_str(), root.path());
        assert_eq!(probe.kvm, KvmAccess::Absent);
        let error = probe.choose(None).unwrap_err().to_string();
        assert!(error.contains("qemu-system-x86_64: not found"), "{error}");
        assert!(error.contains(INSTALL), "{error}");

        let qemu = bin.join(QEMU);
        fs::write(&qemu, "").unwrap();
        assert_eq!(Probe::new(bin.as_os_str(), root.path()).qemu, None);
        fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(root.path().join("dev/kvm")).unwrap();
        let probe = Probe::new(bin.as_os_str(), root.path());
        assert_eq!(probe.qemu, Some(qemu));
        assert!(matches!(probe.kvm, KvmAccess::Refused(_)));
    }

    #[test]
    fn kvm_comes_first_and_what_is_asked_for_is_taken_or_refused() {
        let probe = |kvm| Probe {
            qemu: Some("/bin/qemu".into()),
            kvm,
        };
        let works = probe(KvmAccess::Works);
        let broken = probe(KvmAccess::Broken("at cmpxchg16b".to_owned()));
        let chosen = |probe: &Probe, wanted| probe.choose(wanted).unwrap();
        assert_eq!(chosen(&works, None).backend, Backend::Kvm);
        assert_eq!(chosen(&works, None).why, None);
        assert_eq!(chosen(&works, Some(Backend::Qemu)).backend, Backend::Qemu);
        let choice = chosen(&broken, None);
        assert_eq!(choice.backend, Backend::Qemu);
        assert!(choice.why.unwrap().contains("cmpxchg16b"));
        assert_eq!(chosen(&broken, Some(Backend::Qemu)).why, None);
        let error = broken.choose(Some(Backend::Kvm)).unwrap_err().to_string();
        assert!(
            error.contains("cmpxchg16b") && error.contains("qemu"),
            "{error}"
        );
        let neither = Probe {
            qemu: None,
            ..broken
        };
        assert!(neither.choose(Some(Backend::Qemu)).is_err());
    }

    #[test]
    fn what_was_tried_is_not_tried_again() {
        // No QEMU in that path, and no look at /dev/kvm: it works for whoever tried it.
        let path = OsStr::new("/nonexistent");
        let choice = Choice::tried(path, Backend::Kvm).unwrap();
        assert_eq!((choice.backend, choice.why), (Backend::Kvm, None));
        let error = Choice::tried(path, Backend::Qemu).unwrap_err().to_string();
        assert!(error.contains(INSTALL), "{error}");
    }

    #[test]
    fn a_device_that_is_no_kvm_is_told() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("dev")).unwrap();
        fs::write(root.path().join("dev/kvm"), "").unwrap();
        let probe = Probe::new(OsStr::new(""), root.path());
        assert!(matches!(&probe.kvm, KvmAccess::Broken(_)), "{probe:?}");
    }
}
