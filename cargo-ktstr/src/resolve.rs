//! From what was typed after `--kernel` to kernels that can be booted.

use std::ffi::OsStr;

use ktstr_core::env;
use ktstr_core::host::Host;
use ktstr_harness::remedy::words;
use ktstr_kernel::{
    BuildOptions, Error, Failed, KernelSpec, Mirror, Remote, RemoteOptions, ResolvedKernel,
    Resolver,
};

use crate::cli::Base;
use crate::doctor::cache;
use crate::failure::{Failure, one_line};
use crate::progress::Reporter;

/// Options of a build with this process's surroundings; `base` is what a flag said, and then the variable says nothing.
pub(crate) fn build_options(base: Option<Base>) -> Result<BuildOptions, Failure> {
    let mut host = Host::of_this_process();
    if base.is_some() {
        host.env.remove(OsStr::new(env::BASE_CONFIG));
    }
    let mut options = BuildOptions::from_env(&host)?;
    if let Some(base) = base {
        options.base_config = base.into();
    }
    Ok(options)
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
    let host = Host::of_this_process();
    let mut options = RemoteOptions::from_env(&host);
    options.skip_sha256 = skip_sha256;
    let mirror = Mirror::from_env(&host)?;
    Ok(Remote::new(mirror, cache()?, options)?)
}

/// Resolves every identifier, in the order given; `on_ready` is called for each kernel as soon as it is there. Whatever is
/// wrong with any of them is told at once.
pub(crate) fn all(
    identifiers: &[String],
    resolver: &Resolver,
    reporter: &Reporter,
    mut on_ready: impl FnMut(&ResolvedKernel),
) -> Result<Vec<ResolvedKernel>, Failure> {
    let mut ready = |spec: &KernelSpec, kernel: &ResolvedKernel| {
        let version = match spec {
            KernelSpec::Range { .. } | KernelSpec::Series(_) | KernelSpec::Newest(_) => {
                format!(": {}", kernel.version)
            }
            _ => String::new(),
        };
        reporter.line(&format!("resolved kernel \"{spec}\"{version}"));
        on_ready(kernel);
    };
    let kernels = resolver.resolve_identifiers(identifiers, reporter, &mut ready);
    kernels.map_err(|failures| {
        let mut failure = Failure::default();
        for failed in &failures.0 {
            add(&mut failure, failed);
        }
        failure
    })
}

fn add(failure: &mut Failure, failed: &Failed) {
    let mut context = Vec::new();
    if let Error::Make(make) = &failed.error {
        context.push(format!("last lines of {}:", make.log.display()));
        context.extend(make.tail.iter().map(|line| format!("  {line}")));
    }
    let words = failed.error.remedy().as_ref().map(words);
    failure.add_with(
        context,
        one_line(format!("{failed}{}", words.unwrap_or_default())),
    );
}
