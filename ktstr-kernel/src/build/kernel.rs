//! Configuring, compiling and storing: what trees and tarballs have in common.

use std::fs;
use std::path::Path;
use std::time::Instant;

use super::build_dir::BuildDir;
use super::config::{self, CONFIG, DRAFT};
use super::{Request, steps};
use crate::cache::{BUILD_WAIT, CacheKey, ConfigOrigin};
use crate::error::Error;
use crate::kconfig::{self, ExtraKconfig};
use crate::make::{self, Ccache, Make};
use crate::no_space::CACHE_HINT;
use crate::process::Runner;
use crate::progress::Stage;
use crate::resolved::{BuiltTreeError, ResolvedKernel};
use crate::scratch::Scratch;
use crate::text::line;
use crate::tools;
use crate::tree::KernelTree;
use crate::x86_64::IMAGE_NAME;

/// A tree that is being built in.
pub(crate) struct Build<'a> {
    pub(crate) request: Request<'a>,
    pub(crate) tree: &'a KernelTree,
    pub(crate) origin: &'a ConfigOrigin,
    pub(crate) dir: &'a BuildDir,
    pub(crate) runner: Runner<'a>,
}

/// What came of it.
pub(crate) struct Built {
    /// The kernel in its tree.
    pub(crate) kernel: ResolvedKernel,
    /// How long configuring and compiling took, seconds.
    pub(super) seconds: u64,
    /// How many steps make reported.
    pub(super) steps: u64,
}

impl<'a> Build<'a> {
    /// A build in a tree that is there for it alone, in `scratch`; its log is named by `key`.
    pub(crate) fn in_scratch(
        request: Request<'a>,
        (tree, build_dir): (&'a KernelTree, &'a BuildDir),
        origin: &'a ConfigOrigin,
        scratch: &'a Scratch,
        key: &CacheKey,
    ) -> Self {
        Self {
            request,
            tree,
            origin,
            dir: build_dir,
            runner: Runner {
                dir: tree.path(),
                lock: scratch.lock(),
                log: request.cache.logs_dir().join(format!("{key}.log")),
                out: None,
                full_hint: CACHE_HINT,
                limit: BUILD_WAIT,
                silence: request.options.silence,
            },
        }
    }
}

