//! Kernel source trees.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ktstr_core::host::files::open_regular;

#[cfg(feature = "build")]
use crate::release::Release;
use crate::x86_64;

/// A directory that holds kernel sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelTree {
    path: PathBuf,
}

/// Why a directory is not a kernel tree.
#[derive(Debug, thiserror::Error)]
#[error("{}; {}", self.problem(), self.advice())]
#[non_exhaustive]
pub enum TreeError {
    /// Something every kernel tree has is not there.
    NotATree {
        /// The directory.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// It is what `make O=` builds in.
    BuildDirectory {
        /// The directory.
        path: PathBuf,
        /// The tree whose sources are built in it.
        source_tree: PathBuf,
        /// The image in it, if there is one.
        image: Option<PathBuf>,
    },
    /// It could not be read.
    Read {
        /// What was read.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl TreeError {
    /// What is wrong, without what to do.
    pub(crate) fn problem(&self) -> String {
        match self {
            Self::NotATree { path, why } => {
                format!("{}: not a kernel source tree ({why})", path.display())
            }
            Self::BuildDirectory {
                path, source_tree, ..
            } => format!(
                "{}: the build directory (make O=) of {}",
                path.display(),
                source_tree.display()
            ),
            Self::Read { path, source } => format!("{}: {source}", path.display()),
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::NotATree { .. } => {
                "give the directory that holds the kernel's top Makefile".to_owned()
            }
            Self::BuildDirectory { image: None, .. } => "give that source tree".to_owned(),
            Self::BuildDirectory {
                image: Some(image), ..
            } => format!(
                "give that source tree, or the image in it: {}",
                image.display()
            ),
            Self::Read { .. } => "check the path and its permissions".to_owned(),
        }
    }

    /// What is wrong, in one clause, without the path.
    #[cfg(feature = "git")]
    pub(crate) fn why(&self) -> String {
        match self {
            Self::NotATree { why, .. } => why.clone(),
            Self::BuildDirectory { .. } => "it is a build directory".to_owned(),
            Self::Read { source, .. } => source.to_string(),
        }
    }
}

impl KernelTree {
    /// Opens the kernel tree at `dir`. Its path becomes absolute, without symbolic links.
    pub fn open(dir: &Path) -> Result<Self, TreeError> {
        let path = fs::canonicalize(dir).map_err(|source| TreeError::Read {
            path: dir.to_owned(),
            source,
        })?;
        let tree = Self { path };
        if let Some(source_tree) = tree.built_from() {
            let image = tree.path.join(x86_64::IMAGE_IN_TREE);
            return Err(TreeError::BuildDirectory {
                image: Some(image).filter(|image| image.is_file()),
                path: tree.path,
                source_tree,
            });
        }
        for name in ["Makefile", "Kconfig", "arch"] {
            if !tree.path.join(name).exists() {
                return Err(tree.not_a_tree(format!("no {name} in it")));
            }
        }
        tree.version()?;
        Ok(tree)
    }

    /// The sources, where this is no tree but what `make O=` makes: a Makefile that leads there, and a link.
    fn built_from(&self) -> Option<PathBuf> {
        if self.path.join("Kconfig").exists() {
            return None;
        }
        let source = fs::canonicalize(self.path.join("source")).ok()?;
        let has = |dir: &Path, name: &str| dir.join(name).is_file();
        let built = has(&self.path, "Makefile") && has(&source, "Kconfig") && source != self.path;
        built.then_some(source)
    }

    /// Whether its kernel has sched_ext: since 6.12, or where its scheduler was brought to an older one.
    #[cfg(feature = "build")]
    pub(crate) fn has_sched_ext(&self) -> Result<bool, TreeError> {
        if has_sched_ext(&self.version()?) {
            return Ok(true);
        }
        let path = self.path.join("kernel/Kconfig.preempt");
        let text = fs::read_to_string(path).unwrap_or_default();
        Ok(text
            .lines()
            .any(|line| line.trim() == "config SCHED_CLASS_EXT"))
    }

    /// Where it is; absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The version its top Makefile declares, as `make kernelversion` prints it.
    pub fn version(&self) -> Result<String, TreeError> {
        let path = self.path.join("Makefile");
        let mut head = Vec::new();
        open_regular(&path)
            // The variables stand in the first lines.
            .and_then(|file| file.take(16 << 10).read_to_end(&mut head))
            .map_err(|source| TreeError::Read { path, source })?;
        makefile_version(&String::from_utf8_lossy(&head))
            .ok_or_else(|| self.not_a_tree("its Makefile declares no kernel version".to_owned()))
    }

    fn not_a_tree(&self, why: String) -> TreeError {
        TreeError::NotATree {
            path: self.path.clone(),
            why,
        }
    }
}

/// Whether Linux `version` brings sched_ext by itself.
#[cfg(feature = "build")]
pub(crate) fn has_sched_ext(version: &str) -> bool {
    Release::of_kernel(version).is_none_or(|it| (it.major, it.minor) >= (6, 12))
}

/// The version that a top Makefile declares.
pub(crate) fn makefile_version(makefile: &str) -> Option<String> {
    let value = |name: &str| {
        makefile.lines().find_map(|line| {
            let (left, right) = line.split_once('=')?;
            (left.trim() == name).then(|| right.trim())
        })
    };
    let number = |name: &str| {
        let digits =
            |text: &&str| (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        value(name).filter(digits)
    };
    let extra = value("EXTRAVERSION").unwrap_or("");
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._+".contains(&b);
    // It becomes part of a directory name.
    if extra.len() > 32 || !extra.bytes().all(plain) {
        return None;
    }
    let (version, patchlevel) = (number("VERSION")?, number("PATCHLEVEL")?);
    let sublevel = number("SUBLEVEL")?;
    Some(format!("{version}.{patchlevel}.{sublevel}{extra}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_version_of_the_top_makefile() {
        let makefile =
            "# SPDX\nVERSION = 7\nPATCHLEVEL = 1\nSUBLEVEL = 0\nEXTRAVERSION = -rc3\nNAME = X\n";
        assert_eq!(makefile_version(makefile).as_deref(), Some("7.1.0-rc3"));
        assert_eq!(makefile_version("VERSION = 6\nall:\n\ttrue\n"), None);
        let evil = "VERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 0\nEXTRAVERSION = /../../x\n";
        assert_eq!(makefile_version(evil), None);
    }

    #[test]
    fn what_a_directory_lacks_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let error = KernelTree::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("no Makefile in it"), "{error}");
        fs::write(dir.path().join("Makefile"), "all:\n").unwrap();
        fs::write(dir.path().join("Kconfig"), "").unwrap();
        fs::create_dir(dir.path().join("arch")).unwrap();
        let error = KernelTree::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("declares no kernel version"), "{error}");
        let error = KernelTree::open(Path::new("/no/such")).unwrap_err();
        assert!(error.to_string().contains("/no/such"), "{error}");
    }

    #[test]
    fn a_build_directory_names_its_sources_and_its_image() {
        let dir = tempfile::tempdir().unwrap();
        let dir = fs::canonicalize(dir.path()).unwrap();
        let (tree, out) = (dir.join("linux"), dir.join("out"));
        for dir in [&tree, &out.join("arch/x86/boot")] {
            fs::create_dir_all(dir).unwrap();
        }
        fs::write(tree.join("Kconfig"), "").unwrap();
        fs::write(
            out.join("Makefile"),
            format!("include {}/Makefile\n", tree.display()),
        )
        .unwrap();
        std::os::unix::fs::symlink(&tree, out.join("source")).unwrap();
        let text = || KernelTree::open(&out).unwrap_err().to_string();
        let start = format!(
            "{}: the build directory (make O=) of {}; give that source tree",
            out.display(),
            tree.display()
        );
        assert_eq!(text(), start);
        let image = out.join("arch/x86/boot/bzImage");
        fs::write(&image, "").unwrap();
        assert_eq!(
            text(),
            format!("{start}, or the image in it: {}", image.display())
        );
    }
}
