//! The run directories of a project, and which session wrote last.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::RunDir;
use super::run_dir::{EPOCH_FILE, epochs, is_record_name};
use super::sidecar::Sidecar;

/// The run directories below one directory: those of a project (`target/ktstr`), or an archived copy.
///
/// ```no_run
/// use ktstr_core::record::RunStore;
///
/// let store = RunStore::new("target/ktstr");
/// for run in store.runs()? {
///     println!("{}", run.name);
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct RunStore {
    dir: PathBuf,
}

/// A run directory that has records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRun {
    /// Its name, such as `6.14.2-abc1234-dirty`: what `--run` takes.
    pub name: String,
    /// Its path.
    pub path: PathBuf,
    /// The session that began to write here most recently.
    pub epoch: String,
    /// When that session began, as far as is known.
    pub begun: SystemTime,
}

/// A session and the run directories that it wrote to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSession {
    /// Its name in the records.
    pub epoch: String,
    /// The directories, by path: one for each kernel.
    pub dirs: Vec<PathBuf>,
}

impl StoredRun {
    /// The directory, to read its records.
    pub fn dir(&self) -> RunDir {
        RunDir::new(&self.path, &self.epoch)
    }
}

impl RunStore {
    /// The run directories in `dir`. If `dir` has records itself, it is the only one.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The run directories that have records, the one with the newest session first. There are none if the directory does
    /// not exist.
    pub fn runs(&self) -> io::Result<Vec<StoredRun>> {
        let mut runs = Vec::new();
        for path in self.candidates()? {
            runs.extend(stored(path));
        }
        runs.sort_by(|a, b| (b.begun, &a.name).cmp(&(a.begun, &b.name)));
        Ok(runs)
    }

    /// The run directory called `name`.
    pub fn run(&self, name: &str) -> io::Result<Option<StoredRun>> {
        Ok(self.runs()?.into_iter().find(|run| run.name == name))
    }

    /// The session that began most recently, with all run directories that it wrote to.
    pub fn newest_session(&self) -> io::Result<Option<StoredSession>> {
        let Some(newest) = self.runs()?.into_iter().next() else {
            return Ok(None);
        };
        self.session(&newest.epoch)
    }

    /// The session called `epoch`, if it has left records.
    pub fn session(&self, epoch: &str) -> io::Result<Option<StoredSession>> {
        let mut dirs = self.candidates()?;
        dirs.retain(|dir| sessions_of(dir).iter().any(|(other, _)| other == epoch));
        dirs.sort();
        Ok((!dirs.is_empty()).then(|| StoredSession {
            epoch: epoch.to_owned(),
            dirs,
        }))
    }

    fn candidates(&self) -> io::Result<Vec<PathBuf>> {
        let mut dirs = Vec::new();
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(dirs),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name == EPOCH_FILE || is_record_name(&name) {
                return Ok(vec![self.dir.clone()]);
            }
            // Links may lead anywhere.
            if !name.starts_with('.') && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                dirs.push(entry.path());
            }
        }
        Ok(dirs)
    }
}

/// The run directory at `path`; `None` if no session wrote there.
fn stored(path: PathBuf) -> Option<StoredRun> {
    let (epoch, begun) = sessions_of(&path).pop()?;
    let name = path.file_name().unwrap_or(path.as_os_str());
    Some(StoredRun {
        name: name.to_string_lossy().into_owned(),
        epoch,
        begun,
        path,
    })
}

/// The sessions that wrote into `dir` and when they began, the newest last.
fn sessions_of(dir: &Path) -> Vec<(String, SystemTime)> {
    let listed = epochs(dir);
    if listed.is_empty() {
        return sessions_in_records(dir);
    }
    let modified = fs::metadata(dir.join(EPOCH_FILE)).and_then(|metadata| metadata.modified());
    let modified = modified.unwrap_or(UNIX_EPOCH);
    let begun = |epoch: &String| began_at(epoch).unwrap_or(modified);
    listed
        .iter()
        .map(|epoch| (epoch.clone(), begun(epoch)))
        .collect()
}

