//! Finds what the loader would load for an executable.
//!
//! Libraries keep their paths, so that the loader finds them in the guest as on the host: by the path in the
//! executable, by the loader's cache, which is packed as well, or in its standard directories.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Kind, Packed, Resolver};
use crate::initramfs::content::{Content, Input};
use crate::initramfs::elf::{self, Needs};
use crate::initramfs::entry::{Pack, normalize};
use crate::initramfs::error::InitramfsError;
use crate::initramfs::ldcache;

/// The default directories of loaders: Debian's and the common ones.
const STANDARD: &[&str] = &[
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];

/// An ELF file on the host and in the guest.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) host: PathBuf,
    pub(super) guest: PathBuf,
    pub(super) needs: Needs,
    pub(super) lenient: bool,
    pub(super) inherited: Vec<SearchDir>,
}

/// A directory in which the loader searches, on the host and in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SearchDir {
    host: PathBuf,
    guest: PathBuf,
}

impl Resolver {
    /// Packs what the queued ELF files need, and what that needs.
    pub(super) fn libraries(&mut self) -> Result<(), InitramfsError> {
        while let Some(object) = self.queue.pop_front() {
            let own = |dirs: &[String]| -> Vec<SearchDir> {
                dirs.iter().map(|dir| object.search_dir(dir)).collect()
            };
            // `DT_RPATH` only counts without `DT_RUNPATH`, and also for the libraries below.
            let mut rpath = object.inherited.clone();
            if object.needs.runpath.is_empty() {
                rpath.splice(0..0, own(&object.needs.rpath));
            }
            let runpath = own(&object.needs.runpath);
            if let Some(interpreter) = &object.needs.interpreter {
                match self.library(interpreter, interpreter, &rpath) {
                    Err(_) if object.lenient => {}
                    other => {
                        other.map_err(|error| missing(error, interpreter, &object.host))?;
                    }
                }
            }
            for library in &object.needs.libraries {
                match self.find(library, &object, rpath.iter().chain(&runpath)) {
                    Some(found) => self.library(&found.host, &found.guest, &rpath)?,
                    None if object.lenient => {}
                    None => {
                        return Err(InitramfsError::MissingLibrary {
                            library: library.clone(),
                            needed_by: object.host.clone(),
                        });
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn library(
        &mut self,
        host: &Path,
        guest: &Path,
        rpath: &[SearchDir],
    ) -> Result<(), InitramfsError> {
        let guest = self.place(guest);
        if self.resolved.entries.contains_key(&guest) {
            return Ok(());
        }
        let opened = self.open(host)?;
        let kind = Kind {
            inherited: rpath.to_vec(),
            ..Kind::new(Pack::Loadable, false)
        };
        self.object(opened, &guest, kind)
    }

    /// The file that the loader would load for `name`.
    fn find<'d>(
        &mut self,
        name: &str,
        object: &Object,
        dirs: impl Iterator<Item = &'d SearchDir>,
    ) -> Option<SearchDir> {
        if name.contains('/') {
            let place = object.search_dir(name);
            return is_library(&place.host).then_some(place);
        }
        let at = |dir: &SearchDir| SearchDir {
            host: dir.host.join(name),
            guest: dir.guest.join(name),
        };
        let here = |path: PathBuf| SearchDir {
            host: path.clone(),
            guest: path,
        };
        if let Some(place) = dirs.map(at).find(|place| is_library(&place.host)) {
            return Some(place);
        }
        let standard = |dir: &&str| Path::new(dir).join(name);
        if let Some(path) = self.cached(name).filter(|path| is_library(path)) {
            return Some(here(path));
        }
        let path = STANDARD
            .iter()
            .map(standard)
            .find(|path| is_library(path))?;
        Some(here(path))
    }

    /// Looks up `name` in the loader's cache. The cache is then packed as well, as the guest's loader needs it too.
    fn cached(&mut self, name: &str) -> Option<PathBuf> {
        if self.ldcache.is_none() {
            // Before it is read: a change after that is seen next time.
            let of_cache = Input::of(Path::new(ldcache::PATH));
            let cache = fs::read(ldcache::PATH).unwrap_or_default();
            self.ldcache = Some(ldcache::parse(&cache));
            self.resolved.inputs.push(of_cache);
            if !cache.is_empty() {
                let packed = Packed::File {
                    content: Content::Inline(cache),
                    mode: 0o644,
                };
                self.resolved
                    .entries
                    .entry(PathBuf::from(ldcache::PATH))
                    .or_insert(packed);
            }
        }
        self.ldcache.as_ref()?.get(name).cloned()
    }
}

impl Object {
    /// Expands `$ORIGIN` in a search path: the directory of the file on the host, and that in the guest.
    fn search_dir(&self, dir: &str) -> SearchDir {
        let expand = |file: &Path| {
            let origin = file.parent().unwrap_or(Path::new("/")).to_string_lossy();
            PathBuf::from(
                dir.replace("${ORIGIN}", &origin)
                    .replace("$ORIGIN", &origin),
            )
        };
        SearchDir {
            host: expand(&absolute(&self.host)),
            guest: normalize(&expand(&self.guest)),
        }
    }
}

fn absolute(path: &Path) -> PathBuf {
    // The loader resolves symbolic links for $ORIGIN.
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Whether the loader would load this file; it skips those of other architectures.
fn is_library(path: &Path) -> bool {
    const MACHINE: usize = 18;
    let read = || -> io::Result<bool> {
        let mut head = [0; 20];
        File::open(path)?.read_exact(&mut head)?;
        Ok(elf::is_elf(&head)
            && head[4] == 2
            && u16::from_le_bytes([head[MACHINE], head[MACHINE + 1]]) == ::elf::abi::EM_X86_64)
    };
    read().unwrap_or(false)
}

/// Reports a missing interpreter like a missing library.
fn missing(error: InitramfsError, interpreter: &Path, needed_by: &Path) -> InitramfsError {
    match error {
        InitramfsError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            InitramfsError::MissingLibrary {
                library: interpreter.display().to_string(),
                needed_by: needed_by.to_owned(),
            }
        }
        other => other,
    }
}
