//! A look at a commit's tree before any file of it is written.
//!
//! A small repository can hold a tree of any size, for trees share what they have in common; and two entries of one
//! name, a link and a directory, lead out of the directory that is written.

use std::collections::{HashSet, VecDeque};
use std::ops::ControlFlow;

use gix::bstr::{BStr, BString};
use gix::objs::tree::EntryRef;
use gix::traverse::tree::{Visit, visit};

use super::Limits;

/// Longest path within a tree, bytes.
const PATH_LIMIT: usize = 2048;

/// All paths of a tree together, bytes: eight times what Linux 6.12 has.
const PATHS_LIMIT: usize = 64 << 20;

/// Counts a tree while it is traversed, breadth first.
pub(super) struct Audit<'a> {
    limits: &'a Limits,
    size_of: &'a dyn Fn(&gix::oid) -> Option<u64>,
    /// Names in the directory that is being looked at.
    names: HashSet<BString>,
    /// Length of its path, and of the paths that are to come.
    path: usize,
    waiting: VecDeque<usize>,
    paths: usize,
    size: u64,
    /// How many files there are.
    pub(super) files: u64,
    directories: u64,
    /// Why the traversal was ended.
    pub(super) fault: Option<String>,
}

impl<'a> Audit<'a> {
    /// `size_of` tells the size of a file.
    pub(super) fn new(limits: &'a Limits, size_of: &'a dyn Fn(&gix::oid) -> Option<u64>) -> Self {
        Self {
            limits,
            size_of,
            names: HashSet::new(),
            path: 0,
            waiting: VecDeque::new(),
            paths: 0,
            size: 0,
            files: 0,
            directories: 0,
            fault: None,
        }
    }

    fn look(&mut self, entry: &EntryRef<'_>) -> Result<(), String> {
        if !self.names.insert(entry.filename.to_owned()) {
            return Err(format!(
                "`{}` is twice in one directory",
                crate::text::line(&entry.filename.to_string())
            ));
        }
        let path = self.path + entry.filename.len() + 1;
        self.paths += path;
        if path > PATH_LIMIT || self.paths > PATHS_LIMIT {
            return Err("its paths are too long".to_owned());
        }
        if entry.mode.is_tree() {
            self.directories += 1;
        } else {
            self.files += 1;
        }
        if self.files + self.directories > self.limits.files {
            return Err(format!("it has more than {} files", self.limits.files));
        }
        if entry.mode.is_blob_or_symlink() {
            let size = (self.size_of)(entry.oid);
            let size = size.ok_or("the server left out one of its files")?;
            self.size = self.size.saturating_add(size);
        }
        if self.size > self.limits.files_size {
            let most = self.limits.files_size >> 20;
            return Err(format!("its files take more than {most} MiB"));
        }
        Ok(())
    }

    fn action(&mut self, entry: &EntryRef<'_>) -> visit::Action {
        match self.look(entry) {
            Ok(()) => ControlFlow::Continue(true),
            Err(fault) => {
                self.fault = Some(fault);
                ControlFlow::Break(())
            }
        }
    }
}

impl Visit for Audit<'_> {
    fn pop_back_tracked_path_and_set_current(&mut self) {}

    fn pop_front_tracked_path_and_set_current(&mut self) {
        self.names.clear();
        self.path = self.waiting.pop_front().unwrap_or_default();
    }

    fn push_back_tracked_path_component(&mut self, component: &BStr) {
        self.waiting.push_back(self.path + component.len() + 1);
    }

    fn push_path_component(&mut self, _: &BStr) {}

    fn pop_path_component(&mut self) {}

    fn visit_tree(&mut self, entry: &EntryRef<'_>) -> visit::Action {
        self.action(entry)
    }

    fn visit_nontree(&mut self, entry: &EntryRef<'_>) -> visit::Action {
        self.action(entry)
    }
}
