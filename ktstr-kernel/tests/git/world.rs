//! A repository of stand-in sources, ways to it, and a cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use ktstr_core::host::Host;
use ktstr_kernel::progress::{Event, Progress, Transfer};
use ktstr_kernel::repository::Limits;
use ktstr_kernel::{CacheEntry, Error, KernelSpec, ResolvedKernel, Resolver};

use crate::standin::{World, commit, git};

/// A repository and a cache.
pub(crate) struct Place {
    pub(crate) world: World,
    /// The work tree of the repository.
    pub(crate) tree: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) force: bool,
}

/// Everything that was told, one line each.
#[derive(Default)]
pub(crate) struct Told(Mutex<Vec<String>>);

/// An event as one line.
pub(crate) fn told(event: &Event<'_>) -> String {
    match event {
        Event::CacheHit { key, .. } => format!("hit {key}"),
        Event::Waiting { key, .. } => format!("waiting {key}"),
        Event::Note(text) => format!("note {text}"),
        Event::Started { stage, .. } => format!("started {stage}"),
        Event::Advanced { stage, done, .. } => format!("advanced {stage} {done}"),
        Event::Finished { stage, .. } => format!("finished {stage}"),
        Event::Transfer { name, state } => match state {
            Transfer::Started { .. } => format!("fetching {name}"),
            Transfer::Advanced { .. } => "received".to_owned(),
            Transfer::Finished { size, .. } => format!("fetched {name} {size}"),
            Transfer::Failed => format!("failed {name}"),
            other => panic!("{other:?}"),
        },
        _ => "other".to_owned(),
    }
}

impl Progress for Told {
    fn event(&self, event: Event<'_>) {
        let text = told(&event);
        assert!(!text.contains('\n'), "{text}");
        self.0.lock().unwrap().push(text);
    }
}

impl Told {
    pub(crate) fn has(&self, start: &str) -> bool {
        let told = self.0.lock().unwrap();
        told.iter().any(|line| line.starts_with(start))
    }

    pub(crate) fn all(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }

    pub(crate) fn is_silent_hit(&self) -> bool {
        let told = self.0.lock().unwrap();
        told.len() == 1 && told[0].starts_with("hit ")
    }
}

impl Place {
    /// A repository `linux` with one commit, on its branch `main`.
    pub(crate) fn new() -> Self {
        let world = World::new();
        let tree = world.git_tree("linux");
        git(&tree, &["branch", "--quiet", "-M", "main"]);
        Self {
            world,
            tree,
            limits: Limits::default(),
            force: false,
        }
    }

    /// Commits something new to the current branch.
    pub(crate) fn commit(&self) -> String {
        let before = output(&self.tree, &["rev-list", "--count", "HEAD"]);
        fs::write(self.tree.join("edited"), before).unwrap();
        commit(&self.tree);
        self.id("HEAD")
    }

    /// Commits without a look at the files.
    pub(crate) fn commit_only(&self) {
        let tree = self.id("HEAD^{tree}");
        let commit = output(&self.tree, &["commit-tree", "-m", "y", &tree]);
        git(&self.tree, &["update-ref", "HEAD", &commit]);
    }

    /// The hash of the object that `name` names.
    pub(crate) fn id(&self, name: &str) -> String {
        output(&self.tree, &["rev-parse", "--verify", name])
    }

    /// The address of the repository as a directory.
    pub(crate) fn file(&self) -> String {
        format!("file://{}", self.tree.display())
    }

    pub(crate) fn resolver(&self) -> Resolver {
        let mut options = self.world.options.clone();
        options.force = self.force;
        Resolver::new(self.world.cache(), options).with_git_limits(self.limits)
    }

    pub(crate) fn resolve(
        &self,
        url: &str,
        reference: &str,
    ) -> (Result<ResolvedKernel, Error>, Told) {
        let told = Told::default();
        let spec = spec(url, reference);
        (self.resolver().resolve(&spec, &told), told)
    }

    /// A kernel that must be there in the end.
    pub(crate) fn built(&self, url: &str, reference: &str) -> (ResolvedKernel, Told) {
        let (kernel, told) = self.resolve(url, reference);
        let kernel =
            kernel.unwrap_or_else(|error| panic!("{url}#{reference}: {error}\n{}", told.all()));
        assert!(kernel.image.is_file());
        assert_eq!(self.world.leftovers(), [""; 0]);
        (kernel, told)
    }

    /// The line that a resolution fails with. Nothing of it is left, and the cache has what it had.
    pub(crate) fn refused(&self, url: &str, reference: &str) -> String {
        let before = self.keys();
        let (kernel, told) = self.resolve(url, reference);
        let error = match kernel {
            Ok(kernel) => panic!("{url}#{reference}: {kernel:?}\n{}", told.all()),
            Err(error) => error.to_string(),
        };
        assert!(!error.contains(char::is_control), "{error:?}");
        assert!(error.len() < 900, "{error}");
        assert_eq!(self.world.leftovers(), [""; 0], "{error}");
        assert_eq!(self.keys(), before, "{error}");
        // What was begun is told to be over.
        let told = told.all();
        let count = |start: &str| told.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!(
            count("fetching "),
            count("fetched ") + count("failed "),
            "{told}"
        );
        error
    }

    /// The keys in the cache; all of sound entries.
    pub(crate) fn keys(&self) -> Vec<String> {
        let entries = self.world.cache().list().unwrap();
        let key = |entry: CacheEntry| {
            assert!(entry.metadata().is_some(), "{entry:?}");
            entry.key.to_string()
        };
        let mut keys: Vec<String> = entries.into_iter().map(key).collect();
        keys.sort();
        keys
    }
}

pub(crate) fn spec(url: &str, reference: &str) -> KernelSpec {
    KernelSpec::parse(&format!("git+{url}#{reference}"), &Host::default()).unwrap()
}

/// What git says.
pub(crate) fn output(tree: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(tree)
        .args(["-c", "user.name=t", "-c", "user.email=t@localhost"])
        .args(args)
        .env_remove("GIT_DIR")
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
