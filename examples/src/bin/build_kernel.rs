//! Resolves kernels with the library alone, building what is not cached, and prints the images to boot.
//!
//! ```text
//! cargo run -p ktstr-examples --bin build_kernel -- [--base defconfig|lean]
//!     [--extra-kconfig FILE] [--cache DIR] [--cpus LIST] [--force] [--clean] KERNEL...
//! ```
//!
//! KERNEL is what `cargo ktstr --kernel` takes: a source tree, a source tarball, an image, a cache key, a release, a range
//! of releases, a commit of a git repository. Progress goes to standard error, the images' paths alone to standard output.

use std::error::Error;
use std::process::ExitCode;

use ktstr_core::env::cache_root;
use ktstr_core::host::Host;
use ktstr_kernel::{
    BuildOptions, Cache, Event, ExtraKconfig, Mirror, Progress, Remote, RemoteOptions, Resolver,
    Stage, Transfer,
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
            Event::Transfer { name, state } => match state {
                Transfer::Started { .. } => eprintln!("fetching {name}"),
                Transfer::Finished { took, .. } => {
                    eprintln!("fetched {name} in {:.1} s", took.as_secs_f64());
                }
                Transfer::Retrying { why, .. } => eprintln!("{name}: {why}; trying again"),
                _ => {}
            },
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
    let host = Host::of_this_process();
    let mut kernels = Vec::new();
    let mut root = cache_root(&host);
    let mut options = BuildOptions::from_env(&host)?;
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("base") => options.base_config = arguments.value()?.parse()?,
            Long("extra-kconfig") => {
                let path = arguments.value()?;
                options.extra_kconfig = Some(ExtraKconfig::read(path.as_ref())?);
            }
            Long("cache") => root = Some(arguments.value()?.into()),
            // They and the programs they start run there; this process stays where it is.
            Long("cpus") => options.cpus = Some(arguments.value()?.parse()?),
            Long("force") => options.force = true,
            Long("clean") => options.clean = true,
            Value(value) => kernels.push(value.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    if kernels.is_empty() {
        return Err(
            "name a kernel: a source tree, a source tarball, an image, a cache key or a release"
                .into(),
        );
    }
    let root = root.ok_or("HOME is not set; name a directory with --cache")?;
    let cache = Cache::new(root);
    let remote = Remote::new(
        Mirror::from_env(&host)?,
        cache.clone(),
        RemoteOptions::from_env(&host),
    )?;
    let resolver = Resolver::new(cache, options).fetching(remote);
    let resolved = resolver.resolve_identifiers(&kernels, &Lines, &mut |spec, kernel| {
        eprintln!("{spec}: Linux {} as {}", kernel.version, kernel.label);
    })?;
    for kernel in resolved {
        println!("{}", kernel.image.display());
    }
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
