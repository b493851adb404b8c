//! Source trees: built beside them where make lets us, and cached where git names their content.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use ktstr_core::KernelLabel;

use super::kernel::{Build, Built};
use super::place::{self, Place};
use super::{Job, config, space};
use crate::cache::{BUILD_WAIT, CacheEntry, CacheKey, ConfigOrigin, Metadata, Source, tree_hash};
use crate::error::{CACHE_HINT, Error};
use crate::git::GitState;
use crate::lock::TreeLock;
use crate::make::{Ccache, Make};
use crate::process::Runner;
use crate::progress::{Event, Stage};
use crate::resolved::ResolvedKernel;
use crate::tree::KernelTree;
use crate::x86_64::ARCH;

/// How often a tree may change while we wait to build in it.
const TRIES: usize = 4;

/// What there is to build in a tree, as it is now.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    git: GitState,
    origin: ConfigOrigin,
    /// Where git names the content.
    key: Option<CacheKey>,
}

impl Plan {
    fn of(job: &Job<'_>, tree: &KernelTree) -> Result<Self, Error> {
        let base = job.options.base_config;
        let origin = if job.options.clean {
            // `make mrproper` takes any `.config` away.
            ConfigOrigin::Base(base)
        } else {
            config::origin(tree.path(), base)?
        };
        let git = GitState::of(tree.path(), &job.options.path);
        let key = match &git {
            GitState::Clean { commit } => {
                let key = CacheKey::local(commit, ARCH, &origin)?;
                Some(job.options.variant(key)?)
            }
            GitState::Dirty | GitState::Unknown(_) => None,
        };
        Ok(Self { git, origin, key })
    }

    /// Its cache entry, unless that is to be built again.
    fn cached(&self, job: &Job<'_>, replaced: &mut dyn FnMut(String)) -> Option<CacheEntry> {
        let (Some(key), GitState::Clean { commit }) = (&self.key, &self.git) else {
            return None;
        };
        // The key has seven digits of it.
        let same = |metadata: &Metadata| matches!(&metadata.source, Source::Local { commit: built, .. } if built == commit);
        job.usable(key, same, replaced)
    }
}

/// The kernel of a source tree.
pub(crate) fn resolve(job: &Job<'_>, tree: &KernelTree) -> Result<ResolvedKernel, Error> {
    let path = tree.path();
    let mut note = None;
    for _ in 0..TRIES {
        let plan = Plan::of(job, tree)?;
        if let Some(entry) = plan.cached(job, &mut |text| note = Some(text)) {
            return hit(job, tree, &entry);
        }
        let version = tree.version()?;
        job.check_sched_ext(path, &version, Some(tree))?;
        Error::check_tree_path(path)?;
        job.prepare()?;
        job.check_pahole(&version, Some(tree))?;
        let key_lock = plan.key.as_ref().map(|key| job.lock(key));
        let _key_lock = key_lock.transpose()?;
        let tree_lock = TreeLock::acquire(
            &place::tree_lock(job.cache, path),
            &format!("the source tree {}", path.display()),
            BUILD_WAIT,
            |holder| match (&plan.key, holder) {
                (Some(key), holder) => job.progress.event(Event::Waiting { key, holder }),
                (None, Some(holder)) => job.note(&format!(
                    "waiting for {holder}, which builds {}",
                    path.display()
                )),
                (None, None) => {
                    job.note(&format!("waiting: somebody builds {}", path.display()));
                }
            },
        )?;
        job.cache.sweep(plan.key.as_ref());
        place::sweep(job.cache);
        // Others may have committed, configured or built meanwhile.
        if Plan::of(job, tree)? != plan {
            continue;
        }
        if let Some(entry) = plan.cached(job, &mut |text| note = Some(text)) {
            return hit(job, tree, &entry);
        }
        if let Some(text) = note {
            job.note(&text);
        }
        return build(job, tree, &plan, tree_lock.file());
    }
    Err(Error::Restless {
        tree: path.to_owned(),
    })
}

