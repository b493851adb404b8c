//! What is done of a comparison, on disk: an interrupted one goes on where it was.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use ktstr_core::host::files::{open_regular, write_atomic};
use ktstr_kernel::ResolvedKernel;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::error::PerfDeltaError;
use super::report::SideName;

/// The largest state that is read, in bytes.
const LIMIT: u64 = 1 << 20;

/// Runs of comparisons that are older are removed.
const LEFTOVER: Duration = Duration::from_secs(7 * 24 * 3600);

/// What decides the figures of a run: runs of another key are of another comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) base: String,
    pub(super) head: String,
    /// Label, image, size and time of change of each kernel.
    pub(super) kernels: Vec<(String, String, u64, u64)>,
    /// How the session runs its tests, as options.
    pub(super) options: Vec<String>,
    /// The project's directory below the root of the work tree.
    pub(super) dir: String,
    /// Version of ktstr.
    pub(super) ktstr: String,
}

/// As it is written.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    version: u32,
    key: Key,
    done: Vec<(SideName, usize)>,
    complete: bool,
}

/// The runs of a comparison.
#[derive(Debug)]
pub(super) struct State {
    dir: PathBuf,
    written: Written,
}

impl Key {
    pub(super) fn kernels(kernels: &[ResolvedKernel]) -> Vec<(String, String, u64, u64)> {
        let facts = |kernel: &ResolvedKernel| {
            let found = fs::metadata(&kernel.image).ok();
            let changed = found.as_ref().and_then(|it| it.modified().ok());
            let changed = changed.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            (
                kernel.label.to_string(),
                kernel.image.to_string_lossy().into_owned(),
                found.map_or(0, |it| it.len()),
                changed.map_or(0, |at| at.as_secs()),
            )
        };
        kernels.iter().map(facts).collect()
    }

    pub(super) fn words(words: &[OsString]) -> impl Iterator<Item = String> {
        words.iter().map(|word| word.display().to_string())
    }
}

impl State {
    const VERSION: u32 = 1;

    /// The state of the comparison `key` in a directory of its own below `place`, where others are as well: what was
    /// interrupted, or a new one. Removes what is of no use any more.
    pub(super) fn open(place: &Path, key: Key) -> Result<Self, PerfDeltaError> {
        let text = serde_json::to_vec(&key).unwrap_or_default();
        let dir = place.join(format!("{:016x}", xxh3_64(&text)));
        let writing = |source| PerfDeltaError::Write {
            path: dir.clone(),
            source,
        };
        let interrupted =
            read(&dir).filter(|it| it.version == Self::VERSION && it.key == key && !it.complete);
        remove_others(place, &dir);
        let state = if let Some(written) = interrupted {
            Self {
                dir: dir.clone(),
                written,
            }
        } else {
            remove(&dir).map_err(writing)?;
            Self {
                dir: dir.clone(),
                written: Written {
                    version: Self::VERSION,
                    key,
                    done: Vec::new(),
                    complete: false,
                },
            }
        };
        fs::create_dir_all(&dir).map_err(writing)?;
        state.write()?;
        Ok(state)
    }

    /// Where the records of a run are; runs are counted from 1.
    pub(super) fn records(&self, side: SideName, run: usize) -> PathBuf {
        let name = match side {
            SideName::Base => "base",
            SideName::Head => "head",
        };
        self.dir.join(format!("{name}-{run}"))
    }

    pub(super) fn is_done(&self, side: SideName, run: usize) -> bool {
        self.written.done.contains(&(side, run))
    }

    /// How many of the first `runs` runs of each side are done.
    pub(super) fn done(&self, runs: usize) -> usize {
        let done = self.written.done.iter();
        done.filter(|(_, run)| *run <= runs).count()
    }

    /// Removes what an interrupted run left, so that it begins anew.
    pub(super) fn begin(&self, side: SideName, run: usize) -> Result<PathBuf, PerfDeltaError> {
        let path = self.records(side, run);
        match remove(&path) {
            Err(source) => Err(PerfDeltaError::Write { path, source }),
            Ok(()) => Ok(path),
        }
    }

