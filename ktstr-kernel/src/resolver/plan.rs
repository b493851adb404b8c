//! The steps from identifiers to kernels, each for all of them before the next begins.
//!
//! Identifiers become sources, and what is there already is taken; then every source that is missing is fetched; only then
//! is anything built. What goes wrong in a step is told of all identifiers at once.

use std::path::PathBuf;

use super::failures::Failures;
use crate::confine;
use crate::parallel;
use crate::progress::Progress;
use crate::resolved::ResolvedKernel;
use crate::source::{BoxedSource, Identifier, Setup};
use crate::spec::KernelSpec;

/// How many sources are fetched at once.
const FETCHES: usize = 4;

/// Told of each kernel that is ready, and of the identifier that named it.
pub(super) type OnReady<'a> = &'a mut dyn FnMut(&KernelSpec, &ResolvedKernel);

/// One kernel to come.
struct Wanted<'s> {
    /// The place of its identifier among those given.
    position: usize,
    spec: &'s KernelSpec,
    source: BoxedSource<'s>,
    kernel: Option<ResolvedKernel>,
}

impl Wanted<'_> {
    fn ready(&mut self, kernel: ResolvedKernel, on_ready: OnReady<'_>) {
        on_ready(self.spec, &kernel);
        self.kernel = Some(kernel);
    }
}

/// An identifier as it was written; what lies on disk, as its path.
pub(super) fn asked(spec: &KernelSpec) -> PathBuf {
    match spec {
        KernelSpec::Path(path) => path.clone(),
        other => other.to_string().into(),
    }
}

/// Kernels on their way.
pub(super) struct Plan<'s> {
    setup: &'s Setup,
    progress: &'s dyn Progress,
    wanted: Vec<Wanted<'s>>,
}

impl<'s> Plan<'s> {
    /// Finds out what each identifier names, and takes what is there.
    pub(super) fn new(
        setup: &'s Setup,
        specs: &'s [KernelSpec],
        progress: &'s dyn Progress,
        on_ready: OnReady<'_>,
    ) -> Result<Self, Failures> {
        let identifier = Identifier::new(setup, progress);
        let mut failures = Failures::new();
        let mut wanted: Vec<Wanted<'s>> = Vec::new();
        for (position, spec) in specs.iter().enumerate() {
            if specs[..position].contains(spec) {
                continue;
            }
            let sources = identifier.identify(spec).unwrap_or_else(|error| {
                failures.add(position, &spec.to_string(), error);
                Vec::new()
            });
            for source in sources {
                let release = source.release();
                let is_same = |other: &Wanted<'_>| other.source.release() == release;
                if release.is_none() || !wanted.iter().any(is_same) {
                    wanted.push(Wanted {
                        position,
                        spec,
                        source,
                        kernel: None,
                    });
                }
            }
        }
        for wanted in &mut wanted {
            let asked = asked(wanted.spec);
            match wanted.source.look_up(&setup.request(&asked, progress)) {
                Ok(Some(kernel)) => wanted.ready(kernel, on_ready),
                Ok(None) => {}
                Err(error) => failures.add(wanted.position, &wanted.spec.to_string(), error),
            }
        }
        failures.into_result()?;
        Ok(Self {
            setup,
            progress,
            wanted,
        })
    }

    /// Fetches what is missing, several at once.
    pub(super) fn fetch(&mut self, on_ready: OnReady<'_>) -> Result<(), Failures> {
        let (setup, progress) = (self.setup, self.progress);
        let missing = self.wanted.iter_mut();
        let missing: Vec<_> = missing.filter(|wanted| wanted.kernel.is_none()).collect();
        let fetched = parallel::map(missing, FETCHES, |wanted| {
            let asked = asked(wanted.spec);
            let fetched = wanted.source.fetch(&setup.request(&asked, progress));
            (wanted, fetched)
        });
        let mut failures = Failures::new();
        for (wanted, fetched) in fetched {
            match fetched {
                Ok(Some(kernel)) => wanted.ready(kernel, on_ready),
                Ok(None) => {}
                Err(error) => failures.add(wanted.position, &wanted.spec.to_string(), error),
            }
        }
        failures.into_result()
    }

    /// Prepares what is left, one after the other: each build takes all CPUs. That one fails keeps no other from being
    /// tried.
    pub(super) fn prepare(&mut self, on_ready: OnReady<'_>) -> Result<(), Failures> {
        let (setup, progress) = (self.setup, self.progress);
        let mut failures = Failures::new();
        for wanted in &mut self.wanted {
            if wanted.kernel.is_some() {
                continue;
            }
            let asked = asked(wanted.spec);
            let request = setup.request(&asked, progress);
            let source = &*wanted.source;
            match confine::on(setup.options.cpus.as_ref(), || source.prepare(&request)) {
                Ok(kernel) => wanted.ready(kernel, on_ready),
                Err(error) => failures.add(wanted.position, &wanted.spec.to_string(), error),
            }
        }
        failures.into_result()
    }

    /// The kernels in the order of their identifiers, each once.
    pub(super) fn into_kernels(self) -> Vec<ResolvedKernel> {
        let mut kernels: Vec<ResolvedKernel> = Vec::new();
        for kernel in self.wanted.into_iter().filter_map(|wanted| wanted.kernel) {
            if !kernels.iter().any(|other| other.image == kernel.image) {
                kernels.push(kernel);
            }
        }
        kernels
    }
}
