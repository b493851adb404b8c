//! Configuring, compiling and storing: what trees and tarballs have in common.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Instant, SystemTime};

use super::Job;
use super::config::{self, CONFIG, DRAFT};
use crate::cache::{Cache, CacheError, CacheKey, ConfigOrigin, Metadata, NewEntry, Source};
use crate::error::{CACHE_HINT, Error, is_full};
use crate::kconfig::{self, ExtraKconfig};
use crate::make::{self, Ccache, Make};
use crate::process::Runner;
use crate::progress::Stage;
use crate::resolved::{BuiltTreeError, ResolvedKernel};
use crate::text::line;
use crate::tools;
use crate::tree::KernelTree;
use crate::x86_64::{ARCH, IMAGE_NAME};

/// A tree that is being built in.
pub(super) struct Build<'a> {
    pub(super) job: Job<'a>,
    pub(super) tree: &'a KernelTree,
    pub(super) origin: &'a ConfigOrigin,
    /// Whether the tree is there for this build alone.
    pub(super) scratch: bool,
    pub(super) runner: Runner<'a>,
}

/// What came of it.
pub(super) struct Built {
    /// The kernel in its tree.
    pub(super) kernel: ResolvedKernel,
    /// How long configuring and compiling took, seconds.
    seconds: u64,
    /// How many steps make reported.
    steps: u64,
}

