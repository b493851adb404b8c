//! Files that are there in part.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ktstr_core::host::files::{sync_parent, write_atomic};
use serde::{Deserialize, Serialize};

use crate::hash;

/// Most that is read of what is written down about a part, bytes.
const FACTS_LIMIT: u64 = 16 << 10;

/// What the bytes of a part belong to. Without this the bytes are worth nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PartFacts {
    /// Where they come from.
    pub(super) address: String,
    /// Entity tag or date of the file there, which tell whether it is still the same.
    pub(super) validator: Option<String>,
    /// Size of the whole file, bytes.
    pub(super) total: Option<u64>,
}

impl PartFacts {
    /// Whether a server can tell if the rest belongs to what is there.
    fn is_enough(&self) -> bool {
        self.validator.is_some() || self.total.is_some()
    }
}

/// A file on its way: `NAME.part`, and `NAME.part.json` which says what it is a part of. Whoever has one holds the lock of the
/// name. It stays when its process is killed, and goes on from there.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    facts_path: PathBuf,
    file: File,
    done: u64,
    facts: Option<PartFacts>,
}

impl Part {
    /// The part of the file that will be at `target`, as far as it is known to be of `address`.
    pub(super) fn open(target: &Path, address: &str) -> io::Result<Self> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let path = target.with_file_name(format!("{name}.part"));
        let facts_path = target.with_file_name(format!("{name}.part.json"));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        let done = file.seek(SeekFrom::End(0))?;
        let facts = read_facts(&facts_path).filter(|facts| {
            facts.address == address
                && facts.is_enough()
                && facts.total.is_none_or(|total| done <= total)
        });
        let mut part = Self {
            path,
            facts_path,
            file,
            done,
            facts,
        };
        if part.done > 0 && part.facts.is_none() {
            part.reset()?;
        }
        Ok(part)
    }

    /// How many bytes are there.
    pub(super) fn done(&self) -> u64 {
        self.done
    }

    /// What they belong to; `None` while there are none.
    pub(super) fn facts(&self) -> Option<&PartFacts> {
        self.facts.as_ref().filter(|_| self.done > 0)
    }

    /// Size of the whole file, where it is known.
    pub(super) fn whole_size(&self) -> Option<u64> {
        self.facts.as_ref().and_then(|facts| facts.total)
    }

    /// Whether it is all there.
    pub(super) fn is_whole(&self) -> bool {
        self.facts()
            .is_some_and(|facts| facts.total == Some(self.done))
    }

    /// Forgets what is there.
    pub(super) fn reset(&mut self) -> io::Result<()> {
        self.facts = None;
        self.done = 0;
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        gone(fs::remove_file(&self.facts_path))
    }

    /// Begins anew, with a file of these facts.
    pub(super) fn begin(&mut self, facts: PartFacts) -> io::Result<()> {
        self.reset()?;
        if facts.is_enough() {
            write_atomic(&self.facts_path, &serde_json::to_vec(&facts)?)?;
        }
        self.facts = Some(facts);
        Ok(())
    }

    /// Adds what came.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.done += bytes.len() as u64;
        Ok(())
    }

    /// The SHA-256 of what is there.
    pub(super) fn sha256(&mut self) -> io::Result<String> {
        self.file.seek(SeekFrom::Start(0))?;
        let sum = hash::sha256(&mut self.file, |_| {})?;
        self.file.seek(SeekFrom::End(0))?;
        Ok(sum)
    }

    /// Makes it the file it was to be.
    pub(super) fn commit(self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, target)?;
        gone(fs::remove_file(&self.facts_path))?;
        sync_parent(target)
    }

    /// Removes it.
    pub(super) fn discard(self) -> io::Result<()> {
        gone(fs::remove_file(&self.path))?;
        gone(fs::remove_file(&self.facts_path))
    }

    /// Its file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn read_facts(path: &Path) -> Option<PartFacts> {
    let mut json = Vec::new();
    let file = File::open(path).ok()?;
    file.take(FACTS_LIMIT).read_to_end(&mut json).ok()?;
    serde_json::from_slice(&json).ok()
}

/// That a file is gone already is as good.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
