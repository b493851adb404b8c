//! Putting what was built into the cache.

use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use super::config::CONFIG;
use super::kernel::{Build, Built};
use crate::cache::{Cache, CacheError, CacheKey, Metadata, NewEntry, SourceRecord};
use crate::error::Error;
use crate::make;
use crate::no_space::{CACHE_HINT, is_full};
use crate::progress::Stage;
use crate::resolved::ResolvedKernel;
use crate::x86_64::{ARCH, IMAGE_NAME};

impl Build<'_> {
    /// Puts the kernel into the cache. The caller holds the lock of `key`.
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
            let dir = self.dir.path();
            let image = copy(&built.kernel.image, IMAGE_NAME)?;
            let config = copy(&dir.join(self.dir.config()), CONFIG)?;
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
            // Which of the files did not fit does not matter.
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
        let mut command = make::clean(&objcopy, &self.request.options.host);
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

fn no_room(cache: &Cache) -> Error {
    Error::NoSpace {
        dir: cache.root().to_owned(),
        hint: CACHE_HINT,
    }
}
