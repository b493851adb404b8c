//! The packages of a project, and which of them a change of one reaches.
//!
//! Cargo's metadata has every dependency of all targets, with all features; the graph is guppy's.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use guppy::PackageId;
use guppy::graph::{BuildTargetId, DependencyDirection, PackageGraph, PackageMetadata};
use ktstr_core::host::Host;
use ktstr_core::text;

use super::paths;
use crate::bounded::{self, Limits};
use crate::{cargo, process};

/// Cargo may have to fetch packages.
const LIMITS: Limits = Limits {
    time: Duration::from_secs(600),
    output: 256 << 20,
};

/// A package whose sources are on this host: of the workspace, or a dependency that is given by its path.
#[derive(Debug, Clone)]
pub(super) struct Package {
    pub(super) name: String,
    /// Its directory from the root of the repository on; `None` outside of that.
    pub(super) dir: Option<PathBuf>,
    /// Likewise, as cargo names it.
    pub(super) manifest_dir: PathBuf,
    /// Roots of its targets, from the root of the repository on.
    pub(super) roots: Vec<PathBuf>,
    /// Root of its build script, likewise.
    pub(super) build_script: Option<PathBuf>,
    /// Names of its library, programs and examples, as files of cargo are called after them.
    pub(super) targets: BTreeSet<String>,
    id: PackageId,
}

/// Position of a package in [`Project::packages`].
pub(super) type Index = usize;

#[derive(Debug)]
pub(super) struct Project {
    pub(super) packages: Vec<Package>,
    /// Root of the workspace from the root of the repository on; `None` outside of that.
    pub(super) workspace: Option<PathBuf>,
    /// Root of the workspace as cargo names it.
    pub(super) workspace_dir: PathBuf,
    /// Where cargo builds.
    pub(super) target_dirs: Vec<PathBuf>,
    /// Root of the repository.
    pub(super) root: PathBuf,
    graph: PackageGraph,
}

impl Project {
    /// Asks cargo about the project around `dir`, in the repository at `root`; `args` are more arguments for
    /// `cargo metadata`. The error is a clause.
    pub(super) fn read(
        host: &Host,
        dir: &Path,
        root: &Path,
        args: &[OsString],
    ) -> Result<Self, String> {
        let mut command = process::command(host, cargo::program(host));
        command
            .args(["metadata", "--format-version", "1", "--all-features"])
            .args(args)
            .current_dir(dir);
        let answer = bounded::answer(&mut command, LIMITS)
            .map_err(|why| format!("cargo metadata: {why}"))?;
        if !answer.status.success() || !answer.is_whole {
            let said = text::line(&text::plain(&String::from_utf8_lossy(&answer.stderr)));
            return Err(format!("cargo metadata fails: {}", text::cut(&said, 200)));
        }
        let unreadable = |why: &dyn std::fmt::Display| format!("cargo metadata: {why}");
        let json = String::from_utf8(answer.stdout).map_err(|error| unreadable(&error))?;
        let graph = PackageGraph::from_json(json).map_err(|error| unreadable(&error))?;
        Ok(Self::of(graph, root))
    }

    fn of(graph: PackageGraph, root: &Path) -> Self {
        let workspace = graph.workspace();
        let workspace_dir: PathBuf = workspace.root().into();
        let target_dirs = [
            Some(workspace.target_directory()),
            workspace.build_directory(),
        ];
        let target_dirs: BTreeSet<PathBuf> =
            target_dirs.into_iter().flatten().map(Into::into).collect();
        let local = graph.packages().filter(|it| it.source().is_local());
        let mut packages: Vec<Package> = local.map(|it| package(&it, root)).collect();
        packages.sort_by(|a, b| a.id.cmp(&b.id));
        Self {
            packages,
            workspace: below(root, &workspace_dir),
            workspace_dir,
            target_dirs: target_dirs.into_iter().collect(),
            root: root.to_owned(),
            graph,
        }
    }

    /// `path`, as cargo or a compiler names it, from the root of the repository on.
    pub(super) fn in_repository(&self, path: &Path) -> Option<PathBuf> {
        below(&self.root, path)
    }

