//! A stand-in for the kernel's sources: built by the real make, in a moment.

#[path = "../support/bz_image.rs"]
mod bz_image;
#[path = "../support/standin_tree.rs"]
mod standin_tree;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ktstr_core::host::Host;
use ktstr_kernel::{
    BaseConfig, BuildOptions, Cache, Error, Event, KernelSpec, Progress, ResolvedKernel, Resolver,
    Toolchain,
};
use tempfile::TempDir;

pub(crate) use bz_image::bz_image;

/// A directory with a cache, and room for sources.
pub(crate) struct World {
    dir: TempDir,
    pub(crate) options: BuildOptions,
}

/// What a resolution told.
#[derive(Default)]
pub(crate) struct Told(Mutex<Vec<String>>);

impl Progress for Told {
    fn event(&self, event: Event<'_>) {
        let text = match event {
            Event::CacheHit { key, .. } => format!("hit {key}"),
            Event::Waiting { key, holder } => {
                let holder = holder.map(ToString::to_string);
                format!("waiting {key} for {}", holder.unwrap_or_default())
            }
            Event::Note(text) => format!("note {text}"),
            Event::Started { stage, total } => format!("started {stage} {total:?}"),
            Event::Advanced { stage, done, what } => format!("advanced {stage} {done} {what:?}"),
            Event::Finished { stage, .. } => format!("finished {stage}"),
            _ => return,
        };
        assert!(!text.contains('\n'), "{text}");
        self.0.lock().unwrap().push(text);
    }
}

impl Told {
    /// Whether something told starts so.
    pub(crate) fn has(&self, start: &str) -> bool {
        self.0
            .lock()
            .unwrap()
            .iter()
            .any(|text| text.starts_with(start))
    }

    /// Everything told, for messages.
    pub(crate) fn all(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }

    pub(crate) fn is_silent_hit(&self) -> bool {
        let told = self.0.lock().unwrap();
        told.len() == 1 && told[0].starts_with("hit ")
    }
}

/// Sends a word when something is told that starts as given.
pub(crate) struct Until {
    told: Told,
    start: &'static str,
    sender: Sender<()>,
}

impl Until {
    pub(crate) fn new(start: &'static str) -> (Self, Receiver<()>) {
        let (sender, receiver) = channel();
        let told = Told::default();
        let until = Self {
            told,
            start,
            sender,
        };
        (until, receiver)
    }

    pub(crate) fn told(&self) -> String {
        self.told.all()
    }
}

impl Progress for Until {
    fn event(&self, event: Event<'_>) {
        self.told.event(event);
        if self.told.has(self.start) {
            let _ = self.sender.send(());
        }
    }
}

impl World {
    pub(crate) fn new() -> Self {
        // Not /tmp, which may be small: a build wants to see some GiB free, though it needs none here.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let options = BuildOptions {
            base_config: BaseConfig::Lean,
            extra_kconfig: None,
            force: false,
            clean: false,
            jobs: 2,
            cpus: None,
            toolchain: Toolchain::default(),
            ccache: false,
            host: Host::of_this_process(),
            silence: BuildOptions::SILENCE,
        };
        Self { dir, options }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn cache(&self) -> Cache {
        Cache::new(self.path("cache"))
    }

    pub(crate) fn resolve(&self, source: &Path, told: &Told) -> Result<ResolvedKernel, Error> {
        let resolver = Resolver::new(self.cache(), self.options.clone());
        resolver.resolve(&KernelSpec::Path(source.to_owned()), told)
    }

    /// Resolves and returns what was told as well.
    pub(crate) fn built(&self, source: &Path) -> (ResolvedKernel, Told) {
        let told = Told::default();
        match self.resolve(source, &told) {
            Ok(kernel) => (kernel, told),
            Err(error) => panic!("{error}\n{}", told.all()),
        }
    }

