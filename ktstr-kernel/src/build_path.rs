//! Paths that kernels can be built in.
//!
//! The kernel's Makefile refuses spaces and colons itself. Others it hands to make and to shells as they are: `%` is a
//! pattern there, `#` a comment, `$` a variable, quotes and brackets are syntax.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// A directory whose path the kernel's make cannot build in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildPathError {
    /// The directory, without symbolic links.
    pub path: PathBuf,
    /// The first character of its path that has a meaning to make or a shell.
    pub character: char,
}

impl std::error::Error for BuildPathError {}

impl fmt::Display for BuildPathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "{path}: the kernel's make cannot build in a path with ")?;
        match self.character {
            ' ' => write!(f, "a space in it"),
            c if c.is_whitespace() || c.is_control() => write!(f, "a {} in it", c.escape_debug()),
            c => write!(f, "{c} in it"),
        }
    }
}

/// Checks that kernels can be built in `dir`, which need not exist yet.
pub fn check(dir: &Path) -> Result<(), BuildPathError> {
    let path = real(dir);
    let text = path.to_string_lossy();
    match text.chars().find(|c| is_special(*c)) {
        Some(character) => Err(BuildPathError { path, character }),
        None => Ok(()),
    }
}

fn is_special(c: char) -> bool {
    c.is_whitespace() || c.is_control() || ":%'\"`$#\\;&|<>()*?[]{}!".contains(c)
}

/// What make sees: the path without symbolic links, as far as there is something.
fn real(dir: &Path) -> PathBuf {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let existing = dir.ancestors().find_map(|ancestor| {
        let real = fs::canonicalize(ancestor).ok()?;
        Some((real, dir.strip_prefix(ancestor).unwrap_or(Path::new(""))))
    });
    // An empty rest would add a slash.
    match existing {
        Some((real, rest)) if rest.as_os_str().is_empty() => real,
        Some((real, rest)) => real.join(rest),
        None => dir,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_make_would_read_otherwise_is_found_wherever_links_lead() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["plain", "a-b_c.d+e,f=g@h~1", "größe", "later/not/yet"] {
            assert_eq!(check(&path(name)), Ok(()), "{name}");
        }
        for character in " :%'\"`$#\\;&|<>()*?[]{}!\t\n".chars() {
            let name = format!("a{character}b");
            for dir in [path(&name), path(&name).join("later")] {
                let error = check(&dir).unwrap_err();
                assert_eq!((&error.path, error.character), (&dir, character));
            }
        }
        let spaced = path("a b");
        fs::create_dir(&spaced).unwrap();
        symlink(&spaced, path("plain-link")).unwrap();
        fs::create_dir(path("plain")).unwrap();
        symlink(path("plain"), path("spaced link")).unwrap();
        assert_eq!(
            check(&path("plain-link/later")).unwrap_err().path,
            spaced.join("later")
        );
        assert_eq!(check(&path("spaced link")), Ok(()));
        let error = check(&spaced).unwrap_err().to_string();
        let spaced = spaced.display();
        assert_eq!(
            error,
            format!("{spaced}: the kernel's make cannot build in a path with a space in it")
        );
        let error = check(&path("a%b")).unwrap_err().to_string();
        assert!(error.ends_with("a path with % in it"), "{error}");
    }
}