    /// The package whose directory is the nearest one around `path`.
    pub(super) fn owner(&self, path: &Path) -> Option<Index> {
        let depth = |dir: &Path| dir.components().count();
        let dirs = self.packages.iter().enumerate();
        let around = dirs.filter_map(|(index, package)| {
            let dir = package.dir.as_deref()?;
            path.starts_with(dir).then_some((depth(dir), index))
        });
        around.max().map(|(_, index)| index)
    }

    /// The packages in `dir`, and below.
    pub(super) fn inside(&self, dir: &Path) -> impl Iterator<Item = Index> {
        let packages = self.packages.iter().enumerate();
        packages.filter_map(move |(index, package)| {
            package.dir.as_deref()?.starts_with(dir).then_some(index)
        })
    }

    /// Every package that a change of `changed` reaches, those included: what depends on them, on whatever platform and
    /// with whatever features, directly or by others. A dependency of tests alone (`dev-dependencies`) goes no further than
    /// to the package that has those tests.
    pub(super) fn reached(&self, changed: &BTreeSet<Index>) -> BTreeSet<Index> {
        let ids = changed.iter().map(|index| &self.packages[*index].id);
        let Ok(query) = self.graph.query_reverse(ids) else {
            // The identifiers are the graph's own.
            return (0..self.packages.len()).collect();
        };
        let compiled = query.resolve_with_fn(|_, link| !link.dev_only());
        let compiled: Vec<PackageMetadata<'_>> =
            compiled.packages(DependencyDirection::Reverse).collect();
        let tested = compiled
            .iter()
            .flat_map(PackageMetadata::reverse_direct_links)
            .map(|link| link.from().id());
        let ids: BTreeSet<&PackageId> = compiled
            .iter()
            .map(PackageMetadata::id)
            .chain(tested)
            .collect();
        let packages = self.packages.iter().enumerate();
        packages
            .filter(|(_, package)| ids.contains(&package.id))
            .map(|(index, _)| index)
            .collect()
    }

    /// Packages by the names that cargo gives to what it makes of their targets.
    pub(super) fn by_target(&self) -> BTreeMap<&str, BTreeSet<Index>> {
        let mut by_target: BTreeMap<&str, BTreeSet<Index>> = BTreeMap::new();
        for (index, package) in self.packages.iter().enumerate() {
            for target in &package.targets {
                by_target.entry(target).or_default().insert(index);
            }
        }
        by_target
    }

    /// Every package.
    pub(super) fn all(&self) -> BTreeSet<Index> {
        (0..self.packages.len()).collect()
    }
}

fn package(metadata: &PackageMetadata<'_>, root: &Path) -> Package {
    let manifest_dir: PathBuf = metadata
        .manifest_path()
        .parent()
        .unwrap_or(metadata.manifest_path())
        .into();
    let dir = below(root, &manifest_dir);
    let root_of = |path: &guppy::graph::BuildTarget<'_>| below(root, path.path().as_std_path());
    let is_script = |id: &BuildTargetId<'_>| matches!(id, BuildTargetId::BuildScript);
    let targets = || metadata.build_targets();
    let mut scripts = targets().filter(|it| is_script(&it.id()));
    Package {
        name: metadata.name().to_owned(),
        dir,
        manifest_dir,
        roots: targets()
            .filter(|it| !is_script(&it.id()))
            .filter_map(|it| root_of(&it))
            .collect(),
        build_script: scripts.next().and_then(|it| root_of(&it)),
        targets: targets()
            .filter(|it| !is_script(&it.id()))
            // Libraries and crates have `_` for `-`, programs their own name.
            .flat_map(|it| [it.name().to_owned(), it.name().replace('-', "_")])
            .collect(),
        id: metadata.id().clone(),
    }
}

/// `path` from `root` on; also where one of them is named by way of a symbolic link.
pub(super) fn below(root: &Path, path: &Path) -> Option<PathBuf> {
    let path = paths::normal(path);
    if let Ok(below) = path.strip_prefix(root) {
        return Some(below.to_owned());
    }
    // What is gone has a directory that may be there.
    let mut parts = vec![];
    let mut there = path.as_path();
    loop {
        if let Ok(real) = there.canonicalize() {
            let real = parts.iter().rev().fold(real, |real, part| real.join(part));
            return Some(real.strip_prefix(root).ok()?.to_owned());
        }
        parts.push(there.file_name()?.to_owned());
        there = there.parent()?;
    }
}
