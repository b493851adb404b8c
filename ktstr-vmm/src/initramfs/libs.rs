//! Reads the files of a description, and finds the libraries that they need.
//!
//! Libraries keep their paths, so that the loader finds them in the guest as on the host: by the path in the
//! executable, by the loader's cache, which is packed as well, or in its standard directories.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::elf::{self, Needs};
use super::entry::{Entry, Pack, normalize};
use super::error::InitramfsError;
use super::ldcache;

/// The default directories of loaders: Debian's and the common ones.
const STANDARD: &[&str] = &[
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];

/// The contents of the archive, and the files that were read for it.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    /// Indexed by guest path.
    pub(super) entries: BTreeMap<PathBuf, Packed>,
    /// Host files on which the result depends.
    pub(super) inputs: Vec<PathBuf>,
}

/// An archive entry with its content.
#[derive(Debug)]
pub(super) enum Packed {
    Directory { mode: u32 },
    Symlink { target: PathBuf },
    CharDevice { major: u32, minor: u32, mode: u32 },
    File { content: Vec<u8>, mode: u32 },
}

/// Reads all files that `entries` name, and the libraries of their executables.
pub(super) fn resolve(entries: &BTreeMap<PathBuf, Entry>) -> Result<Resolved, InitramfsError> {
    let mut resolver = Resolver::default();
    for (guest, entry) in entries {
        let packed = match entry {
            Entry::Directory { mode } => Packed::Directory { mode: *mode },
            Entry::Symlink { target } => Packed::Symlink {
                target: target.clone(),
            },
            &Entry::CharDevice { major, minor, mode } => Packed::CharDevice { major, minor, mode },
            Entry::Inline { content, mode } => Packed::File {
                content: content.clone(),
                mode: *mode,
            },
            Entry::File { host, mode } => Packed::File {
                content: resolver.read(host)?,
                mode: *mode,
            },
            Entry::Executable { host, pack } => {
                resolver.executable(host, guest, *pack)?;
                continue;
            }
        };
        resolver.resolved.entries.insert(guest.clone(), packed);
    }
    resolver.libraries()?;
    resolver.parents();
    Ok(resolver.resolved)
}

#[derive(Debug, Default)]
struct Resolver {
    resolved: Resolved,
    /// ELF files whose libraries are not found yet.
    queue: VecDeque<Object>,
    ldcache: Option<HashMap<String, PathBuf>>,
}

/// An ELF file on the host and in the guest.
#[derive(Debug)]
struct Object {
    host: PathBuf,
    guest: PathBuf,
    needs: Needs,
    /// The `DT_RPATH` of the files that need it, which it inherits.
    inherited: Vec<SearchDir>,
}

/// A directory in which the loader searches, on the host and in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SearchDir {
    host: PathBuf,
    guest: PathBuf,
}

impl Resolver {
    fn read(&mut self, host: &Path) -> Result<Vec<u8>, InitramfsError> {
        let read_error = |source| InitramfsError::Read {
            path: host.to_owned(),
            source,
        };
        let metadata = fs::metadata(host).map_err(read_error)?;
        if !metadata.is_file() {
            let path = host.to_owned();
            return Err(InitramfsError::NotAFile { path });
        }
        if metadata.len() > u64::from(u32::MAX) {
            let (path, size) = (host.to_owned(), metadata.len());
            return Err(InitramfsError::TooLarge { path, size });
        }
        let content = fs::read(host).map_err(read_error)?;
        self.resolved.inputs.push(host.to_owned());
        Ok(content)
    }

    fn executable(&mut self, host: &Path, guest: &Path, pack: Pack) -> Result<(), InitramfsError> {
        let content = self.read(host)?;
        self.object(host, guest, content, pack, Vec::new())
    }

    /// Packs an executable or library and queues what it needs.
    fn object(
        &mut self,
        host: &Path,
        guest: &Path,
        mut content: Vec<u8>,
        pack: Pack,
        inherited: Vec<SearchDir>,
    ) -> Result<(), InitramfsError> {
        if elf::is_elf(&content) {
            let needs = elf::needs(host, &content)?;
            if pack == Pack::Loadable {
                elf::keep_loadable(&mut content, needs.loadable);
            }
            self.queue.push_back(Object {
                host: host.to_owned(),
                guest: guest.to_owned(),
                needs,
                inherited,
            });
        }
        let packed = Packed::File {
            content,
            mode: 0o755,
        };
        self.resolved.entries.insert(guest.to_owned(), packed);
        Ok(())
    }

    fn libraries(&mut self) -> Result<(), InitramfsError> {
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
                self.library(interpreter, interpreter, &rpath)
                    .map_err(|error| missing(error, interpreter, &object.host))?;
            }
            for library in &object.needs.libraries {
                let found = self
                    .find(library, &object, rpath.iter().chain(&runpath))
                    .ok_or_else(|| InitramfsError::MissingLibrary {
                        library: library.clone(),
                        needed_by: object.host.clone(),
                    })?;
                self.library(&found.host, &found.guest, &rpath)?;
            }
        }
        Ok(())
    }

    fn library(
        &mut self,
        host: &Path,
        guest: &Path,
        rpath: &[SearchDir],
    ) -> Result<(), InitramfsError> {
        let guest = normalize(guest);
        if self.resolved.entries.contains_key(&guest) {
            return Ok(());
        }
        let content = self.read(host)?;
        self.object(host, &guest, content, Pack::Loadable, rpath.to_vec())
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
            let cache = fs::read(ldcache::PATH).unwrap_or_default();
            self.ldcache = Some(ldcache::parse(&cache));
            self.resolved.inputs.push(PathBuf::from(ldcache::PATH));
            if !cache.is_empty() {
                let packed = Packed::File {
                    content: cache,
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

    /// Adds the missing parent directories of entries.
    fn parents(&mut self) {
        let paths: Vec<PathBuf> = self.resolved.entries.keys().cloned().collect();
        for path in paths {
            for parent in path.ancestors().skip(1) {
                if parent != Path::new("/") {
                    self.resolved
                        .entries
                        .entry(parent.to_owned())
                        .or_insert(Packed::Directory { mode: 0o755 });
                }
            }
        }
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
        io::Read::read_exact(&mut fs::File::open(path)?, &mut head)?;
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
