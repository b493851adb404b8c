//! What a session left behind.

use std::path::{Path, PathBuf};

use ktstr_core::{Outcome, RunDir, Sidecar};

/// One run directory that a session wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSummary {
    /// The directory.
    pub path: PathBuf,
    /// Sidecars in it.
    pub sidecars: Vec<Sidecar>,
}

impl RunSummary {
    /// The run directories below `runs` (or `only`, where one is set) that belong to `epoch`.
    pub fn of_epoch(runs: &Path, only: Option<&Path>, epoch: &str) -> Vec<Self> {
        let candidates: Vec<PathBuf> = match only {
            Some(dir) => vec![dir.to_owned()],
            None => std::fs::read_dir(runs)
                .into_iter()
                .flatten()
                .filter_map(|entry| Some(entry.ok()?.path()))
                .collect(),
        };
        let mut found: Vec<Self> = candidates
            .into_iter()
            .filter(|path| RunDir::last_epoch(path).as_deref() == Some(epoch))
            .map(|path| {
                let read = RunDir::new(&path, epoch).sidecars().unwrap_or_default();
                Self { path, sidecars: read.into_iter().filter_map(Result::ok).collect() }
            })
            .collect();
        found.sort_by(|a, b| a.path.cmp(&b.path));
        found
    }

    /// Names of the cases that ended as `outcome`.
    pub fn cases(&self, outcome: Outcome) -> impl Iterator<Item = &str> {
        self.sidecars
            .iter()
            .filter(move |sidecar| sidecar.verdict.outcome() == outcome)
            .map(|sidecar| sidecar.case.as_str())
    }
}

/// The nextest filter expression that selects exactly the case called `name`.
pub fn replay_filter(name: &str) -> String {
    format!("test(={name})")
}