impl Build<'_> {
    fn make(&self, ccache: Ccache) -> Make<'_> {
        let options = self.job.options;
        Make {
            runner: &self.runner,
            jobs: options.jobs,
            path: &options.path,
            ccache,
        }
    }

    /// Finds out whether to compile through ccache.
    fn ccache(&self) -> Ccache {
        let options = self.job.options;
        if !options.ccache {
            return Ccache::Off;
        }
        match make::try_ccache(&self.runner, &options.path) {
            Ok(false) => return Ccache::Off,
            Ok(true) => {}
            Err(error) => {
                let text = format!("building without ccache, which does not work: {error}");
                self.job.note(&text);
                return Ccache::Off;
            }
        }
        self.job.note("compiling through ccache");
        if self.scratch {
            Ccache::InScratch
        } else {
            Ccache::InPlace
        }
    }

    /// Configures and compiles. Modules are not built: nothing loads them.
    pub(super) fn run(&self, dirty: bool) -> Result<Built, Error> {
        let job = &self.job;
        let start = Instant::now();
        self.runner.start_log()?;
        let make = self.make(self.ccache());
        if job.options.clean {
            job.stage(Stage::Clean, None, || {
                make.run("mrproper", CONFIG, &mut |_| {})
            })?;
        }
        let configured = job.stage(Stage::Configure, None, || self.configure(&make));
        if configured.is_err() {
            config::discard(self.tree.path());
        }
        configured?;
        let mut steps = 0;
        let top = self.tree.path().to_string_lossy().into_owned();
        job.stage(Stage::Compile, self.steps_before(), || {
            make.run(IMAGE_NAME, CONFIG, &mut |line| {
                if let Some(file) = make::step(line) {
                    steps += 1;
                    // Some of the kernel's tools give whole paths.
                    let within = file.strip_prefix(top.as_str());
                    let file = within.map_or(file, |file| file.trim_start_matches('/'));
                    job.advanced(Stage::Compile, steps, Some(file));
                }
            })
        })?;
        // Where make changed it once more, it is still ours.
        let config = config::read(&self.tree.path().join(CONFIG))?.unwrap_or_default();
        let extra = self.job.options.extra_hash();
        config::note(self.tree.path(), &config, self.origin, extra)?;
        let kernel = self.check(dirty)?;
        Ok(Built {
            kernel,
            seconds: start.elapsed().as_secs(),
            steps,
        })
    }

    /// Makes the configuration beside the old one, checks it, and only then lets it take its place.
    fn configure(&self, make: &Make<'_>) -> Result<(), Error> {
        let tree = self.tree.path();
        let draft = tree.join(DRAFT);
        config::discard(tree);
        let mut quiet = |_: &str| {};
        let fragments = config::fragments(self.origin);
        let extra = self.job.options.extra_kconfig.as_ref();
        let extra_text = extra.map_or("", ExtraKconfig::text);
        let base = match self.origin {
            ConfigOrigin::Base(base) => {
                make.run(base.make_target(), DRAFT, &mut quiet)?;
                config::read(&draft)?
            }
            ConfigOrigin::Own(hash) => config::own(tree, hash)?,
        };
        let base = base.unwrap_or_default();
        let merged = kconfig::merge(
            &String::from_utf8_lossy(&base),
            &[fragments, &[extra_text]].concat(),
        );
        fs::write(&draft, merged).map_err(|error| Error::io(&draft, "write", error))?;
        make.run("olddefconfig", DRAFT, &mut quiet)?;

        let made = config::read(&draft)?.unwrap_or_default();
        let made = String::from_utf8_lossy(&made);
        let verdict = kconfig::check(&made, fragments, extra_text, tree);
        let version = self.tree.version()?;
        if !verdict.dropped.is_empty() {
            return Err(Error::Dropped {
                tree: tree.to_owned(),
                version,
                options: verdict.dropped,
                extra: extra.map(|extra| extra.path().to_owned()),
            });
        }
        if let Some(extra) = extra {
            self.note_overridden(extra, fragments);
        }
        if !verdict.unknown.is_empty() {
            let names = verdict.unknown.join(", ");
            self.job.note(&format!(
                "Linux {version} has no option {names}; built without"
            ));
        }
        let missing = tools::missing_compressor(&made, &self.job.options.path);
        if let Some(tool) = missing {
            let missing = vec![tool];
            return Err(Error::Tools { missing });
        }
        config::adopt(tree, self.origin, self.job.options.extra_hash())
    }

    /// Says where the user's options take away what tests are known to need.
    fn note_overridden(&self, extra: &ExtraKconfig, fragments: &[&str]) {
        let both = kconfig::overridden(fragments, extra.text());
        let both: Vec<String> = both
            .iter()
            .map(|(name, ours, theirs)| format!("{name}={theirs} (ktstr's: {ours})"))
            .collect();
        if !both.is_empty() {
            self.job.note(&format!(
                "{} overrides what ktstr's tests rely on: {}",
                line(&extra.path().display().to_string()),
                both.join(", ")
            ));
        }
    }

    /// How many steps the newest build of such a configuration took.
    fn steps_before(&self) -> Option<u64> {
        let entries = self.job.cache.list().unwrap_or_default();
        let mut alike = entries.iter().filter_map(|entry| entry.metadata());
        let newest = alike.find(|metadata| metadata.config_origin == *self.origin)?;
        Some(newest.make_steps).filter(|steps| *steps > 0)
    }

    /// Whether what was built is a kernel of these sources.
    fn check(&self, dirty: bool) -> Result<ResolvedKernel, Error> {
        let kernel = ResolvedKernel::from_built_tree(self.tree, dirty)?;
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
    pub(super) fn write_compile_commands(&self) {
        const SCRIPT: &str = "scripts/clang-tools/gen_compile_commands.py";
        if !self.tree.path().join(SCRIPT).is_file() {
            let note = format!("compile_commands.json is not made: this tree has no {SCRIPT}");
            return self.job.note(&note);
        }
        // `make compile_commands.json` would do the same, and build modules for it.
        let mut command = make::clean("python3", &self.job.options.path);
        command.arg(SCRIPT);
        let name = format!("python3 {SCRIPT}");
        if let Err(error) = self.runner.run(&mut command, &name, &mut |_| {}) {
            self.job
                .note(&format!("compile_commands.json is not made: {error}"));
        }
    }

    /// Puts what was built into the cache. The key's lock is held by whoever calls.
    pub(super) fn store(
        &self,
        built: &Built,
        key: &CacheKey,
        source: Source,
    ) -> Result<ResolvedKernel, Error> {
        let cache = self.job.cache;
        let stored = self.job.stage(Stage::Store, None, || {
            let entry = NewEntry::new(cache, key)?;
            let copy = |from: &Path, name: &str| {
                let to = entry.path(name);
                let copied = fs::copy(from, &to);
                copied.map_err(|error| Error::io(&to, "write", error))?;
                Ok::<_, Error>(entry.add(name)?)
            };
            let tree = self.tree.path();
            let image = copy(&built.kernel.image, IMAGE_NAME)?;
            let config = copy(&tree.join(CONFIG), CONFIG)?;
            self.strip(&tree.join("vmlinux"), &entry.path("vmlinux"))?;
            let vmlinux = entry.add("vmlinux")?;
            let metadata = Metadata {
                schema: Metadata::SCHEMA,
                key: key.clone(),
                version: built.kernel.version.clone(),
                arch: ARCH.to_owned(),
                source,
                config_origin: self.origin.clone(),
                kconfig_hash: self.origin.kconfig_hash(),
                extra_kconfig: self.job.options.extra_hash().map(str::to_owned),
                built: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
                build_seconds: built.seconds,
                make_steps: built.steps,
                image,
                vmlinux,
                config,
            };
            entry.commit(&metadata)?;
            Ok(())
        });
        stored.map_err(|error| match error {
            // Which of the files did not fit is nobody's business.
            Error::NoSpace { .. } => no_room(cache),
            Error::Cache(CacheError::Write { source, .. }) if is_full(&source) => no_room(cache),
            other => other,
        })?;
        // What a killed one left whose compilers were still ending when we began.
        cache.sweep(Some(key));
        Ok(cache.lookup(key)?)
    }

    /// Copies an ELF file without its debug sections. BTF is no debug section, and stays.
    fn strip(&self, from: &Path, to: &Path) -> Result<(), Error> {
        let mut command = make::clean("objcopy", &self.job.options.path);
        command.arg("--strip-debug").arg(from).arg(to);
        let name = format!("objcopy --strip-debug {} {}", from.display(), to.display());
        self.runner.run(&mut command, &name, &mut |_| {})?;
        if to.is_file() {
            return Ok(());
        }
        Err(Error::io(to, "write", io::ErrorKind::NotFound.into()))
    }
}

fn no_room(cache: &Cache) -> Error {
    Error::NoSpace {
        dir: cache.root().to_owned(),
        hint: CACHE_HINT,
    }
}