/// The same by the records themselves: archives may leave hidden files out.
fn sessions_in_records(dir: &Path) -> Vec<(String, SystemTime)> {
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    let records = RunDir::new(dir, "").records().unwrap_or_default();
    for record in records.into_iter().flatten() {
        let Sidecar { epoch, started, .. } = record.sidecar;
        let earliest = first.entry(epoch).or_insert_with(|| started.clone());
        if started < *earliest {
            *earliest = started;
        }
    }
    let mut sessions: Vec<(String, String)> = first.into_iter().collect();
    sessions.sort_by(|a, b| a.1.cmp(&b.1));
    let begun = |epoch: &str, started: &str| {
        let told = humantime::parse_rfc3339(started).ok();
        told.or_else(|| began_at(epoch)).unwrap_or(UNIX_EPOCH)
    };
    sessions
        .into_iter()
        .map(|(epoch, started)| {
            let begun = begun(&epoch, &started);
            (epoch, begun)
        })
        .collect()
}

/// The time in a [generated name](super::new_epoch); `None` for other names.
fn began_at(epoch: &str) -> Option<SystemTime> {
    let (nanos, pid) = epoch.split_once('-')?;
    pid.parse::<u32>().ok()?;
    let since = Duration::from_nanos(nanos.parse().ok()?);
    UNIX_EPOCH.checked_add(since)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Verdict;

    fn write(dir: &Path, epoch: &str, test: &str, started: &str) {
        let sidecar = Sidecar {
            started: started.to_owned(),
            ..Sidecar::new(test, &format!("ktstr/{test}"), Verdict::pass())
        };
        let run = RunDir::new(dir, epoch);
        run.write(&sidecar, None::<&()>).unwrap();
    }

    fn names(store: &RunStore) -> Vec<String> {
        let runs = store.runs().unwrap().into_iter();
        runs.map(|run| run.name).collect()
    }

    #[test]
    fn the_newest_session_comes_first_and_has_its_directories() {
        let dir = tempfile::tempdir().unwrap();
        let store = RunStore::new(dir.path());
        assert_eq!(store.runs().unwrap(), []);
        assert_eq!(store.newest_session().unwrap(), None);
        assert_eq!(names(&RunStore::new(dir.path().join("none"))), [""; 0]);
        // Two kernels, then one of them again.
        let path = |name: &str| dir.path().join(name);
        write(&path("6.12-a"), "3000-1", "a", "");
        write(&path("6.14-a"), "3000-1", "a", "");
        write(&path("6.13-a"), "1000-1", "a", "");
        write(&path("6.14-a"), "4000-1", "b", "");
        fs::create_dir(path("empty")).unwrap();
        fs::write(path("file"), "").unwrap();
        std::os::unix::fs::symlink(path("6.12-a"), path("link")).unwrap();
        assert_eq!(names(&store), ["6.14-a", "6.12-a", "6.13-a"]);
        let newest = store.newest_session().unwrap().unwrap();
        assert_eq!(newest.epoch, "4000-1");
        assert_eq!(newest.dirs, [path("6.14-a")]);
        let before = store.session("3000-1").unwrap().unwrap();
        assert_eq!(before.dirs, [path("6.12-a"), path("6.14-a")]);
        assert_eq!(store.session("7-1").unwrap(), None);
        let run = store.run("6.13-a").unwrap().unwrap();
        assert_eq!(run.path, path("6.13-a"));
        assert_eq!(store.run("6.15-a").unwrap(), None);
        // A run directory itself.
        let only = RunStore::new(path("6.14-a"));
        assert_eq!(names(&only), ["6.14-a"]);
    }

    #[test]
    fn an_archive_without_hidden_files_is_read_by_its_records() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        write(&path("old"), "x", "a", "2026-01-01T00:00:00Z");
        write(&path("new"), "named", "a", "2026-01-02T00:00:00Z");
        write(&path("new"), "y", "b", "2026-01-01T10:00:00Z");
        for run in ["old", "new"] {
            fs::remove_file(path(run).join(EPOCH_FILE)).unwrap();
        }
        let store = RunStore::new(dir.path());
        assert_eq!(names(&store), ["new", "old"]);
        let newest = store.newest_session().unwrap().unwrap();
        assert_eq!(
            (newest.epoch.as_str(), newest.dirs),
            ("named", vec![path("new")])
        );
    }
}
