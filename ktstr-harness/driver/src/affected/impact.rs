//! What a change affects: the engine, which decides for every changed file by the rules of [`Rule`].

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ktstr_core::host::Host;

use super::changes::{self, Files};
use super::inputs::Inputs;
use super::named::Named;
use super::project::{Index, Project};
use super::rules::{self, Rule};
use super::unseen;
use crate::baseline::{self, Baseline, BaselineRequest};
use crate::git::Git;

/// What the changes since a baseline affect, of the packages of a project.
#[derive(Debug, Clone)]
pub struct Impact {
    /// What the work tree was compared with; `None` where that cannot be told.
    pub baseline: Option<Baseline>,
    /// Why everything counts as affected although no file says so: one clause each.
    pub uncertain: Vec<String>,
    /// The changed files, in order.
    pub files: Vec<FileImpact>,
    /// Names of packages, by those of their programs.
    pub(super) programs: BTreeMap<String, BTreeSet<String>>,
    /// Names of all packages.
    pub(super) known: BTreeSet<String>,
    /// And by their directories, from the root of the repository on.
    pub(super) dirs: BTreeMap<PathBuf, String>,
    /// Root of the repository.
    pub(super) root: PathBuf,
}

/// What a changed file affects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileImpact {
    /// Its path from the root of the repository on.
    pub path: PathBuf,
    /// Why, and which package that concerns first: none for a rule by which everything is affected, or nothing.
    pub causes: Vec<(Rule, Option<String>)>,
    /// Names of the packages that those reach, themselves included, as dependencies of whatever kind.
    pub packages: Arc<BTreeSet<String>>,
    /// The path, and the others by which symbolic links lead to the file.
    pub names: BTreeSet<PathBuf>,
}

impl FileImpact {
    /// Whether everything is affected.
    pub fn is_everything(&self) -> bool {
        self.causes.iter().any(|(rule, _)| rule.is_everything())
    }
}

impl Impact {
    /// An impact that is known already, such as one that a program shows.
    pub fn new(baseline: Option<Baseline>, files: Vec<FileImpact>) -> Self {
        Self {
            baseline,
            uncertain: Vec::new(),
            files,
            programs: BTreeMap::new(),
            known: BTreeSet::new(),
            dirs: BTreeMap::new(),
            root: PathBuf::new(),
        }
    }

    /// Compares the work tree around `dir` with the baseline that is asked for. `cargo_args` are more arguments for
    /// `cargo metadata`, such as `--offline`.
    ///
    /// Whatever cannot be told makes everything count as affected.
    pub fn examine(
        host: &Host,
        dir: &Path,
        request: &BaselineRequest,
        cargo_args: &[OsString],
    ) -> Self {
        let mut impact = Self::new(None, Vec::new());
        if let Err(why) = impact.find(host, dir, request, cargo_args) {
            impact.uncertain.push(why);
        }
        impact
    }

    /// Whether everything is affected.
    pub fn is_everything(&self) -> bool {
        !self.uncertain.is_empty() || self.files.iter().any(FileImpact::is_everything)
    }

    /// Whether nothing is.
    pub fn is_nothing(&self) -> bool {
        !self.is_everything() && self.files.iter().all(|file| file.packages.is_empty())
    }

    /// Names of all packages that the changes reach. Where [everything](Self::is_everything) is affected, there are more.
    pub fn packages(&self) -> BTreeSet<&str> {
        let packages = self.files.iter().flat_map(|file| file.packages.iter());
        packages.map(String::as_str).collect()
    }

