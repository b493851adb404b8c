//! Configuring, compiling and storing: what trees and tarballs have in common.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Instant, SystemTime};

use super::build_dir::BuildDir;
use super::config::{self, CONFIG, DRAFT};
use super::{Request, steps};
use crate::cache::{Cache, CacheError, CacheKey, ConfigOrigin, Metadata, NewEntry, SourceRecord};
use crate::error::Error;
use crate::kconfig::{self, ExtraKconfig};
use crate::make::{self, Ccache, Make};
use crate::no_space::{CACHE_HINT, is_full};
use crate::process::Runner;
use crate::progress::Stage;
use crate::resolved::{BuiltTreeError, ResolvedKernel};
use crate::text::line;
use crate::tools;
use crate::tree::KernelTree;
use crate::x86_64::{ARCH, IMAGE_NAME};

/// A tree that is being built in.
pub(crate) struct Build<'a> {
    pub(crate) request: Request<'a>,
    pub(crate) tree: &'a KernelTree,
    pub(crate) origin: &'a ConfigOrigin,
    pub(crate) build_dir: &'a BuildDir,
    pub(crate) runner: Runner<'a>,
}

/// What came of it.
pub(crate) struct Built {
    /// The kernel in its tree.
    pub(crate) kernel: ResolvedKernel,
    /// How long configuring and compiling took, seconds.
    seconds: u64,
    /// How many steps make reported.
    steps: u64,
}