    pub(super) fn end(&mut self, side: SideName, run: usize) -> Result<(), PerfDeltaError> {
        self.written.done.push((side, run));
        self.write()
    }

    /// The comparison was made: the next one begins anew.
    pub(super) fn complete(&mut self) -> Result<(), PerfDeltaError> {
        self.written.complete = true;
        self.write()
    }

    fn write(&self) -> Result<(), PerfDeltaError> {
        let path = self.dir.join(FILE);
        let written = serde_json::to_vec_pretty(&self.written)
            .map_err(io::Error::from)
            .and_then(|bytes| write_atomic(&path, &bytes));
        written.map_err(|source| PerfDeltaError::Write { path, source })
    }
}

const FILE: &str = "state.json";

/// Removes a directory, if it is there.
fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn read(dir: &Path) -> Option<Written> {
    let mut bytes = Vec::new();
    let file = open_regular(&dir.join(FILE)).ok()?;
    file.take(LIMIT).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Removes runs of other comparisons: of those that were made, and of those that nobody goes on with.
fn remove_others(place: &Path, own: &Path) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let path = entry.path();
        let age = entry.metadata().and_then(|it| it.modified());
        let age = age.ok().and_then(|at| at.elapsed().ok());
        let is_old = age.is_some_and(|age| age > LEFTOVER);
        if path != own && (is_old || read(&path).is_some_and(|it| it.complete)) {
            let _ = fs::remove_dir_all(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(base: &str) -> Key {
        Key {
            base: base.to_owned(),
            head: "h".to_owned(),
            kernels: vec![("kernel_6_12".to_owned(), "/k".to_owned(), 1, 2)],
            options: vec!["--release".to_owned()],
            dir: String::new(),
            ktstr: "0.1.0".to_owned(),
        }
    }

    #[test]
    fn an_interrupted_comparison_goes_on_and_a_made_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let open = |base: &str| State::open(dir.path(), key(base)).unwrap();
        let mut state = open("a");
        assert_eq!(state.done(9), 0);
        let records = state.begin(SideName::Base, 1).unwrap();
        fs::create_dir(&records).unwrap();
        state.end(SideName::Base, 1).unwrap();
        // This one does not end.
        let half = state.begin(SideName::Head, 1).unwrap();
        fs::create_dir(&half).unwrap();
        let mut state = open("a");
        assert!(state.is_done(SideName::Base, 1) && !state.is_done(SideName::Head, 1));
        assert!(records.exists());
        state.begin(SideName::Head, 1).unwrap();
        assert!(!half.exists());
        // Another comparison leaves it alone.
        assert_eq!(open("b").done(9), 0);
        assert!(records.exists());
        state.end(SideName::Head, 1).unwrap();
        assert_eq!((state.done(1), state.done(0)), (2, 0));
        state.complete().unwrap();
        assert!(
            records.exists(),
            "records can be looked at until the next comparison"
        );
        open("b");
        assert!(!records.exists());
        assert_eq!(open("a").done(9), 0);
    }

    #[test]
    fn a_state_that_is_none_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(dir.path(), key("a")).unwrap();
        state.end(SideName::Base, 1).unwrap();
        let file = state.dir.join(FILE);
        let text = fs::read_to_string(&file).unwrap();
        for odd in [
            String::new(),
            "{".to_owned(),
            text.replace("\"version\": 1", "\"version\": 2"),
            text.replace("\"base\": \"a\"", "\"base\": \"x\""),
        ] {
            fs::write(&file, odd).unwrap();
            assert_eq!(State::open(dir.path(), key("a")).unwrap().done(9), 0);
        }
        fs::write(&file, text).unwrap();
        assert_eq!(State::open(dir.path(), key("a")).unwrap().done(9), 1);
    }
}
