//! Finds a kernel that is built already, where none was named. Nothing is built here.

use std::cmp::Reverse;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ktstr_core::env;
use ktstr_core::host::Host;

use crate::cache::{Cache, CacheEntry, CacheError};
use crate::git::GitState;
use crate::image::ImageError;
use crate::local::{LocalSource, SourceError};
use crate::remedy::Remedy;
use crate::resolved::{BuiltTreeError, ResolvedKernel};
use crate::spec::{KernelSpec, SpecError};
use crate::tree::{KernelTree, TreeError};
use crate::x86_64::IMAGE_IN_TREE;

/// A kernel, and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The kernel.
    pub kernel: ResolvedKernel,
    /// How it was found.
    pub origin: Origin,
}

/// Where a kernel was found. Displays as a few words for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// An environment variable names it.
    Variable(&'static str),
    /// It is the newest of the cache.
    NewestCached,
    /// It is built in a source tree nearby.
    Tree(PathBuf),
    /// It is installed on the host.
    HostImage(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "{name}"),
            Self::NewestCached => write!(f, "newest cached kernel"),
            Self::Tree(path) => write!(f, "built in {}", path.display()),
            Self::HostImage(path) => write!(f, "the host's {}", path.display()),
        }
    }
}

/// Why there is no kernel: none was found, or the one that was named cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoverError {
    /// The variable is set, but empty.
    #[error(
        "{name} is set but empty; unset it, or set it to an image, a built source tree or a cache key"
    )]
    Empty {
        /// The variable.
        name: &'static str,
    },
    /// The variable's value is not Unicode.
    #[error("{name} is not UTF-8; set it to an image, a built source tree or a cache key")]
    NotText {
        /// The variable.
        name: &'static str,
    },
    /// The variable names something that would have to be built first.
    #[error("{name}: `{spec}` is not built")]
    NotBuilt {
        /// The variable.
        name: &'static str,
        /// Its value.
        spec: KernelSpec,
    },
    /// The variable names several kernels, or one that may be another tomorrow.
    #[error(
        "{name}: `{spec}` may stand for another kernel tomorrow, and is not looked up here; set {name} to a version, an image, a built source tree or a cache key"
    )]
    NotFixed {
        /// The variable.
        name: &'static str,
        /// Its value.
        spec: KernelSpec,
    },
    /// The variable names something that cannot be used.
    #[error("{name}: {problem}")]
    Variable {
        /// The variable.
        name: &'static str,
        /// What is wrong.
        problem: Unusable,
    },
    /// The cache cannot be read.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// There is no kernel anywhere.
    #[error("no kernel found{}", skipped_text(skipped))]
    Nothing {
        /// What was found but could not be used.
        skipped: Vec<Unusable>,
    },
}

/// Why what a variable names cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// It is not an identifier.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// It is not in the cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// There is no such file or directory, or it is neither a kernel nor its sources.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It is not a usable image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// It is a tree without a usable image.
    #[error(transparent)]
    Tree(#[from] BuiltTreeError),
}

impl DiscoverError {
    /// What helps.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::NotBuilt { spec, .. } => Some(Remedy::build(spec)),
            Self::NotFixed { spec, .. } => Some(Remedy::Resolve {
                kernel: spec.to_string(),
            }),
            Self::Variable { problem, .. } => problem.remedy(),
            Self::Cache(error) => error.remedy(),
            Self::Nothing { .. } => Some(Remedy::BuildAny),
            Self::Empty { .. } | Self::NotText { .. } => None,
        }
    }
}

impl Unusable {
    /// What is wrong, without what to do, where an image or a tree cannot be used.
    pub fn problem(&self) -> String {
        match self {
            Self::Image(error) => error.problem(),
            Self::Tree(error) => error.problem(),
            other => other.to_string(),
        }
    }

    /// What helps.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Cache(error) => error.remedy(),
            Self::Tree(error) => error.remedy(),
            Self::Spec(_) | Self::Source(_) | Self::Image(_) => None,
        }
    }
}

fn skipped_text(skipped: &[Unusable]) -> String {
    if skipped.is_empty() {
        return String::new();
    }
    let problems: Vec<String> = skipped.iter().map(Unusable::problem).collect();
    format!(" (not usable: {})", problems.join("; "))
}

/// Finds a kernel, in this order: `KTSTR_TEST_KERNEL`, `KTSTR_KERNEL`, the newest valid cache entry,
/// `./linux`, `../linux`, the running kernel's build tree, `/boot/vmlinuz*`.
///
/// A variable that is set decides: when what it names cannot be used, that is an error. `./linux` and relative paths are
/// below `dir`; `/boot`, `/lib/modules` and what tells which kernel runs are below the root of `host`.
pub fn discover(host: &Host, cache: &Cache, dir: &Path) -> Result<Found, DiscoverError> {
    let places = Places { host, cache, dir };
    for name in [env::TEST_KERNEL, env::KERNEL] {
        let Some(value) = host.var(name) else {
            continue;
        };
        if value.is_empty() {
            // An empty KTSTR_KERNEL is what `KTSTR_KERNEL= cargo test` leaves: as if it were not set.
            if name == env::KERNEL {
                continue;
            }
            return Err(DiscoverError::Empty { name });
        }
        let kernel = places.named(name, &value)?;
        let origin = Origin::Variable(name);
        return Ok(Found { kernel, origin });
    }
    if let Some(entry) = cache.newest()? {
        let (kernel, origin) = (entry.kernel()?, Origin::NewestCached);
        return Ok(Found { kernel, origin });
    }
    let mut skipped = Vec::new();
    for dir in places.trees() {
        match places.built_tree(&dir) {
            Ok(kernel) => {
                let origin = Origin::Tree(dir);
                return Ok(Found { kernel, origin });
            }
            // A tree that is not there, or only headers, is nothing to speak of.
            Err(BuiltTreeError::Tree(TreeError::Read { .. })) => {}
            Err(BuiltTreeError::Tree(_)) if !dir.ends_with("linux") => {}
            Err(error) => skipped.push(error.into()),
        }
    }
    for path in places.host_images() {
        match ResolvedKernel::from_image(&path) {
            Ok(kernel) => {
                let origin = Origin::HostImage(path);
                return Ok(Found { kernel, origin });
            }
            Err(error) => skipped.push(error.into()),
        }
    }
    Err(DiscoverError::Nothing { skipped })
}

