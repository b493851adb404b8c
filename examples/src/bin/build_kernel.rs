//! Builds and caches a kernel with the library alone, and prints the image to boot.
//!
//! ```text
//! cargo run -p ktstr-examples --bin build_kernel -- [--base defconfig|lean]
//!     [--extra-kconfig FILE] [--cache DIR] [--force] [--clean] SOURCE
//! ```
//!
//! SOURCE is what `cargo ktstr --kernel` takes: a source tree, a source tarball, an image, a cache key.
//! Progress goes to standard error, the image's path alone to standard output.

use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::thread;

use ktstr_core::env::cache_root;
use ktstr_kernel::{
    BaseConfig, BuildOptions, Cache, Event, ExtraKconfig, KernelSpec, Progress, Resolver, Stage,
};
use lexopt::prelude::*;

/// One line per event; of the compiler's many steps, one in a hundred.
struct Lines;

impl Progress for Lines {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::CacheHit { source, key, age } => {
                let (source, age) = (source.display(), age.as_secs());
                eprintln!("cache hit for {source} ({key}, built {age} s ago)");
            }
            Event::Waiting { key, .. } => eprintln!("waiting for another build of {key}"),
            Event::Note(text) => eprintln!("note: {text}"),
            Event::Started { stage, total } => match total {
                Some(total) => eprintln!("{stage} (about {total})"),
                None => eprintln!("{stage}"),
            },
            Event::Advanced {
                stage: stage @ Stage::Compile,
                done,
                what,
            } if done % 100 == 0 => eprintln!("{stage} {done} {}", what.unwrap_or_default()),
            Event::Finished { stage, took } => eprintln!("{stage}: {:.1} s", took.as_secs_f64()),
            _ => {}
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut source = None;
    let mut root = cache_root(|name| env::var_os(name));
    let mut options = BuildOptions {
        base_config: BaseConfig::Defconfig,
        extra_kconfig: None,
        force: false,
        clean: false,
        jobs: thread::available_parallelism()?.get(),
        toolchain: ktstr_kernel::Toolchain::default(),
        ccache: true,
        path: env::var_os("PATH").unwrap_or_default(),
    };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("base") => options.base_config = arguments.value()?.parse()?,
            Long("extra-kconfig") => {
                let path = arguments.value()?;
                options.extra_kconfig = Some(ExtraKconfig::read(path.as_ref())?);
            }
            Long("cache") => root = Some(arguments.value()?.into()),
            Long("force") => options.force = true,
            Long("clean") => options.clean = true,
            Value(value) if source.is_none() => source = Some(value.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let source =
        source.ok_or("name a kernel: a source tree, a source tarball, an image or a cache key")?;
    let root = root.ok_or("HOME is not set; name a directory with --cache")?;
    let spec = KernelSpec::parse(&source, |name| env::var_os(name))?;
    let kernel = Resolver::new(Cache::new(root), options).resolve(&spec, &Lines)?;
    eprintln!("Linux {} as {}", kernel.version, kernel.label);
    println!("{}", kernel.image.display());
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("build_kernel: {error}");
            ExitCode::FAILURE
        }
    }
}