impl Build<'_> {
    fn make(&self, ccache: Ccache) -> Make<'_> {
        let options = self.request.options;
        Make {
            runner: &self.runner,
            out: self.build_dir.out(),
            jobs: options.jobs,
            path: &options.path,
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
        match make::try_ccache(&self.runner, &options.path, &options.toolchain) {
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
        match self.build_dir {
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
        let dir = self.build_dir.path();
        let make = self.make(self.ccache());
        let configured = request.stage(Stage::Configure, None, || self.configure(&make));
        if configured.is_err() {
            config::discard(dir);
        }
        configured?;
        let mut steps = 0;
        let tops = [dir, self.tree.path()].map(|dir| dir.to_string_lossy().into_owned());
        let name = self.build_dir.config();
        self.build_dir.outdate(name);
        request.stage(Stage::Compile, self.expected_steps()?, || {
            let mut on_line = |line: &str| {
                let Some(file) = make::step(line) else { return };
                steps += 1;
                // Killed on the way, we can no longer do this.
                if steps % 64 == 0 {
                    self.build_dir.outdate(CONFIG);
                }
                // Some of the kernel's tools give whole paths.
                let within = tops.iter().find_map(|top| file.strip_prefix(top.as_str()));
                let file = within.map_or(file, |file| file.trim_start_matches('/'));
                request.advanced(Stage::Compile, steps, Some(file));
            };
            Ok(make.run(IMAGE_NAME, name, &mut on_line)?)
        })?;
        self.build_dir.outdate(CONFIG);
        let kernel = self.check(dirty)?;
        Ok(Built {
            kernel,
            seconds: start.elapsed().as_secs(),
            steps,
        })
    }

    /// Makes the configuration beside the old one, checks it, and only then lets it take its place.
    fn configure(&self, make: &Make<'_>) -> Result<(), Error> {
        let (tree, dir) = (self.tree.path(), self.build_dir.path());
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
        // What the user says needs no make to be refused; what came of it is looked at below.
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
        let made = String::from_utf8_lossy(&made);
        let version = self.tree.version()?;
        let verdict = kconfig::check(&made, fragments, extra_text, tree, &version);
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
        self.check_usable(&made)?;
        if let Some(extra) = extra {
            self.note_overridden(extra, fragments);
        }
        if !verdict.unknown.is_empty() {
            let names = verdict.unknown.join(", ");
            self.request.note(&format!(
                "Linux {version} has no option {names}; built without"
            ));
        }
        let missing = tools::missing_compressor(&made, &self.request.options.path);
        if let Some(tool) = missing {
            let missing = vec![tool];
            return Err(Error::Tools { missing });
        }
        config::adopt(dir, self.build_dir.config())
    }

    /// Refuses settings with which the kernel could not be built, or not be tested on.
    fn check_usable(&self, config: &str) -> Result<(), Error> {
        let tree = self.tree.path();
        let options = kconfig::unusable(config, tree, self.build_dir.path());
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

    /// About how many steps compiling takes; `None` where part of it is there already, and nobody knows how much.
    ///
    /// A build of the same configuration tells best. One that had little to do, or another kernel's, is told by what the
    /// configuration and the Makefiles say.
    fn expected_steps(&self) -> Result<Option<u64>, Error> {
        let dir = self.build_dir.path();
        if dir.join("vmlinux").exists() || dir.join("init/main.o").exists() {
            return Ok(None);
        }
        let config = config::read(&dir.join(self.build_dir.config()))?.unwrap_or_default();
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
        let dir = self.build_dir.path();
        let mut kernel = ResolvedKernel::from_build(self.tree, dir, dirty)?;
        kernel.config = Some(dir.join(self.build_dir.config()));
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
        let made = self.build_dir.path().join("compile_commands.json");
        let mut command = make::clean("python3", &self.request.options.path);
        command.arg(SCRIPT).arg("-d").arg(self.build_dir.path());
        command.arg("-o").arg(&made);
        let name = format!("python3 {SCRIPT} -d {}", self.build_dir.path().display());
        if let Err(error) = self.runner.run(&mut command, &name, &mut |_| {}) {
            self.request.note(&format!(
                "compile_commands.json is not made: {}",
                Error::from(error)
            ));
        } else if self.build_dir.out().is_some() {
            link(&made, &self.tree.path().join("compile_commands.json"));
        }
    }

    /// Puts what was built into the cache. The key's lock is held by whoever calls.
    pub(crate) fn store(
        &self,
        built: &Built,
        key: &CacheKey,
        source: SourceRecord,
    ) -> Result<ResolvedKernel, Error> {
        let cache = self.request.cache;
        let stored = self.request.stage(Stage::Store, None, || {
            let entry = NewEntry::new(cache, key)?;
            let copy = |from: &Path, name: &str| {
                let to = entry.path(name);
                let copied = fs::copy(from, &to);
                copied.map_err(|error| Error::io(&to, "write", error))?;
                Ok::<_, Error>(entry.add(name)?)
            };
            let dir = self.build_dir.path();
            let image = copy(&built.kernel.image, IMAGE_NAME)?;
            let config = copy(&dir.join(self.build_dir.config()), CONFIG)?;
            self.strip(&dir.join("vmlinux"), &entry.path("vmlinux"))?;
            let vmlinux = entry.add("vmlinux")?;
            let metadata = Metadata {
                schema: Metadata::SCHEMA,
                key: key.clone(),
                version: built.kernel.version.clone(),
                arch: ARCH.to_owned(),
                source,
                config_origin: self.origin.clone(),
                kconfig_hash: self.origin.kconfig_hash(),
                extra_kconfig: self.request.options.extra_hash().map(str::to_owned),
                toolchain: self.request.options.toolchain.spelled(),
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
        let objcopy = self.request.options.toolchain.objcopy();
        let mut command = make::clean(&objcopy, &self.request.options.path);
        command.arg("--strip-debug").arg(from).arg(to);
        let (from, shown) = (from.display(), to.display());
        let name = format!("{objcopy} --strip-debug {from} {shown}");
        self.runner.run(&mut command, &name, &mut |_| {})?;
        if to.is_file() {
            return Ok(());
        }
        Err(Error::io(to, "write", io::ErrorKind::NotFound.into()))
    }
}

/// Has `at` lead to `to`, unless something of the user's is there. Where the tree takes no file, editors do without.
fn link(to: &Path, at: &Path) {
    if fs::read_link(at).is_ok_and(|old| old != to) {
        let _ = fs::remove_file(at);
    }
    let _ = std::os::unix::fs::symlink(to, at);
}

fn no_room(cache: &Cache) -> Error {
    Error::NoSpace {
        dir: cache.root().to_owned(),
        hint: CACHE_HINT,
    }
}