/// Where kernels are looked for.
#[derive(Clone, Copy)]
struct Places<'a> {
    host: &'a Host,
    cache: &'a Cache,
    dir: &'a Path,
}

impl Places<'_> {
    fn named(&self, name: &'static str, value: &OsStr) -> Result<ResolvedKernel, DiscoverError> {
        let text = value.to_str().ok_or(DiscoverError::NotText { name })?;
        let wrong = |problem| DiscoverError::Variable { name, problem };
        let spec = KernelSpec::parse(text, self.host).map_err(|error| wrong(error.into()))?;
        match &spec {
            KernelSpec::Path(path) => {
                let path = self.dir.join(path);
                match LocalSource::identify(&path).map_err(|error| wrong(error.into()))? {
                    LocalSource::Image { path, .. } => {
                        ResolvedKernel::from_image(&path).map_err(|error| wrong(error.into()))
                    }
                    LocalSource::Tree(tree) => {
                        self.built(&tree).map_err(|error| wrong(error.into()))
                    }
                    LocalSource::Tarball { .. } => Err(DiscoverError::NotBuilt { name, spec }),
                }
            }
            KernelSpec::CacheKey(key) => {
                let kernel = self.cache.lookup_beside(key, self.dir);
                kernel.map_err(|error| wrong(error.into()))
            }
            KernelSpec::Version(_) | KernelSpec::Series(_) => match self.release(&spec)? {
                Some(entry) => Ok(entry.kernel()?),
                None => Err(DiscoverError::NotBuilt { name, spec }),
            },
            KernelSpec::Newest(_) | KernelSpec::Range { .. } | KernelSpec::Git { .. } => {
                Err(DiscoverError::NotFixed { name, spec })
            }
        }
    }

    /// The newest cached release that `spec` names, in whichever configuration it was built last.
    fn release(&self, spec: &KernelSpec) -> Result<Option<CacheEntry>, DiscoverError> {
        // Newest builds come first, and the first of equals stays.
        let entries = self.cache.list()?.into_iter().rev();
        let released = entries.filter_map(|entry| {
            let release = entry.metadata()?.release()?;
            spec.admits(&release).then_some((release, entry))
        });
        let newest = released.max_by_key(|(release, _)| *release);
        Ok(newest.map(|(_, entry)| entry))
    }

    fn built_tree(&self, dir: &Path) -> Result<ResolvedKernel, BuiltTreeError> {
        self.built(&KernelTree::open(dir)?)
    }

    fn built(&self, tree: &KernelTree) -> Result<ResolvedKernel, BuiltTreeError> {
        let out = self.newest_build(tree);
        // Only what is built is worth asking git about.
        ResolvedKernel::from_build(tree, &out, false)?;
        let clean = matches!(GitState::of(self.host, tree.path()), GitState::Clean { .. });
        ResolvedKernel::from_build(tree, &out, !clean)
    }

    /// Where the newest kernel of `tree` is: in it, or where ktstr built it.
    fn newest_build(&self, tree: &KernelTree) -> PathBuf {
        let dirs = [tree.path().to_owned(), self.cache.build_dir(tree.path())];
        let built = |dir: &PathBuf| fs::metadata(dir.join(IMAGE_IN_TREE)).ok()?.modified().ok();
        let newest = dirs.iter().filter(|dir| built(dir).is_some());
        newest
            .max_by_key(|dir| built(dir))
            .unwrap_or(&dirs[0])
            .clone()
    }

    fn trees(&self) -> Vec<PathBuf> {
        let mut trees = vec![self.dir.join("linux")];
        trees.extend(self.dir.parent().map(|parent| parent.join("linux")));
        if let Some(release) = self.running_release() {
            let modules = self.host.root.join("lib/modules").join(release);
            trees.push(modules.join("build"));
        }
        trees
    }

    /// What `uname -r` says.
    fn running_release(&self) -> Option<String> {
        let text = fs::read_to_string(self.host.root.join("proc/sys/kernel/osrelease")).ok()?;
        let release = text.trim();
        // It becomes part of a path.
        (!release.is_empty() && !release.contains('/')).then(|| release.to_owned())
    }

    /// The running kernel's image first, then the others, newest first.
    fn host_images(&self) -> Vec<PathBuf> {
        let running = self
            .running_release()
            .map(|release| format!("vmlinuz-{release}"));
        let images = |entry: io::Result<fs::DirEntry>| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let modified = fs::metadata(entry.path()).and_then(|m| m.modified()).ok();
            let order = (Some(&name) != running.as_ref(), Reverse(modified));
            let is_image = name.starts_with("vmlinuz");
            is_image.then(|| (order, entry.path()))
        };
        let Ok(entries) = fs::read_dir(self.host.root.join("boot")) else {
            return Vec::new();
        };
        let mut found: Vec<_> = entries.filter_map(images).collect();
        found.sort();
        found.into_iter().map(|(_, path)| path).collect()
    }
}
