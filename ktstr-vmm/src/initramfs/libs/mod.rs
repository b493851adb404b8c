//! Looks at the files of a description, and finds the libraries and interpreters that they need.

mod loader;
mod resolved;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use ktstr_core::host::files;

use super::content::{Content, HostContent, Input, read_error};
use super::elf;
use super::entry::{Entry, Pack, normalize};
use super::error::InitramfsError;
use super::script::{self, Interpreter};
use super::tree::{TreeEntryKind, walk_tree};
use loader::{Object, SearchDir};
use resolved::Resolved;

pub(super) use resolved::Packed;

/// Where the program that `env` looks for is searched.
const PROGRAMS: &[&str] = &[
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// Most symbolic links on the way to an entry, as in the kernel (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

/// Looks at all files that `entries` name, and finds the libraries of their executables.
pub(super) fn resolve(entries: &BTreeMap<PathBuf, Entry>) -> Result<Resolved, InitramfsError> {
    let mut resolver = Resolver::new(entries);
    for (guest, entry) in entries {
        let guest = resolver.place(guest);
        let packed = match entry {
            Entry::Directory { mode } => Packed::Directory { mode: *mode },
            Entry::Symlink { target } => Packed::Symlink {
                target: target.clone(),
            },
            &Entry::CharDevice { major, minor, mode } => Packed::CharDevice { major, minor, mode },
            Entry::Inline { content, mode } => Packed::File {
                content: Content::Inline(content.clone()),
                mode: *mode,
            },
            Entry::File { host, mode } => Packed::File {
                content: Content::Host(resolver.open(host)?.content()),
                mode: *mode,
            },
            Entry::Executable {
                host,
                pack,
                optional,
            } => {
                match resolver.open(host) {
                    Ok(opened) => {
                        resolver.object(opened, &guest, Kind::new(*pack, *optional))?;
                    }
                    // It is looked for again next time.
                    Err(_) if *optional => resolver.resolved.inputs.push(Input::of(host)),
                    Err(error) => return Err(error),
                }
                continue;
            }
            Entry::Tree { host } => {
                resolver.tree(host, &guest)?;
                continue;
            }
        };
        resolver.resolved.entries.insert(guest, packed);
    }
    resolver.libraries()?;
    resolver.parents();
    Ok(resolver.resolved)
}

#[derive(Debug, Default)]
struct Resolver {
    resolved: Resolved,
    /// The targets of symbolic links by their places.
    links: HashMap<PathBuf, PathBuf>,
    /// ELF files whose libraries are not found yet.
    queue: VecDeque<Object>,
    ldcache: Option<HashMap<String, PathBuf>>,
}

/// A host file that is open.
#[derive(Debug)]
struct Opened {
    file: File,
    size: u64,
    input: Input,
}

impl Opened {
    fn content(self) -> HostContent {
        HostContent {
            input: self.input,
            size: self.size,
            without_sections: false,
        }
    }

    /// Its first bytes.
    fn head(&self) -> Result<Vec<u8>, InitramfsError> {
        let mut head = Vec::with_capacity(script::MAX_LINE);
        let mut start = (&self.file).take(script::MAX_LINE as u64);
        start
            .read_to_end(&mut head)
            .map_err(read_error(&self.input.path))?;
        Ok(head)
    }
}

/// How an executable or library is packed.
#[derive(Debug, Clone)]
struct Kind {
    pack: Pack,
    mode: u32,
    /// Whether what it needs may be missing: it is optional itself, or part of a tree.
    lenient: bool,
    /// The `DT_RPATH` of the files that need it, which it inherits.
    inherited: Vec<SearchDir>,
}

impl Kind {
    fn new(pack: Pack, lenient: bool) -> Self {
        Self {
            pack,
            mode: 0o755,
            lenient,
            inherited: Vec::new(),
        }
    }
}

impl Resolver {
    fn new(entries: &BTreeMap<PathBuf, Entry>) -> Self {
        let links = entries.iter().filter_map(|(guest, entry)| match entry {
            Entry::Symlink { target } => Some((guest.clone(), target.clone())),
            _ => None,
        });
        Self {
            links: links.collect(),
            ..Self::default()
        }
    }

    /// Where `guest` is when the symbolic links on the way to it are followed: the kernel cannot unpack anything below a
    /// link whose target comes later in the archive.
    fn place(&self, guest: &Path) -> PathBuf {
        let mut path = normalize(guest);
        for _ in 0..MAX_LINKS {
            let mut parents = path.ancestors().skip(1);
            let Some((link, target)) =
                parents.find_map(|parent| Some((parent, self.links.get(parent)?)))
            else {
                break;
            };
            let rest = path.strip_prefix(link).unwrap_or(Path::new(""));
            let base = link.parent().unwrap_or(Path::new("/"));
            path = normalize(&base.join(target).join(rest));
        }
        path
    }

    fn open(&mut self, host: &Path) -> Result<Opened, InitramfsError> {
        let not_a_file = || InitramfsError::NotAFile {
            path: host.to_owned(),
        };
        // Opening a device may do something.
        let metadata = fs::metadata(host).map_err(read_error(host))?;
        if !metadata.is_file() {
            return Err(not_a_file());
        }
        let file = files::open_regular(host).map_err(read_error(host))?;
        let metadata = file.metadata().map_err(read_error(host))?;
        let size = metadata.len();
        if size > u64::from(u32::MAX) {
            let path = host.to_owned();
            return Err(InitramfsError::TooLarge { path, size });
        }
        let input = Input::new(host, Some(&metadata));
        self.resolved.inputs.push(input.clone());
        Ok(Opened { file, size, input })
    }

    /// Packs the directory `host` and what is below it.
    fn tree(&mut self, host: &Path, guest: &Path) -> Result<(), InitramfsError> {
        for found in walk_tree(host)? {
            let (from, to) = (host.join(&found.below), guest.join(&found.below));
            let packed = match found.kind {
                TreeEntryKind::Directory { mode } => {
                    // It changes with the names in it.
                    self.resolved.inputs.push(Input::of(&from));
                    Packed::Directory { mode }
                }
                TreeEntryKind::Symlink { target } => Packed::Symlink { target },
                TreeEntryKind::File { mode } => {
                    let kind = Kind {
                        mode,
                        ..Kind::new(Pack::Whole, true)
                    };
                    let opened = self.open(&from)?;
                    self.object(opened, &to, kind)?;
                    continue;
                }
            };
            self.resolved.entries.insert(to, packed);
        }
        Ok(())
    }

    /// Packs a file and queues what it needs as an executable, a library or a script.
    fn object(&mut self, opened: Opened, guest: &Path, kind: Kind) -> Result<(), InitramfsError> {
        let host = opened.input.path.clone();
        let head = opened.head()?;
        let needs = if elf::is_elf(&head) {
            match elf::needs(&host, &opened.file) {
                // Such as an object file, or one for another processor.
                Err(_) if kind.lenient => None,
                other => Some(other?),
            }
        } else {
            None
        };
        let mut content = opened.content();
        if let Some(needs) = needs {
            // The header is part of what is loaded, but in a file that nobody could run.
            if kind.pack == Pack::Loadable && needs.loadable >= elf::HEADER as u64 {
                content.size = needs.loadable;
                content.without_sections = true;
            }
            self.queue.push_back(Object {
                host,
                guest: guest.to_owned(),
                needs,
                lenient: kind.lenient,
                inherited: kind.inherited,
            });
        }
        let packed = Packed::File {
            content: Content::Host(content),
            mode: kind.mode,
        };
        self.resolved.entries.insert(guest.to_owned(), packed);
        if let Some(interpreter) = script::interpreter(&head) {
            self.interpreter(&interpreter)?;
        }
        Ok(())
    }

    /// Packs what runs a script, where the host has it: data that looks like a script is no error.
    fn interpreter(&mut self, of_script: &Interpreter) -> Result<(), InitramfsError> {
        let by_env = of_script.by_env.as_ref().and_then(|name| {
            let mut places = PROGRAMS.iter().map(|dir| Path::new(dir).join(name));
            places.find(|place| files::is_program(place))
        });
        let named = Some(of_script.program.clone()).filter(|named| files::is_program(named));
        for program in [named, by_env].into_iter().flatten() {
            self.library(&program, &program, &[])?;
        }
        Ok(())
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
