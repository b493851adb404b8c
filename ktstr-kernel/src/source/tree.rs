//! Source trees: built beside them where make lets us, and cached where git names their content.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use ktstr_core::KernelLabel;

use super::KernelSource;
use crate::build::build_dir::{self, BuildDir};
use crate::build::kernel::{Build, Built};
use crate::build::{Request, config, space};
use crate::cache::{
    BUILD_WAIT, CacheEntry, CacheKey, ConfigOrigin, Metadata, SourceRecord, tree_hash,
};
use crate::error::Error;
use crate::git::GitState;
use crate::lock::TreeLock;
use crate::make::{Ccache, Make};
use crate::no_space::CACHE_HINT;
use crate::process::Runner;
use crate::progress::{Event, Stage};
use crate::resolved::ResolvedKernel;
use crate::tree::KernelTree;
use crate::x86_64::ARCH;

/// How often a tree may change while we wait to build in it.
const TRIES: usize = 4;

/// What there is to build in a tree, as it is now.
#[derive(Debug, PartialEq, Eq)]
struct TreeState {
    git: GitState,
    origin: ConfigOrigin,
    /// Where git names the content.
    key: Option<CacheKey>,
}

impl TreeState {
    fn of(request: &Request<'_>, tree: &KernelTree) -> Result<Self, Error> {
        let base = request.options.base_config;
        let origin = if request.options.clean {
            // `make mrproper` takes any `.config` away.
            ConfigOrigin::Base(base)
        } else {
            config::origin(tree.path(), base)?
        };
        let git = GitState::of(&request.options.host, tree.path());
        let key = match &git {
            GitState::Clean { commit } => {
                let key = CacheKey::local(commit, ARCH, &origin)?;
                Some(request.options.variant(key)?)
            }
            GitState::Dirty | GitState::Unknown(_) => None,
        };
        Ok(Self { git, origin, key })
    }

    /// Its cache entry, unless that is to be built again.
    fn cached(
        &self,
        request: &Request<'_>,
        replaced: &mut dyn FnMut(String),
    ) -> Option<CacheEntry> {
        let (Some(key), GitState::Clean { commit }) = (&self.key, &self.git) else {
            return None;
        };
        // The key has seven digits of it.
        let same = |metadata: &Metadata| matches!(&metadata.source, SourceRecord::Local { commit: built, .. } if built == commit);
        request.usable(key, same, replaced)
    }
}

/// A source tree on disk.
pub(super) struct TreeSource {
    pub(super) tree: KernelTree,
}

impl KernelSource for TreeSource {
    /// A tree may change until its turn comes: it is looked at when its kernel is prepared.
    fn look_up(&self, _: &Request<'_>) -> Result<Option<ResolvedKernel>, Error> {
        Ok(None)
    }

    fn prepare(&self, request: &Request<'_>) -> Result<ResolvedKernel, Error> {
        resolve(request, &self.tree)
    }
}

/// The kernel of a source tree.
fn resolve(request: &Request<'_>, tree: &KernelTree) -> Result<ResolvedKernel, Error> {
    let path = tree.path();
    let mut note = None;
    for _ in 0..TRIES {
        let state = TreeState::of(request, tree)?;
        if let Some(entry) = state.cached(request, &mut |text| note = Some(text)) {
            return hit(request, tree, &entry);
        }
        let version = tree.version()?;
        request.check_sched_ext(path, &version, Some(tree))?;
        Error::check_tree_path(path)?;
        request.prepare()?;
        request.check_pahole(&version, Some(tree))?;
        let key_lock = state.key.as_ref().map(|key| request.lock(key));
        let _key_lock = key_lock.transpose()?;
        let tree_lock = TreeLock::acquire(
            &request.cache.tree_lock(path),
            &format!("the source tree {}", path.display()),
            BUILD_WAIT,
            |holder| match (&state.key, holder) {
                (Some(key), holder) => request.progress.event(Event::Waiting { key, holder }),
                (None, Some(holder)) => request.note(&format!(
                    "waiting for {holder}, which builds {}",
                    path.display()
                )),
                (None, None) => {
                    request.note(&format!("waiting for another build of {}", path.display()));
                }
            },
        )?;
        request.cache.sweep(state.key.as_ref());
        build_dir::sweep(request.cache);
        // Others may have committed, configured or built meanwhile.
        if TreeState::of(request, tree)? != state {
            continue;
        }
        if let Some(entry) = state.cached(request, &mut |text| note = Some(text)) {
            return hit(request, tree, &entry);
        }
        if let Some(text) = note {
            request.note(&text);
        }
        return build(request, tree, &state, tree_lock.file());
    }
    Err(Error::TreeKeptChanging {
        tree: path.to_owned(),
    })
}