impl Build<'_> {
    fn make(&self, ccache: Ccache) -> Make<'_> {
        let options = self.request.options;
        Make {
            runner: &self.runner,
            out: self.dir.out(),
            jobs: options.jobs,
            host: &options.host,
            toolchain: &options.toolchain,
            ccache,
        }
    }

    /// Finds out whether to compile through ccache.
    fn ccache(&self) -> Ccache {
        let options = self.request.options;
        if !options.ccache {
            return Ccache::Off;
        }
        match make::try_ccache(&self.runner, &options.host, &options.toolchain) {
            Ok(false) => return Ccache::Off,
            Ok(true) => {}
            Err(error) => {
                let text = format!(
                    "building without ccache, which does not work: {}",
                    Error::from(error)
                );
                self.request.note(&text);
                return Ccache::Off;
            }
        }
        self.request.note("compiling through ccache");
        match self.dir {
            BuildDir::Scratch(_) => Ccache::InScratch,
            BuildDir::InTree(_) | BuildDir::Beside(_) => Ccache::OfTree,
        }
    }

    /// Configures and compiles. Modules are not built: nothing loads them.
    pub(crate) fn run(&self, dirty: bool) -> Result<Built, Error> {
        let request = &self.request;
        let start = Instant::now();
        self.runner.start_log()?;
        request.note_options();
        let dir = self.dir.path();
        let make = self.make(self.ccache());
        let configured = request.stage(Stage::Configure, None, || self.configure(&make));
        if configured.is_err() {
            config::discard(dir);
        }
        configured?;
        let mut steps = 0;
        let tops = [dir, self.tree.path()].map(|dir| dir.to_string_lossy().into_owned());
        let name = self.dir.config();
        self.dir.outdate(name);
        request.stage(Stage::Compile, self.expected_steps()?, || {
            let mut on_line = |line: &str| {
                let Some(file) = make::step(line) else { return };
                steps += 1;
                // Killed on the way, we can no longer do this.
                if steps % 64 == 0 {
                    self.dir.outdate(CONFIG);
                }
                // Some of the kernel's tools give whole paths.
                let within = tops.iter().find_map(|top| file.strip_prefix(top.as_str()));
                let file = within.map_or(file, |file| file.trim_start_matches('/'));
                request.advanced(Stage::Compile, steps, Some(file));
            };
            Ok(make.run(IMAGE_NAME, name, &mut on_line)?)
        })?;
        self.dir.outdate(CONFIG);
        let kernel = self.check(dirty)?;
        Ok(Built {
            kernel,
            seconds: start.elapsed().as_secs(),
            steps,
        })
    }

    /// Makes the configuration beside the old one, checks it, and only then lets it take its place.
    fn configure(&self, make: &Make<'_>) -> Result<(), Error> {
        let (tree, dir) = (self.tree.path(), self.dir.path());
        let draft = dir.join(DRAFT);
        config::discard(dir);
        let mut quiet = |_: &str| {};
        let fragments = config::fragments(self.origin);
        let extra = self.request.options.extra_kconfig.as_ref();
        let extra_text = extra.map_or("", ExtraKconfig::text);
        let own = match self.origin {
            ConfigOrigin::Base(_) => None,
            ConfigOrigin::Own(hash) => config::own(tree, hash)?,
        };
        // The user's options can be refused without make; the result is checked below.
        let said = String::from_utf8_lossy(own.as_deref().unwrap_or_default());
        self.check_usable(&kconfig::merge(&said, fragments, extra_text))?;
        let base = match self.origin {
            ConfigOrigin::Base(base) => {
                make.run(base.make_target(), DRAFT, &mut quiet)?;
                config::read(&draft)?
            }
            ConfigOrigin::Own(_) => own,
        };
        let base = base.unwrap_or_default();
        let merged = kconfig::merge(&String::from_utf8_lossy(&base), fragments, extra_text);
        fs::write(&draft, merged).map_err(|error| Error::io(&draft, "write", error))?;
        make.run("olddefconfig", DRAFT, &mut quiet)?;
        let made = config::read(&draft)?.unwrap_or_default();
        self.check_made(&String::from_utf8_lossy(&made))?;
        config::adopt(dir, self.dir.config())
    }

    /// Refuses the configuration that was made where it lacks what was asked for, or cannot be built; notes what else may
    /// surprise.
    fn check_made(&self, made: &str) -> Result<(), Error> {
        let tree = self.tree.path();
        let fragments = config::fragments(self.origin);
        let extra = self.request.options.extra_kconfig.as_ref();
        let extra_text = extra.map_or("", ExtraKconfig::text);
        let version = self.tree.version()?;
        let verdict = kconfig::check(made, fragments, extra_text, tree, &version);
        if !verdict.dropped.is_empty() {
            return Err(Error::Dropped {
                tree: tree.to_owned(),
                version,
                options: verdict.dropped,
                config: extra
                    .map(|extra| extra.path().to_owned())
                    .or_else(|| Some(tree.join(CONFIG)).filter(|path| path.exists())),
            });
        }
        self.check_usable(made)?;
        if let Some(extra) = extra {
            self.note_overridden(extra, fragments);
        }
        if !verdict.unknown.is_empty() {
            let names = verdict.unknown.join(", ");
            self.request.note(&format!(
                "Linux {version} has no option {names}; built without"
            ));
        }
        match tools::missing_compressor(made, &self.request.options.host) {
            Some(tool) => Err(Error::Tools {
                missing: vec![tool],
            }),
            None => Ok(()),
        }
    }

    /// Refuses settings with which the kernel could not be built, or not be tested on.
    fn check_usable(&self, config: &str) -> Result<(), Error> {
        let tree = self.tree.path();
        let options = kconfig::unusable(config, tree, self.dir.path());
        if options.is_empty() {
            return Ok(());
        }
        let extra = self.request.options.extra_kconfig.as_ref();
        let sets = |extra: &&ExtraKconfig| {
            let is_set = |name: &str| kconfig::value(extra.text(), name).is_some();
            options.iter().any(|option| is_set(&option.name))
        };
        let config = extra.filter(sets).map(|extra| extra.path().to_owned());
        Err(Error::Unusable {
            tree: tree.to_owned(),
            config: config.unwrap_or_else(|| tree.join(CONFIG)),
            options,
        })
    }

    /// Says where the user's options take away what tests are known to need.
    fn note_overridden(&self, extra: &ExtraKconfig, fragments: &[&str]) {
        let both = kconfig::overridden(fragments, extra.text());
        let both: Vec<String> = both
            .iter()
            .map(|(name, ours, theirs)| format!("{name}={theirs} (ktstr's: {ours})"))
            .collect();
        if !both.is_empty() {
            self.request.note(&format!(
                "{} overrides what ktstr's tests rely on: {}",
                line(&extra.path().display().to_string()),
                both.join(", ")
            ));
        }
    }

    /// About how many steps compiling takes; `None` where an unknown part of it was done before.
    ///
    /// A build of the same configuration tells best. One that had little to do, or another kernel's, is told by what the
    /// configuration and the Makefiles say.
    fn expected_steps(&self) -> Result<Option<u64>, Error> {
        let dir = self.dir.path();
        if dir.join("vmlinux").exists() || dir.join("init/main.o").exists() {
            return Ok(None);
        }
        let config = config::read(&dir.join(self.dir.config()))?.unwrap_or_default();
        let counted = steps::count(self.tree.path(), &String::from_utf8_lossy(&config));
        let entries = self.request.cache.list().unwrap_or_default();
        let alike = entries.iter().filter_map(|entry| entry.metadata());
        let alike = alike.filter(|it| {
            it.config_origin == *self.origin
                && self.request.options.is_variant(it)
                && it.make_steps > 0
        });
        let near = |steps: &u64| counted.is_none_or(|it| it.abs_diff(*steps) <= it / 4);
        let before = alike.map(|it| it.make_steps).find(near);
        Ok(before.or(counted))
    }

    /// Whether what was built is a kernel of these sources.
    fn check(&self, dirty: bool) -> Result<ResolvedKernel, Error> {
        let dir = self.dir.path();
        let mut kernel = ResolvedKernel::from_build(self.tree, dir, dirty)?;
        kernel.config = Some(dir.join(self.dir.config()));
        if kernel.vmlinux.is_none() {
            return Err(Error::Built(BuiltTreeError::NotBuilt {
                tree: self.tree.path().to_owned(),
                image: "vmlinux",
            }));
        }
        let found = crate::ImageInfo::read(&kernel.image)?.version;
        let expected = kernel.version.clone();
        // CONFIG_LOCALVERSION and the like follow.
        let rest = found.strip_prefix(&expected);
        if rest.is_none_or(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
            let image = kernel.image;
            return Err(Error::WrongVersion {
                image,
                expected,
                found,
            });
        }
        Ok(kernel)
    }

    /// What editors want to know. A kernel without it is a kernel, so failing is only told.
    pub(crate) fn write_compile_commands(&self) {
        const SCRIPT: &str = "scripts/clang-tools/gen_compile_commands.py";
        if !self.tree.path().join(SCRIPT).is_file() {
            let note = format!("compile_commands.json is not made: this tree has no {SCRIPT}");
            return self.request.note(&note);
        }
        // `make compile_commands.json` would do the same, and build modules for it.
        let made = self.dir.path().join("compile_commands.json");
        let mut command = make::clean("python3", &self.request.options.host);
        command.arg(SCRIPT).arg("-d").arg(self.dir.path());
        command.arg("-o").arg(&made);
        let name = format!("python3 {SCRIPT} -d {}", self.dir.path().display());
        if let Err(error) = self.runner.run(&mut command, &name, &mut |_| {}) {
            self.request.note(&format!(
                "compile_commands.json is not made: {}",
                Error::from(error)
            ));
        } else if self.dir.out().is_some() {
            link(&made, &self.tree.path().join("compile_commands.json"));
        }
    }
}

/// Has `at` lead to `to`, unless something of the user's is there. Where the tree takes no file, editors do without.
fn link(to: &Path, at: &Path) {
    if fs::read_link(at).is_ok_and(|old| old != to) {
        let _ = fs::remove_file(at);
    }
    let _ = std::os::unix::fs::symlink(to, at);
}
