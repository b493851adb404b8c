//! A kernel that can be booted.

use std::path::{Path, PathBuf};

use ktstr_core::KernelLabel;

use crate::image::{ImageError, ImageInfo, ImageKind};
use crate::key::CacheKey;
use crate::remedy::Remedy;
use crate::tree::{KernelTree, TreeError};
use crate::x86_64;

/// A kernel whose files are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedKernel {
    /// What to boot; absolute.
    pub image: PathBuf,
    /// The ELF kernel with symbols and BTF, where there is one. It boots too, by PVH.
    pub vmlinux: Option<PathBuf>,
    /// The configuration it was built with, where it is known.
    pub config: Option<PathBuf>,
    /// Its name as a dimension of tests.
    pub label: KernelLabel,
    /// Its version: that of the sources where they are known, else the one in the image.
    pub version: String,
    /// Its cache entry, when it is in the cache.
    pub cache_key: Option<CacheKey>,
    /// Whether it was built from a tree with uncommitted changes or without git, so that another build of the same tree may
    /// be another kernel.
    pub dirty: bool,
}

impl ResolvedKernel {
    /// The kernel of an image on disk. `path` should be absolute, as the label holds a hash of it.
    pub fn from_image(path: &Path) -> Result<Self, ImageError> {
        let info = ImageInfo::read(path)?;
        Ok(Self {
            image: path.to_owned(),
            vmlinux: (info.kind == ImageKind::Elf).then(|| path.to_owned()),
            config: None,
            label: KernelLabel::from_path(path, false),
            version: info.version,
            cache_key: None,
            dirty: false,
        })
    }

    /// The kernel that is built in a source tree, as it is.
    pub fn from_built_tree(tree: &KernelTree, dirty: bool) -> Result<Self, BuiltTreeError> {
        Self::from_build(tree, tree.path(), dirty)
    }

    /// The kernel that is built of a source tree in the directory `out`, as it is.
    pub fn from_build(tree: &KernelTree, out: &Path, dirty: bool) -> Result<Self, BuiltTreeError> {
        let image = out.join(x86_64::IMAGE_IN_TREE);
        if !image.is_file() {
            return Err(BuiltTreeError::NotBuilt {
                tree: tree.path().to_owned(),
                image: x86_64::IMAGE_IN_TREE,
            });
        }
        ImageInfo::read(&image)?;
        let existing = |name: &str| Some(out.join(name)).filter(|path| path.is_file());
        Ok(Self {
            image,
            vmlinux: existing("vmlinux"),
            config: existing(".config"),
            label: KernelLabel::from_path(tree.path(), dirty),
            version: tree.version()?,
            cache_key: None,
            dirty,
        })
    }
}

/// Why a source tree has no kernel to boot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuiltTreeError {
    /// It was not built.
    #[error("{tree}: not built ({image} is missing)")]
    NotBuilt {
        /// The tree.
        tree: PathBuf,
        /// What is missing.
        image: &'static str,
    },
    /// Its image is not usable.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// It is not a kernel tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl BuiltTreeError {
    /// What is wrong, without what to do.
    pub(crate) fn problem(&self) -> String {
        match self {
            Self::NotBuilt { .. } => self.to_string(),
            Self::Image(error) => error.problem(),
            Self::Tree(error) => error.problem(),
        }
    }

    /// What helps.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::NotBuilt { tree, .. } => Some(Remedy::build(&tree.display())),
            Self::Image(_) | Self::Tree(_) => None,
        }
    }
}