    fn find(
        &mut self,
        host: &Host,
        dir: &Path,
        request: &BaselineRequest,
        cargo_args: &[OsString],
    ) -> Result<(), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let found = baseline::resolve(host, dir, request).map_err(|error| text(&error))?;
        let root = Git::new(host, dir)
            .work_tree()
            .map_err(|error| text(&error))?;
        self.root.clone_from(&root);
        let git = Git::new(host, &root);
        let is_certain = found.is_certain();
        let (baseline, with) = (self.baseline.insert(found).clone(), &root);
        let files = Files::read(&git, with).map_err(|error| text(&error))?;
        let changed = changes::changed(&git, &baseline, &files).map_err(|error| text(&error))?;
        if !is_certain {
            let why = "the clone is shallow: the newest common ancestor may be missing; fetch all of it (git fetch --unshallow; fetch-depth: 0 of actions/checkout)";
            self.uncertain.push(why.to_owned());
        }
        if changed.is_empty() {
            return Ok(());
        }
        let project = Project::read(host, dir, &root, cargo_args)?;
        self.programs = project
            .by_target()
            .into_iter()
            .map(|(target, owners)| (target.to_owned(), names_of(&owners, &project)))
            .collect();
        self.known = names_of(&project.all(), &project);
        let dirs = project.packages.iter();
        self.dirs = dirs
            .filter_map(|it| Some((it.dir.clone()?, it.name.clone())))
            .collect();
        let inputs = Inputs::read(&project);
        let all: BTreeSet<PathBuf> = changed.iter().flat_map(|path| files.names(path)).collect();
        let named = Named::read(&project, &files, &inputs, all)?;
        let mut engine = Engine {
            project: &project,
            files: &files,
            inputs: &inputs,
            named: &named,
            reached: BTreeMap::new(),
        };
        self.files = changed.into_iter().map(|path| engine.judge(path)).collect();
        if !self
            .files
            .iter()
            .all(|file| file.packages.is_empty() && !file.is_everything())
        {
            let since = unseen::time_of(&git, &baseline).map_err(|error| text(&error))?;
            self.files.extend(engine.unseen(since));
        }
        Ok(())
    }
}

/// Why a file matters, and the package that it is.
type Causes = BTreeSet<(Rule, Option<Index>)>;

struct Engine<'p> {
    project: &'p Project,
    files: &'p Files,
    inputs: &'p Inputs,
    named: &'p Named<'p>,
    /// Names of what a package reaches.
    reached: BTreeMap<BTreeSet<Index>, Arc<BTreeSet<String>>>,
}

