//! The project under test: its target directory, and where its sources are now.

use std::path::{Path, PathBuf};

use ktstr_core::host::Host;

/// The cargo target directory that holds `binary`: cargo marks it with a `CACHEDIR.TAG`.
pub(crate) fn target_dir_of(binary: &Path) -> Option<PathBuf> {
    binary
        .ancestors()
        .skip(1)
        .find(|dir| dir.join("CACHEDIR.TAG").is_file())
        .map(Path::to_owned)
}

/// Where the sources of a test binary are, which may have moved since it was compiled: nextest runs archives elsewhere
/// (`--workspace-remap`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relocation(Option<FromTo>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct FromTo {
    from: PathBuf,
    to: PathBuf,
}

impl Relocation {
    /// By the directory that the package had when it was compiled and what nextest says it is now. Only nextest moves
    /// packages: without it, and where it says nothing, nothing has moved.
    pub fn find(compiled: Option<&Path>, host: &Host) -> Self {
        let path = |name: &str| host.var(name).map(PathBuf::from);
        let (Some(compiled), Some(_)) = (compiled, host.var("NEXTEST")) else {
            return Self(None);
        };
        match path("CARGO_MANIFEST_DIR") {
            Some(now) => Self(FromTo::new(
                compiled,
                &now,
                path("NEXTEST_WORKSPACE_ROOT").as_deref(),
            )),
            None => Self(None),
        }
    }

    /// Where the directory is now that was `compiled` in.
    pub fn now(&self, compiled: &str) -> PathBuf {
        let path = Path::new(compiled);
        let moved = self.0.as_ref().and_then(|FromTo { from, to }| {
            let below = path.strip_prefix(from).ok()?;
            // Joining nothing would add a slash.
            Some(if below.as_os_str().is_empty() {
                to.clone()
            } else {
                to.join(below)
            })
        });
        moved.unwrap_or_else(|| path.to_owned())
    }
}

impl FromTo {
    /// From one package that was `compiled` at one place and is at another `now`, in the workspace whose `root` is told:
    /// what the workspace was, and what it is.
    fn new(compiled: &Path, now: &Path, root: Option<&Path>) -> Option<Self> {
        if compiled == now {
            return None;
        }
        let below = match root {
            Some(root) => now.strip_prefix(root).ok()?.to_owned(),
            // Nextest before 0.9.138: what both have in common at the end, which is the package's name at least.
            None => common_end(compiled, now)?,
        };
        Some(Self {
            from: above(compiled, &below)?,
            to: above(now, &below)?,
        })
    }
}

/// What `path` is `below`, which it must end in.
fn above(path: &Path, below: &Path) -> Option<PathBuf> {
    let is_there = path.ends_with(below) || below.as_os_str().is_empty();
    let above = path.ancestors().nth(below.components().count());
    above.filter(|_| is_there).map(Path::to_owned)
}

fn common_end(one: &Path, other: &Path) -> Option<PathBuf> {
    let ends = one.components().rev().zip(other.components().rev());
    let common = ends.take_while(|(one, other)| one == other);
    let mut common: Vec<_> = common.map(|(part, _)| part).collect();
    common.reverse();
    (!common.is_empty()).then(|| common.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn target_dir_is_told_by_its_mark() {
        let dir = tempfile::tempdir().unwrap();
        let deps = dir.path().join("target/debug/deps");
        fs::create_dir_all(&deps).unwrap();
        assert_eq!(target_dir_of(&deps.join("t")), None);
        fs::write(dir.path().join("target/CACHEDIR.TAG"), "").unwrap();
        assert_eq!(
            target_dir_of(&deps.join("t")),
            Some(dir.path().join("target"))
        );
    }

    fn moved(compiled: &str, variables: &[(&str, &str)]) -> Relocation {
        let host = Host::default().with_vars(variables.iter().copied());
        Relocation::find(Some(Path::new(compiled)), &host)
    }

    #[test]
    fn a_workspace_that_nextest_moved_is_followed() {
        let of_member = [
            ("NEXTEST", "1"),
            ("CARGO_MANIFEST_DIR", "/new/place/crates/x"),
        ];
        let root = ("NEXTEST_WORKSPACE_ROOT", "/new/place");
        for variables in [&of_member[..], &[&of_member[..], &[root]].concat()] {
            let moved = moved("/old/crates/x", variables);
            assert_eq!(moved.now("/old/crates/y"), Path::new("/new/place/crates/y"));
            assert_eq!(moved.now("/elsewhere/z"), Path::new("/elsewhere/z"));
        }
        // A package that is the workspace, under another name.
        let variables = [
            ("NEXTEST", "1"),
            ("CARGO_MANIFEST_DIR", "/new"),
            ("NEXTEST_WORKSPACE_ROOT", "/new"),
        ];
        let of_root = moved("/old/ws", &variables);
        assert_eq!(of_root.now("/old/ws"), Path::new("/new"));
        assert_eq!(of_root.now("/old/ws/sub"), Path::new("/new/sub"));
    }

    #[test]
    fn nothing_moves_without_a_word_of_nextests() {
        let elsewhere = ("CARGO_MANIFEST_DIR", "/ws/b");
        for variables in [
            &[][..],
            // Some other package's tests run this binary.
            &[elsewhere],
            &[("NEXTEST", "1"), elsewhere],
            &[
                ("NEXTEST", "1"),
                elsewhere,
                ("NEXTEST_WORKSPACE_ROOT", "/ws"),
            ],
            &[("NEXTEST", "1"), ("CARGO_MANIFEST_DIR", "/ws/a")],
        ] {
            assert_eq!(
                moved("/ws/a", variables),
                Relocation::default(),
                "{variables:?}"
            );
        }
    }
}
