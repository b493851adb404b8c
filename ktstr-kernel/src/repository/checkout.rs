//! The files of a commit.

use std::cell::Cell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use gix::Count;
use gix::prelude::HeaderExt;
use gix::progress::{Step, StepShared};
use gix::worktree::stack::state::attributes::Source;

use super::audit::Audit;
use super::error::{causes, is_no_space};
use super::fetch::Fetched;
use super::watch::watched;
use super::{GitError, Repository};
use crate::archive::stays_inside;
use crate::text::line;

/// A count that others look at.
struct Counter(StepShared);

impl Count for Counter {
    fn set(&self, step: Step) {
        self.0.store(step, Ordering::Relaxed);
    }

    fn step(&self) -> Step {
        self.0.load(Ordering::Relaxed)
    }

    fn inc_by(&self, step: Step) {
        self.0.fetch_add(step, Ordering::Relaxed);
    }

    fn counter(&self) -> StepShared {
        Arc::clone(&self.0)
    }
}

/// What a commit consists of, looked through.
pub(crate) struct Files {
    tree: gix::ObjectId,
    /// How many there are.
    pub(crate) count: u64,
}

impl Repository<'_> {
    fn contents(&self, fetched: &Fetched, why: String) -> GitError {
        GitError::Contents {
            url: self.url().to_owned(),
            commit: fetched.commit.clone(),
            why,
        }
    }

    /// Looks whether the commit's files can be written.
    pub(crate) fn files(&self, fetched: &Fetched) -> Result<Files, GitError> {
        self.audit(&fetched.objects, &fetched.commit)
            .map_err(|why| self.contents(fetched, why))
    }

    fn audit(&self, repository: &gix::Repository, commit: &str) -> Result<Files, String> {
        let id = gix::ObjectId::from_hex(commit.as_bytes()).map_err(|error| causes(&error))?;
        let commit = repository.find_commit(id).map_err(|error| causes(&error))?;
        let tree = commit.tree().map_err(|error| causes(&error))?;
        let size_of = |id: &gix::oid| {
            let header = repository.objects.header(id);
            header.ok().map(|header| header.size())
        };
        let mut audit = Audit::new(&self.access.limits, &size_of);
        let traversed = tree.traverse().breadthfirst(&mut audit);
        if let Some(fault) = audit.fault {
            return Err(fault);
        }
        traversed.map_err(|error| causes(&error))?;
        Ok(Files {
            tree: tree.id,
            count: audit.files,
        })
    }

    /// Writes the files to the empty directory `dir`; `written` is told how many there are already.
    /// Submodules stay empty directories.
    pub(crate) fn checkout(
        &self,
        fetched: &Fetched,
        files: &Files,
        dir: &Path,
        written: &(dyn Fn(u64) + Sync),
    ) -> Result<(), GitError> {
        let full = Cell::new(false);
        let written = self.write(&fetched.objects, files, dir, written, &full);
        written.map_err(|why| {
            if full.get() {
                let path = dir.to_owned();
                return GitError::NoSpace { path };
            }
            self.contents(fetched, why)
        })
    }

    fn write(
        &self,
        repository: &gix::Repository,
        files: &Files,
        dir: &Path,
        written: &(dyn Fn(u64) + Sync),
        full: &Cell<bool>,
    ) -> Result<(), String> {
        let because = |error: &gix::Error| {
            full.set(full.get() || is_no_space(error));
            causes(error)
        };
        let names = gix::validate::path::component::Options {
            // Linux has files that are called aux.c.
            protect_windows: false,
            ..Default::default()
        };
        let index = gix::index::State::from_tree(&files.tree, &repository.objects, names);
        let mut index = index.map_err(|error| because(&error))?;
        links_stay_inside(&index, repository)?;
        let options = repository.checkout_options(Source::IdMapping);
        let mut options = options.map_err(|error| because(&error))?;
        options.destination_is_initially_empty = true;
        options.validate = names;
        let objects = repository.objects.clone().into_arc();
        let objects = objects.map_err(|error| causes(&error))?;
        let done = Counter(Arc::new(AtomicUsize::new(0)));
        let bytes = Counter(Arc::new(AtomicUsize::new(0)));
        let deadline = Instant::now() + self.access.limits.fetch;
        let ticking = || written(done.step() as u64);
        let (outcome, late) = watched(deadline, ticking, |stop| {
            gix::worktree::state::checkout(&mut index, dir, objects, &done, &bytes, stop, options)
        });
        let outcome = outcome.map_err(|error| because(&error))?;
        if late {
            return Err("writing its files takes too long".to_owned());
        }
        if let Some(error) = outcome.errors.first() {
            let path = line(&error.path.to_string());
            return Err(format!("{path}: {}", because(&error.error)));
        }
        if let Some(collision) = outcome.collisions.first() {
            let path = line(&collision.path.to_string());
            return Err(format!("{path} already exists"));
        }
        written(files.count);
        Ok(())
    }
}

/// Refuses what tarballs may not have either: through such a link a build would read and write whatever it names.
fn links_stay_inside(
    index: &gix::index::State,
    repository: &gix::Repository,
) -> Result<(), String> {
    let is_link = |entry: &&gix::index::Entry| entry.mode == gix::index::entry::Mode::SYMLINK;
    for entry in index.entries().iter().filter(is_link) {
        let link = repository.find_object(entry.id);
        let link = link.map_err(|error| causes(&error))?;
        let path = entry.path(index);
        let dir = Path::new(OsStr::from_bytes(path)).parent();
        let target = Path::new(OsStr::from_bytes(&link.data));
        if !dir.is_some_and(|dir| stays_inside(target, dir)) {
            let path = line(&path.to_string());
            return Err(format!("{path} is a link that leads outside"));
        }
    }
    Ok(())
}