impl Engine<'_> {
    fn judge(&mut self, path: PathBuf) -> FileImpact {
        let names = self.files.names(&path);
        let causes = self.causes(&names);
        self.impact(path, names, causes)
    }

    fn causes(&self, names: &BTreeSet<PathBuf>) -> Causes {
        if let Some(rule) = names.iter().find_map(|name| self.global(name)) {
            return Causes::from([(rule, None)]);
        }
        let readers: Causes = names.iter().flat_map(|name| self.readers(name)).collect();
        if names.iter().all(|name| self.is_documentation(name)) {
            return if readers.is_empty() {
                Causes::from([(Rule::Documentation, None)])
            } else {
                readers
            };
        }
        let owners: Causes = names.iter().flat_map(|name| self.owners(name)).collect();
        if owners.is_empty() && readers.is_empty() {
            return Causes::from([(Rule::Unattributed, None)]);
        }
        if owners.is_empty() {
            // Who does not tell what it reads may read this.
            return readers.into_iter().chain(self.untold()).collect();
        }
        // That it is its own says enough.
        let own: BTreeSet<Option<Index>> = owners.iter().map(|(_, index)| *index).collect();
        let others = readers
            .into_iter()
            .filter(|(_, index)| !own.contains(index));
        owners.into_iter().chain(others).collect()
    }

    /// The rule by which everything is affected, if there is one.
    fn global(&self, path: &Path) -> Option<Rule> {
        let scripts = self.project.packages.iter();
        let mut scripts = scripts.filter_map(|package| package.build_script.as_deref());
        // A whole directory may have changed.
        // One that is gone has been a package's by its name.
        let is_named = path.ends_with("build.rs") && {
            let mut packages = self.project.packages.iter();
            packages.any(|package| package.dir.as_deref() == path.parent())
        };
        if is_named
            || scripts.any(|script| script.starts_with(path))
            || self.inputs.is_of_script(path)
        {
            return Some(Rule::BuildScript);
        }
        rules::global(path, self.project.workspace.as_deref())
    }

    /// The packages that have `path` in their directories, and those in it.
    fn owners(&self, path: &Path) -> Causes {
        let owner = self
            .project
            .owner(path)
            .filter(|owner| self.has(*owner, path));
        let owners = owner.into_iter().chain(self.project.inside(path));
        owners.map(|index| (Rule::InPackage, Some(index))).collect()
    }

    /// Whether `path` is one of the package's own. The directory of a package at the root has what belongs to nobody as well.
    fn has(&self, index: Index, path: &Path) -> bool {
        let package = &self.project.packages[index];
        let dir = package.dir.as_deref().unwrap_or(Path::new(""));
        if Some(dir) != self.project.workspace.as_deref() {
            return true;
        }
        let is_near = |root: &PathBuf| {
            let around = root.parent().filter(|around| *around != dir);
            root == path || around.is_some_and(|around| path.starts_with(around))
        };
        rules::is_code(path.strip_prefix(dir).unwrap_or(path)) || package.roots.iter().any(is_near)
    }

    /// The packages that are known to be made from `path`, wherever it is.
    fn readers(&self, path: &Path) -> Causes {
        let cause = |rule: Rule| move |index: Index| (rule, Some(index));
        let mut causes: Causes = self
            .inputs
            .readers(path)
            .into_iter()
            .map(cause(Rule::BuildInput))
            .collect();
        causes.extend(self.named.by_dir(path).into_iter().map(cause(Rule::Named)));
        for source in self.named.by(path) {
            causes.extend(self.project.owner(&source).map(cause(Rule::Named)));
            causes.extend(
                self.inputs
                    .readers(&source)
                    .into_iter()
                    .map(cause(Rule::Named)),
            );
            causes.extend(
                self.named
                    .by_dir(&source)
                    .into_iter()
                    .map(cause(Rule::Named)),
            );
        }
        causes
    }

    fn is_documentation(&self, path: &Path) -> bool {
        let dir = self
            .project
            .owner(path)
            .and_then(|it| self.project.packages[it].dir.as_deref());
        let inner = path
            .strip_prefix(dir.unwrap_or(Path::new("")))
            .unwrap_or(path);
        rules::is_documentation(path) && !(dir.is_some() && rules::is_text_of_code(inner))
    }

    /// The packages whose build scripts may read anything.
    fn untold(&self) -> Causes {
        let packages = self.project.packages.iter().enumerate();
        let untold = packages.filter(|(index, package)| {
            package.build_script.is_some() && !self.inputs.knows_script_of(*index)
        });
        untold
            .map(|(index, _)| (Rule::UnknownInputs, Some(index)))
            .collect()
    }

    /// The packages whose changes git does not tell, outside of the repository or ignored, and that may have changed since
    /// the time `since`.
    fn unseen(&mut self, since: i64) -> Vec<FileImpact> {
        let packages = self.project.packages.iter().enumerate();
        let unseen = packages.filter(|(_, package)| {
            let manifest = package.dir.as_ref().map(|dir| dir.join("Cargo.toml"));
            manifest.is_none_or(|manifest| !self.files.sees(&manifest))
                && unseen::changed_since(&package.manifest_dir, since)
        });
        let unseen: Vec<Index> = unseen.map(|(index, _)| index).collect();
        let impact = |index: Index| {
            let dir = self.project.packages[index].manifest_dir.clone();
            let causes = Causes::from([(Rule::Unseen, Some(index))]);
            self.impact(dir, BTreeSet::new(), causes)
        };
        unseen.into_iter().map(impact).collect()
    }

    fn impact(&mut self, path: PathBuf, names: BTreeSet<PathBuf>, causes: Causes) -> FileImpact {
        let changed: BTreeSet<Index> = causes.iter().filter_map(|(_, index)| *index).collect();
        let project = self.project;
        let packages = self
            .reached
            .entry(changed)
            .or_insert_with_key(|changed| Arc::new(names_of(&project.reached(changed), project)));
        let packages = Arc::clone(packages);
        let name = |index: Index| project.packages[index].name.clone();
        FileImpact {
            path,
            causes: causes
                .into_iter()
                .map(|(rule, index)| (rule, index.map(name)))
                .collect(),
            packages,
            names,
        }
    }
}

fn names_of(packages: &BTreeSet<Index>, project: &Project) -> BTreeSet<String> {
    packages
        .iter()
        .map(|index| project.packages[*index].name.clone())
        .collect()
}
