//! From what was typed after `--kernel` to kernels that can be booted.

use std::env::var_os;
use std::thread::available_parallelism;

use ktstr_core::env;
use ktstr_kernel::{
    BaseConfig, BuildOptions, Cache, Error, KernelSpec, LocalSource, ResolvedKernel, Resolver,
};

use crate::cli::Base;
use crate::failure::{Failure, one_line};
use crate::progress::Reporter;

/// Options of a build with this process's surroundings; `base` is what a flag said.
pub(crate) fn build_options(base: Option<Base>) -> Result<BuildOptions, Failure> {
    let base_config = match (base, var_os(env::BASE_CONFIG)) {
        (Some(base), _) => base.into(),
        (None, Some(name)) if !name.is_empty() => {
            let name = name.to_string_lossy();
            let parsed = name.parse::<BaseConfig>();
            parsed.map_err(|error| Failure::new(format!("{}: {error}", env::BASE_CONFIG)))?
        }
        _ => BaseConfig::default(),
    };
    Ok(BuildOptions {
        base_config,
        force: false,
        clean: false,
        // Counts the CPUs of our affinity, and those only.
        jobs: available_parallelism().map_or(1, usize::from),
        path: var_os("PATH").unwrap_or_default(),
    })
}

/// Resolves every identifier, in the order given; the same kernel given twice comes once.
///
/// `done` is called for each as it is ready. What fails does so at once: nothing is built before every
/// identifier made sense, and no failure keeps another from being told.
pub(crate) fn all(
    ids: &[String],
    cache: Cache,
    options: BuildOptions,
    reporter: &Reporter,
    mut done: impl FnMut(&ResolvedKernel),
) -> Result<Vec<ResolvedKernel>, Failure> {
    let resolver = Resolver::new(cache, options);
    let mut failure = Failure::default();
    let asked: Vec<_> = ids
        .iter()
        .enumerate()
        .filter(|(at, id)| !ids[..*at].contains(id))
        .filter_map(|(at, id)| Some((at, id, parse(id, &mut failure)?)))
        .collect();
    let (slow, quick): (Vec<_>, Vec<_>) =
        asked.into_iter().partition(|(_, _, (_, is_slow))| *is_slow);
    let mut kernels = Vec::new();
    for wave in [quick, slow] {
        failure = failure.into_result(Failure::default())?;
        for (at, id, (spec, _)) in wave {
            match resolver.resolve(&spec, reporter) {
                Ok(kernel) => {
                    reporter.line(&format!("resolved kernel \"{id}\""));
                    done(&kernel);
                    kernels.push((at, kernel));
                }
                Err(error) => add(&mut failure, &error),
            }
        }
    }
    failure.into_result(())?;
    kernels.sort_by_key(|(at, _)| *at);
    let mut unique: Vec<ResolvedKernel> = Vec::new();
    for (_, kernel) in kernels {
        if !unique.iter().any(|other| other.image == kernel.image) {
            unique.push(kernel);
        }
    }
    Ok(unique)
}

/// What `id` means, and whether it may have to be built.
fn parse(id: &str, failure: &mut Failure) -> Option<(KernelSpec, bool)> {
    let spec = match KernelSpec::parse(id, |name| var_os(name)) {
        Ok(spec) => spec,
        Err(error) => {
            failure.add(one_line(error));
            return None;
        }
    };
    let KernelSpec::Path(path) = &spec else {
        return Some((spec, false));
    };
    match LocalSource::identify(path) {
        Ok(source) => Some((spec, !matches!(source, LocalSource::Image { .. }))),
        Err(error) => {
            failure.add(one_line(error));
            None
        }
    }
}

fn add(failure: &mut Failure, error: &Error) {
    let mut context = Vec::new();
    if let Error::Make(make) = error {
        context.push(format!("last lines of {}:", make.log.display()));
        context.extend(make.tail.iter().map(|line| format!("  {line}")));
    }
    failure.add_with(context, one_line(error));
}