/// The label is of the tree that was asked for: its twin of the same commit may be cached.
fn hit(
    request: &Request<'_>,
    tree: &KernelTree,
    entry: &CacheEntry,
) -> Result<ResolvedKernel, Error> {
    if request.options.clean {
        request.note(
            "nothing was cleaned: this commit is built and cached already, and is built again only when that is asked for",
        );
    }
    let mut kernel = request.hit(entry)?;
    kernel.label = KernelLabel::from_path(tree.path(), false);
    Ok(kernel)
}

fn build(
    request: &Request<'_>,
    tree: &KernelTree,
    state: &TreeState,
    lock: &File,
) -> Result<ResolvedKernel, Error> {
    let path = tree.path();
    let name = format!("tree-{}", tree_hash(path));
    let log = state.key.as_ref().map_or(name.as_str(), CacheKey::as_str);
    let runner = || Runner {
        dir: path,
        lock,
        log: request.cache.logs_dir().join(format!("{log}.log")),
        out: None,
        full_hint: "",
        limit: BUILD_WAIT,
        silence: request.options.silence,
    };
    if request.options.clean {
        clean(request, &runner(), path)?;
    }
    let build_dir = BuildDir::of(path, request.cache);
    note_uncached(request, path, &state.git, &build_dir);
    build_dir.prepare()?;
    // Where a kernel is built already, most of it is there.
    if !build_dir.path().join("vmlinux").exists() {
        let hint = build_dir.out().map_or("", |_| CACHE_HINT);
        space::check(build_dir.path(), space::of_build(&state.origin), hint)?;
    }
    let build = Build {
        request: *request,
        tree,
        origin: &state.origin,
        dir: &build_dir,
        runner: Runner {
            out: build_dir.out(),
            full_hint: build_dir.out().map_or("", |_| CACHE_HINT),
            ..runner()
        },
    };
    let built = build.run(state.key.is_none())?;
    build.write_compile_commands();
    let (Some(key), GitState::Clean { commit }) = (&state.key, &state.git) else {
        return Ok(built.kernel);
    };
    if GitState::of(&request.options.host, path) != state.git {
        request.note(&format!(
            "{}: it changed while it was built; the kernel is used, but not cached",
            path.display()
        ));
        return mixed(tree, built, &build_dir);
    }
    let source = SourceRecord::Local {
        path: path.to_owned(),
        commit: commit.clone(),
    };
    build.store(&built, key, source)
}

/// `make mrproper`, and away with what was built elsewhere.
fn clean(request: &Request<'_>, runner: &Runner<'_>, tree: &Path) -> Result<(), Error> {
    runner.start_log()?;
    let make = Make {
        runner,
        out: None,
        jobs: request.options.jobs,
        host: &request.options.host,
        toolchain: &request.options.toolchain,
        ccache: Ccache::Off,
    };
    let out = request.cache.build_dir(tree);
    request.stage(Stage::Clean, None, || {
        make.run("mrproper", config::CONFIG, &mut |_| {})?;
        match fs::remove_dir_all(&out) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io(&out, "remove", error))
            }
            _ => Ok(()),
        }
    })
}

/// The kernel of a tree that changed during the build: what it was built from is unknown.
fn mixed(tree: &KernelTree, built: Built, build_dir: &BuildDir) -> Result<ResolvedKernel, Error> {
    let kernel = ResolvedKernel::from_build(tree, build_dir.path(), true)?;
    Ok(ResolvedKernel {
        version: built.kernel.version,
        config: built.kernel.config,
        ..kernel
    })
}

fn note_uncached(request: &Request<'_>, tree: &Path, git: &GitState, build_dir: &BuildDir) {
    let why = match git {
        GitState::Clean { .. } => None,
        GitState::Dirty => Some("it has uncommitted changes".to_owned()),
        GitState::Unknown(None) => Some("it is not a git repository".to_owned()),
        GitState::Unknown(Some(why)) => Some(why.clone()),
    };
    let tree = tree.display();
    if let Some(why) = why {
        request.note(&format!("{tree}: {why}; built each time, not cached"));
    }
    if let BuildDir::InTree(_) = build_dir {
        request.note(&format!(
            "{tree}: it has a .config or a build of its own, so that make builds it only in place; its .config stays as it is"
        ));
    }
}
