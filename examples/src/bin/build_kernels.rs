//! Resolves and builds several kernels with the library alone, with progress of our own: what each step took, at the end.
//!
//! ```text
//! cargo run -p ktstr-examples --bin build_kernels -- [--cache DIR] SOURCE...
//! ```
//!
//! SOURCE is what `cargo ktstr test --kernel` takes, such as `../linux` or `6.12..6.14`. Everything that is wrong with any
//! of them is told before one is built.

use std::error::Error;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ktstr_core::env::cache_root;
use ktstr_core::host::Host;
use ktstr_kernel::{
    BaseConfig, BuildOptions, Cache, Event, KernelSpec, Mirror, Progress, Remote, RemoteOptions,
    ResolvedKernel, Resolver, Toolchain, Transfer,
};
use lexopt::prelude::*;

/// Collects what each step took. Events come from several threads.
#[derive(Default)]
struct Steps(Mutex<Vec<(String, Duration)>>);

impl Steps {
    fn add(&self, step: String, took: Duration) {
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        steps.push((step, took));
    }
}

impl Progress for Steps {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::CacheHit { key, age, .. } => self.add(format!("cached as {key}, built"), age),
            Event::Finished { stage, took } => self.add(stage.to_string(), took),
            Event::Transfer {
                name,
                state: Transfer::Finished { took, .. },
            } => self.add(format!("fetching {name}"), took),
            _ => {}
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let host = Host::of_this_process();
    let lookup = |name: &str| host.var(name);
    let mut root = cache_root(lookup);
    let mut specs = Vec::new();
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("cache") => root = Some(arguments.value()?.into()),
            Value(value) => specs.push(KernelSpec::parse(&value.string()?, lookup)?),
            other => return Err(other.unexpected().into()),
        }
    }
    let cache = Cache::new(root.ok_or("HOME is not set; name a directory with --cache")?);
    let options = BuildOptions {
        base_config: BaseConfig::Lean,
        extra_kconfig: None,
        force: false,
        clean: false,
        jobs: thread::available_parallelism()?.get(),
        toolchain: Toolchain::from_env(lookup)?,
        ccache: true,
        path: host.path.clone(),
    };
    let remote = Remote::new(
        Mirror::kernel_org(),
        cache.clone(),
        RemoteOptions::from_env(lookup),
    )?;
    let resolver = Resolver::new(cache, options).fetching(remote);
    let steps = Steps::default();
    let mut done = |spec: &KernelSpec, kernel: &ResolvedKernel| {
        let (version, image) = (&kernel.version, kernel.image.display());
        println!("{spec}: Linux {version}: {image}");
    };
    let kernels = resolver.resolve_all(&specs, &steps, &mut done)?;
    println!("{} kernels", kernels.len());
    let steps = steps.0.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (step, took) in steps {
        println!("  {step}: {:.1} s", took.as_secs_f64());
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("build_kernels: {error}");
            ExitCode::FAILURE
        }
    }
}