    /// The one line that a resolution fails with.
    pub(crate) fn refused(&self, source: &Path) -> String {
        let text = self
            .resolve(source, &Told::default())
            .unwrap_err()
            .to_string();
        assert!(!text.contains('\n'), "{text}");
        text
    }

    /// How often make was asked for `target`, in all builds of this world.
    pub(crate) fn made(&self, target: &str) -> usize {
        let steps = fs::read_to_string(self.path("steps")).unwrap_or_default();
        steps.lines().filter(|line| *line == target).count()
    }

    /// A source tree without git.
    pub(crate) fn tree(&self, name: &str) -> PathBuf {
        let tree = self.path(name);
        let image = bz_image("6.99.1-standin");
        standin_tree::write(&tree, [6, 99, 1], &image, &self.path("steps"));
        fs::write(
            tree.join(".gitignore"),
            ".*\n!.gitignore\nvmlinux\nbzImage\nbanner\nfault\nhanging\ninclude\ncompile_commands.json\n",
        )
        .unwrap();
        tree
    }

    /// A source tree in git, all committed.
    pub(crate) fn git_tree(&self, name: &str) -> PathBuf {
        let tree = self.tree(name);
        git(&tree, &["init", "--quiet"]);
        commit(&tree);
        tree
    }

    /// A tarball of the sources in `tree`.
    pub(crate) fn tarball(&self, tree: &Path, name: &str) -> PathBuf {
        let tarball = self.path(name);
        run(Command::new("tar")
            .arg("-caf")
            .arg(&tarball)
            .arg("-C")
            .arg(tree.parent().unwrap())
            .arg(tree.file_name().unwrap()));
        tarball
    }

    /// A search path that starts with a program of this name, which is this script.
    pub(crate) fn with_program(&self, name: &str, script: &str) -> OsString {
        let bin = self.path("bin-first");
        fs::create_dir_all(&bin).unwrap();
        let text = self.path("program.sh");
        fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
        // A program that was open for writing here while another thread forks cannot be executed.
        run(Command::new("install")
            .args(["-m", "755"])
            .arg(text)
            .arg(bin.join(name)));
        let path = std::env::var_os("PATH").unwrap();
        let dirs = std::iter::once(bin).chain(std::env::split_paths(&path));
        std::env::join_paths(dirs).unwrap()
    }

    /// A search path with only these programs.
    pub(crate) fn only_programs(&self, names: &[&str]) -> OsString {
        let bin = self.path("bin");
        fs::create_dir_all(&bin).unwrap();
        for name in names {
            let paths = std::env::var_os("PATH").unwrap();
            let found = std::env::split_paths(&paths)
                .map(|dir| dir.join(name))
                .find(|path| path.exists());
            symlink(found.unwrap(), bin.join(name)).unwrap();
        }
        bin.into()
    }

    /// What is in the cache beside entries, locks and logs.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let mut names = Vec::new();
        for dir in [self.cache().kernels_dir(), self.path("cache/.scratch")] {
            let items = fs::read_dir(dir).into_iter().flatten().flatten();
            names.extend(items.map(|item| item.file_name().into_string().unwrap()));
        }
        names.retain(|name| name.starts_with('.'));
        names
    }
}

/// What goes wrong in the next build in `tree`.
pub(crate) fn fault(tree: &Path, fault: &str) {
    fs::write(tree.join("fault"), fault).unwrap();
}

pub(crate) fn commit(tree: &Path) {
    git(tree, &["add", "-A"]);
    let who = ["-c", "user.name=t", "-c", "user.email=t@localhost"];
    let args = ["commit", "--quiet", "--allow-empty", "-m", "x"];
    git(tree, &[who.as_slice(), &args].concat());
}

pub(crate) fn git(tree: &Path, args: &[&str]) {
    run(Command::new("git")
        .arg("-C")
        .arg(tree)
        .args(args)
        .env_remove("GIT_DIR"));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// Waits until `done`, but not for ever.
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "still not: {what}"
        );
        sleep(Duration::from_millis(5));
    }
}
