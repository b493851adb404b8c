//! The tools that the host has, and what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ktstr_core::host::Host;
use ktstr_core::host::files::find_program;
use ktstr_vmm::initramfs::{Initramfs, InitramfsBuilder, Pack};

use super::ShellUse;
use super::tools;
use crate::bounded::{Limits, answer};

/// Where tools lie in the guest; all directories of programs lead there.
const BIN: &str = "/usr/bin";

/// Directories of programs that a user's `PATH` may lack.
const ADMIN: &[&str] = &["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// Busybox lists its programs at once.
const LISTING: Limits = Limits {
    time: Duration::from_secs(5),
    output: 64 << 10,
};

/// The tools that are found.
pub(super) struct Tools<'h> {
    host: &'h Host,
    search: OsString,
    /// Host files by their names in [`BIN`].
    programs: BTreeMap<OsString, PathBuf>,
    /// Names in [`BIN`] of host files.
    places: BTreeMap<PathBuf, OsString>,
    /// Targets of links by their names in [`BIN`].
    links: BTreeMap<OsString, OsString>,
    absent: BTreeSet<String>,
}

impl<'h> Tools<'h> {
    pub(super) fn new(host: &'h Host) -> Self {
        let mut search = host.path.clone();
        for dir in ADMIN {
            let dir = host.root.join(dir.trim_start_matches('/'));
            if !search.is_empty() {
                search.push(":");
            }
            search.push(dir);
        }
        Self {
            host,
            search,
            programs: BTreeMap::new(),
            places: BTreeMap::new(),
            links: BTreeMap::new(),
            absent: BTreeSet::new(),
        }
    }

    fn find(&self, name: &str) -> Option<PathBuf> {
        let found = find_program(&self.search, name)?;
        // Programs of several names are packed once.
        fs::canonicalize(found).ok()
    }

    pub(super) fn add(&mut self, name: &str) {
        match self.find(name) {
            Some(program) => self.add_program(name, program),
            None => {
                self.absent.insert(name.to_owned());
            }
        }
    }

    fn add_program(&mut self, name: &str, program: PathBuf) {
        if let Some(place) = self.places.get(&program) {
            self.links.insert(name.into(), place.clone());
            return;
        }
        // Under the name of the file: others may be links to it.
        let own = program.file_name().unwrap_or(OsStr::new(name));
        let is_free = !self.programs.contains_key(own) && !self.links.contains_key(own);
        let place = if is_free { own.to_owned() } else { name.into() };
        if place != *name {
            self.links.insert(name.into(), place.clone());
        }
        self.links.remove(&place);
        self.places.insert(program.clone(), place.clone());
        self.programs.insert(place, program);
    }

    /// Lets busybox stand in for what is missing, where the host has it.
    pub(super) fn add_by_busybox(&mut self) {
        let Some(busybox) = self.find("busybox").filter(|_| !self.absent.is_empty()) else {
            return;
        };
        let mut list = self.host.command(&busybox);
        let Ok(answer) = answer(list.arg("--list"), LISTING) else {
            return;
        };
        if !answer.status.success() {
            return;
        }
        self.add_program("busybox", busybox);
        for name in String::from_utf8_lossy(&answer.stdout).lines() {
            if self.absent.remove(name) {
                let busybox = self.links.get(OsStr::new("busybox")).cloned();
                let target = busybox.unwrap_or_else(|| "busybox".into());
                self.links.insert(name.into(), target);
            }
        }
    }

    /// What one counts on and does not have.
    pub(super) fn missing(&self, usage: ShellUse<'_>) -> Vec<String> {
        let is_absent = |name: &&&str| self.absent.contains(**name);
        let essential = tools::ESSENTIAL.iter().filter(is_absent);
        let mut missing: Vec<String> = essential.map(|name| (*name).to_owned()).collect();
        if usage == ShellUse::Terminal && tools::EDITORS.iter().all(|it| self.absent.contains(*it))
        {
            missing.push("vi".to_owned());
        }
        let named = tools::LARGE.iter().chain(tools::HUGE);
        let named = named.filter(|name| usage.names(name) && self.absent.contains(**name));
        missing.extend(named.map(|name| (*name).to_owned()));
        missing.sort();
        missing
    }

    pub(super) fn into_root(self) -> InitramfsBuilder {
        let mut root = Initramfs::builder().directory(BIN, 0o755);
        for dir in ["/bin", "/sbin", "/usr/sbin"] {
            root = root.symlink(BIN, dir);
        }
        for dir in ["lib", "lib64"] {
            // Where the host has them as one, so that no library is packed twice.
            let is_one =
                fs::symlink_metadata(self.host.root.join(dir)).is_ok_and(|it| it.is_symlink());
            if is_one {
                root = root.symlink(format!("/usr/{dir}"), format!("/{dir}"));
            }
        }
        for (name, program) in self.programs {
            let place = Path::new(BIN).join(&name);
            // Nothing goes without a shell; another program that cannot be read is not there.
            root = if name == "bash" || name == "sh" || name == "dash" {
                root.executable(program, place, Pack::Loadable)
            } else {
                root.optional_executable(program, place)
            };
        }
        for (name, target) in self.links {
            root = root.symlink(target, Path::new(BIN).join(name));
        }
        root
    }
}
