//! Files and directories of the host for the guest's `/include-files`.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ktstr_core::host::files::special_kind;
use ktstr_vmm::initramfs::{InitramfsBuilder, Pack};

use crate::guest;

/// A file or directory that the guest cannot have.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IncludeError {
    /// It is not there, or cannot be looked at.
    #[error("`{}`: {source}; check the path and its permissions", path.display())]
    Missing {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is neither a file nor a directory.
    #[error("`{}` is a {kind}; name files and directories", path.display())]
    Special {
        /// Its path.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// It is the root directory, which has no name.
    #[error("`{}` has no name to have in the guest; name what is in it", path.display())]
    NoName {
        /// Its path.
        path: PathBuf,
    },
    /// Another one has its name.
    #[error(
        "`{}` and `{}` would both be {}; rename one, or name a directory with both",
        first.display(),
        second.display(),
        place.display()
    )]
    SameName {
        /// The one that comes first.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// Their place in the guest.
        place: PathBuf,
    },
}

/// Adds `files` to `root`, each by its own name below `/include-files`; paths are relative to `dir`.
///
/// A path that is a symbolic link has the name of the link, and the content of what it leads to.
pub fn add(
    mut root: InitramfsBuilder,
    dir: &Path,
    files: &[PathBuf],
) -> Result<InitramfsBuilder, IncludeError> {
    let mut seen: Vec<(OsString, PathBuf)> = Vec::new();
    for file in files {
        let path = dir.join(file);
        let missing = |source| IncludeError::Missing {
            path: path.clone(),
            source,
        };
        let kind = fs::metadata(&path).map_err(missing)?.file_type();
        let name = match path.file_name() {
            Some(name) => name.to_owned(),
            // `..` at the end.
            None => fs::canonicalize(&path)
                .map_err(missing)?
                .file_name()
                .ok_or_else(|| IncludeError::NoName { path: path.clone() })?
                .to_owned(),
        };
        let place = Path::new(guest::INCLUDE_DIR).join(&name);
        if let Some((_, first)) = seen.iter().find(|(other, _)| *other == name) {
            return Err(IncludeError::SameName {
                first: first.clone(),
                second: path,
                place,
            });
        }
        root = if kind.is_dir() {
            root.tree(&path, place)
        } else if kind.is_file() {
            root.executable(&path, place, Pack::Whole)
        } else {
            let kind = special_kind(kind);
            return Err(IncludeError::Special { path, kind });
        };
        seen.push((name, path));
    }
    Ok(root)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use ktstr_vmm::initramfs::Initramfs;

    use super::*;

    fn add_to_nothing(dir: &Path, files: &[&Path]) -> Result<InitramfsBuilder, IncludeError> {
        let files: Vec<PathBuf> = files.iter().map(|file| (*file).to_owned()).collect();
        add(Initramfs::builder(), dir, &files)
    }

    #[test]
    fn names_are_kept_whatever_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["plain", "with spaces", "ünïcode"].map(OsStr::new);
        let raw = OsStr::from_bytes(b"caf\xe9 \xff");
        for name in names.into_iter().chain([raw]) {
            fs::write(dir.path().join(name), name.as_bytes()).unwrap();
            let root = add_to_nothing(dir.path(), &[Path::new(name)]).unwrap();
            assert!(root.has(Path::new("/include-files").join(name)), "{name:?}");
            let mut bytes = Vec::new();
            root.build().write(&mut bytes).unwrap();
            let place = [b"include-files/", name.as_bytes()].concat();
            assert!(bytes.windows(place.len()).any(|part| part == place));
        }
    }

    #[test]
    fn a_directory_has_a_name_however_it_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("outer/inner")).unwrap();
        symlink("outer", dir.path().join("link")).unwrap();
        for (path, name) in [
            ("outer/", "outer"),
            ("outer/.", "outer"),
            ("outer/inner/..", "outer"),
            ("link", "link"),
        ] {
            let root = add_to_nothing(dir.path(), &[Path::new(path)]).unwrap();
            assert!(root.has(Path::new("/include-files").join(name)), "{path}");
        }
        let error = add_to_nothing(dir.path(), &[Path::new("/")]).unwrap_err();
        assert!(matches!(error, IncludeError::NoName { .. }), "{error}");
    }

    #[test]
    fn what_the_guest_cannot_have_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a/x"), "").unwrap();
        fs::write(dir.path().join("x"), "").unwrap();
        let told = |files: &[&str]| {
            let files: Vec<&Path> = files.iter().map(Path::new).collect();
            add_to_nothing(dir.path(), &files).unwrap_err().to_string()
        };
        let twice = told(&["x", "a/x"]);
        assert!(
            twice.ends_with(
                "/a/x` would both be /include-files/x; rename one, or name a directory with both"
            ),
            "{twice}"
        );
        assert!(told(&["none"]).contains("none`: No such file or directory"));
        assert_eq!(
            told(&["/dev/null"]),
            "`/dev/null` is a device; name files and directories"
        );
        let made = std::process::Command::new("mkfifo")
            .arg(dir.path().join("pipe"))
            .status();
        assert!(made.unwrap().success());
        assert!(told(&["pipe"]).contains("is a named pipe"));
    }
}