/// The label is of the tree that was asked for: its twin of the same commit may be cached.
fn hit(job: &Job<'_>, tree: &KernelTree, entry: &CacheEntry) -> Result<ResolvedKernel, Error> {
    if job.options.clean {
        job.note(
            "nothing was cleaned: this commit is built and cached already; --force builds it again",
        );
    }
    let mut kernel = job.hit(entry)?;
    kernel.label = KernelLabel::from_path(tree.path(), false);
    Ok(kernel)
}

fn build(
    job: &Job<'_>,
    tree: &KernelTree,
    plan: &Plan,
    lock: &File,
) -> Result<ResolvedKernel, Error> {
    let path = tree.path();
    let name = format!("tree-{}", tree_hash(path));
    let log = plan.key.as_ref().map_or(name.as_str(), CacheKey::as_str);
    let runner = || Runner {
        dir: path,
        lock,
        log: job.cache.logs_dir().join(format!("{log}.log")),
        out: None,
        full_hint: "",
        limit: BUILD_WAIT,
    };
    if job.options.clean {
        clean(job, &runner(), path)?;
    }
    let place = Place::of(path, job.cache);
    note_uncached(job, path, &plan.git, &place);
    place.prepare()?;
    // Where a kernel is built already, most of it is there.
    if !place.dir().join("vmlinux").exists() {
        let hint = place.out().map_or("", |_| CACHE_HINT);
        space::check(place.dir(), space::of_build(&plan.origin), hint)?;
    }
    let build = Build {
        job: *job,
        tree,
        origin: &plan.origin,
        place: &place,
        runner: Runner {
            out: place.out(),
            full_hint: place.out().map_or("", |_| CACHE_HINT),
            ..runner()
        },
    };
    let built = build.run(plan.key.is_none())?;
    build.write_compile_commands();
    let (Some(key), GitState::Clean { commit }) = (&plan.key, &plan.git) else {
        return Ok(built.kernel);
    };
    if GitState::of(path, &job.options.path) != plan.git {
        job.note(&format!(
            "{}: it changed while it was built; the kernel is used, but not cached",
            path.display()
        ));
        return mixed(tree, built, &place);
    }
    let source = Source::Local {
        path: path.to_owned(),
        commit: commit.clone(),
    };
    build.store(&built, key, source)
}

/// `make mrproper`, and away with what was built elsewhere.
fn clean(job: &Job<'_>, runner: &Runner<'_>, tree: &Path) -> Result<(), Error> {
    runner.start_log()?;
    let make = Make {
        runner,
        out: None,
        jobs: job.options.jobs,
        path: &job.options.path,
        toolchain: &job.options.toolchain,
        ccache: Ccache::Off,
    };
    let out = job.cache.build_dir(tree);
    job.stage(Stage::Clean, None, || {
        make.run("mrproper", config::CONFIG, &mut |_| {})?;
        match fs::remove_dir_all(&out) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io(&out, "remove", error))
            }
            _ => Ok(()),
        }
    })
}

/// Nobody can say what such a kernel was built from.
fn mixed(tree: &KernelTree, built: Built, place: &Place) -> Result<ResolvedKernel, Error> {
    let kernel = ResolvedKernel::from_build(tree, place.dir(), true)?;
    Ok(ResolvedKernel {
        version: built.kernel.version,
        config: built.kernel.config,
        ..kernel
    })
}

fn note_uncached(job: &Job<'_>, tree: &Path, git: &GitState, place: &Place) {
    let why = match git {
        GitState::Clean { .. } => None,
        GitState::Dirty => Some("it has uncommitted changes".to_owned()),
        GitState::Unknown(None) => Some("it is not a git repository".to_owned()),
        GitState::Unknown(Some(why)) => Some(why.clone()),
    };
    let tree = tree.display();
    if let Some(why) = why {
        job.note(&format!("{tree}: {why}; built each time, not cached"));
    }
    if let Place::InTree(_) = place {
        job.note(&format!(
            "{tree}: it has a .config or a build of its own, so that make builds it only in place; its .config stays as it is"
        ));
    }
}
