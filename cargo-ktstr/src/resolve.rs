//! From what was typed after `--kernel` to kernels that can be booted.

use std::env::var_os;
use std::thread::available_parallelism;

use ktstr_core::env;
use ktstr_kernel::{
    BaseConfig, BuildOptions, Error, Failed, KernelSpec, Mirror, Remote, RemoteOptions,
    ResolvedKernel, Resolver, SpecError, Toolchain,
};

use crate::cli::Base;
use crate::doctor::cache;
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
        extra_kconfig: None,
        force: false,
        clean: false,
        // Counts the CPUs of our affinity, and those only.
        jobs: available_parallelism().map_or(1, usize::from),
        toolchain: Toolchain::from_env(|name| var_os(name))?,
        ccache: var_os(env::CCACHE).is_none_or(|value| value != "0"),
        path: var_os("PATH").unwrap_or_default(),
    })
}

/// What is fetched, and how, where a kernel is not on disk.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fetching {
    /// Also take the last release of end-of-life series.
    pub(crate) include_eol: bool,
    /// Do not compare tarballs with the published checksums.
    pub(crate) skip_sha256: bool,
}

/// A resolver on this process's cache and mirror.
pub(crate) fn resolver(options: BuildOptions, fetching: Fetching) -> Result<Resolver, Failure> {
    let remote = remote(fetching.skip_sha256)?;
    Ok(Resolver::new(cache()?, options)
        .fetching(remote)
        .including_eol(fetching.include_eol))
}

/// The mirror that the environment names, else kernel.org.
pub(crate) fn remote(skip_sha256: bool) -> Result<Remote, Failure> {
    let lookup = |name: &str| var_os(name);
    let mirror = match var_os(env::KERNEL_MIRROR).filter(|base| !base.is_empty()) {
        Some(base) => Mirror::parse(&base.to_string_lossy())?,
        None => Mirror::kernel_org(),
    };
    let mut options = RemoteOptions::from_env(lookup);
    options.skip_sha256 = skip_sha256;
    Ok(Remote::new(mirror, cache()?, options)?)
}

/// Resolves every identifier, in the order given; the same kernel given twice comes once. `done` is called for each as
/// it is ready.
///
/// Everything that is wrong with any identifier is told at once, in the order given. Nothing is fetched or built before
/// every identifier made sense, and no failure keeps another from being told.
pub(crate) fn all(
    ids: &[String],
    resolver: &Resolver,
    reporter: &Reporter,
    mut done: impl FnMut(&ResolvedKernel),
) -> Result<Vec<ResolvedKernel>, Failure> {
    let parsed: Vec<Result<KernelSpec, SpecError>> = ids
        .iter()
        .map(|id| KernelSpec::parse(id, |name| var_os(name)))
        .collect();
    let specs: Vec<KernelSpec> = parsed.iter().flatten().cloned().collect();
    if specs.len() < ids.len() {
        // The others may be wrong too: nobody wants to hear of one after the other.
        let others = resolver.look_up_all(&specs, reporter);
        let others = others.map_or_else(|failures| failures.0, |()| Vec::new());
        return Err(all_failures(&parsed, &others));
    }
    let kernels = resolver.resolve_all(&specs, reporter, &mut |spec, kernel| {
        let version = match spec {
            KernelSpec::Range { .. } | KernelSpec::Series(_) | KernelSpec::Newest(_) => {
                format!(": {}", kernel.version)
            }
            _ => String::new(),
        };
        reporter.line(&format!("resolved kernel \"{spec}\"{version}"));
        done(kernel);
    });
    kernels.map_err(|failures| {
        let mut failure = Failure::default();
        for failed in &failures.0 {
            add(&mut failure, failed);
        }
        failure
    })
}

/// What is wrong with some of the identifiers, in their order.
fn all_failures(parsed: &[Result<KernelSpec, SpecError>], failed: &[Failed]) -> Failure {
    let mut failure = Failure::default();
    let mut told: Vec<&KernelSpec> = Vec::new();
    for parsed in parsed {
        match parsed {
            Ok(spec) if !told.contains(&spec) => {
                told.push(spec);
                let of_it = failed.iter().filter(|failed| failed.spec == *spec);
                of_it.for_each(|failed| add(&mut failure, failed));
            }
            Ok(_) => {}
            Err(error) => failure.add(one_line(error)),
        }
    }
    failure
}

fn add(failure: &mut Failure, failed: &Failed) {
    let mut context = Vec::new();
    if let Error::Make(make) = &failed.error {
        context.push(format!("last lines of {}:", make.log.display()));
        context.extend(make.tail.iter().map(|line| format!("  {line}")));
    }
    failure.add_with(context, one_line(failed));
}
