//! Source trees: built in place, and cached where git names their content.

use std::fs::File;
use std::path::Path;

use ktstr_core::KernelLabel;
use xxhash_rust::xxh3::xxh3_64;

use super::kernel::{Build, Built};
use super::{Job, config, space};
use crate::cache::{BUILD_WAIT, CacheEntry, CacheKey, ConfigOrigin, Metadata, Source};
use crate::error::Error;
use crate::git::GitState;
use crate::lock::TreeLock;
use crate::process::Runner;
use crate::progress::Event;
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
            config::origin(tree.path(), base, job.options.extra_hash())?
        };
        let git = GitState::of(tree.path(), &job.options.path);
        let key = match &git {
            GitState::Clean { commit } => Some(
                CacheKey::local(commit, ARCH, &origin)?
                    .with_extra_kconfig(job.options.extra_hash())?,
            ),
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
        Error::check_tree_path(path)?;
        job.prepare()?;
        let key_lock = plan.key.as_ref().map(|key| job.lock(key));
        let _key_lock = key_lock.transpose()?;
        let name = format!("tree-{:016x}", xxh3_64(path.as_os_str().as_encoded_bytes()));
        let tree_lock = TreeLock::acquire(
            &job.cache.locks_dir().join(format!("{name}.lock")),
            &format!("the source tree {}", path.display()),
            BUILD_WAIT,
            |holder| match (&plan.key, holder) {
                (Some(key), holder) => job.progress.event(Event::Waiting { key, holder }),
                (None, Some(holder)) => job.note(&format!(
                    "waiting for {holder}, which builds in {}",
                    path.display()
                )),
                (None, None) => {
                    job.note(&format!("waiting: somebody builds in {}", path.display()));
                }
            },
        )?;
        job.cache.sweep(plan.key.as_ref());
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
        return build(job, tree, &plan, &name, tree_lock.file());
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
    name: &str,
    lock: &File,
) -> Result<ResolvedKernel, Error> {
    let path = tree.path();
    note_uncached(job, path, &plan.git);
    // Where a kernel is built already, most of it is there.
    if !path.join("vmlinux").exists() || job.options.clean {
        space::check(path, space::of_build(&plan.origin), "")?;
    }
    let log = plan.key.as_ref().map_or(name, CacheKey::as_str);
    let build = Build {
        job: *job,
        tree,
        origin: &plan.origin,
        scratch: false,
        runner: Runner {
            dir: path,
            lock,
            log: job.cache.logs_dir().join(format!("{log}.log")),
            full_hint: "",
            limit: BUILD_WAIT,
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
        return mixed(tree, built);
    }
    let source = Source::Local {
        path: path.to_owned(),
        commit: commit.clone(),
    };
    build.store(&built, key, source)
}

/// Nobody can say what such a kernel was built from.
fn mixed(tree: &KernelTree, built: Built) -> Result<ResolvedKernel, Error> {
    let kernel = ResolvedKernel::from_built_tree(tree, true)?;
    Ok(ResolvedKernel {
        version: built.kernel.version,
        ..kernel
    })
}

fn note_uncached(job: &Job<'_>, tree: &Path, git: &GitState) {
    let why = match git {
        GitState::Clean { .. } => return,
        GitState::Dirty => "it has uncommitted changes".to_owned(),
        GitState::Unknown(None) => "it is not a git repository".to_owned(),
        GitState::Unknown(Some(why)) => why.clone(),
    };
    let tree = tree.display();
    job.note(&format!("{tree}: {why}; built in place, not cached"));
}
