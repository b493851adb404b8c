//! What is known of a run so far, and goes into its record.

use std::io;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use ktstr_core::record::{
    KernelBuild, MachineSetup, SchedulerBuild, Sidecar, Timings, program_hash,
};
use ktstr_kernel::Metadata;
use ktstr_kernel::cache::ConfigOrigin;
use ktstr_vmm::Backend;

use super::kernel_verdict;
use super::observer::{RunEvent, RunObserver};
use super::outcome::RunTimes;
use super::prepare::Kernel;
use super::result::FailureArtifacts;
use crate::protocol::KernelSeen;
use crate::scx_exit::ScxExit;

/// Facts of a run of a case or a cell.
#[derive(Debug, Default)]
pub(super) struct RunFacts {
    pub(super) kernel: Option<Kernel>,
    pub(super) backend: Option<Backend>,
    pub(super) scheduler_build: Option<SchedulerBuild>,
    program_hash: Option<JoinHandle<io::Result<String>>>,
    machine: Option<MachineSetup>,
    performance: Option<bool>,
    timings: Timings,
    kernel_seen: KernelSeen,
    pub(super) artifacts: FailureArtifacts,
}

impl RunFacts {
    /// Hashes the scheduler's program while its machine boots: without optimisation, a program of 10 MB takes a tenth of a
    /// second and more.
    pub(super) fn hash_program(&mut self, program: PathBuf) {
        self.program_hash = Some(thread::spawn(move || program_hash(&program)));
    }

    /// Takes what is known of every machine that ran, however it ended.
    pub(super) fn take_machine(
        &mut self,
        times: RunTimes,
        performance_mode: bool,
        machine: MachineSetup,
        kernel_release: Option<&str>,
        console: &str,
    ) {
        self.machine = Some(machine);
        self.timings = times.into();
        self.performance = Some(performance_mode);
        if let (Some(kernel), Some(release)) = (&mut self.kernel, kernel_release) {
            // The guest's own word; what was read from the image may be less exact.
            release.clone_into(&mut kernel.version);
        }
        self.artifacts.take_console(console);
    }

    /// Takes the kernel's reports of its own faults.
    pub(super) fn take_kernel_seen(&mut self, seen: KernelSeen, observer: &mut dyn RunObserver) {
        if let Some(note) = kernel_verdict::note(&seen) {
            observer.event(RunEvent::Note(&note));
        }
        self.kernel_seen = seen;
    }

    /// Records how long a body took that ran on the host.
    pub(super) fn scenario_took(&mut self, seconds: f64) {
        self.timings.scenario_s = Some(seconds);
    }

    /// `record` with these facts, and the artifacts beside it.
    pub(super) fn into_record(mut self, record: Sidecar) -> (Sidecar, FailureArtifacts) {
        let hash = self.program_hash.and_then(|hash| hash.join().ok()?.ok());
        if let Some(build) = &mut self.scheduler_build {
            build.program_hash = hash;
        }
        let build = self
            .kernel
            .as_ref()
            .and_then(|kernel| kernel_build(&kernel.image));
        let (label, version) = match self.kernel {
            Some(Kernel { label, version, .. }) => (Some(label), Some(version)),
            None => (None, None),
        };
        let mut sidecar = Sidecar {
            kernel_version: version,
            kernel_label: label.or(record.kernel_label),
            kernel_build: build,
            scheduler_build: self.scheduler_build,
            machine: self.machine,
            backend: self.backend.map(|backend| backend.to_string()),
            performance_mode: self.performance,
            scheduler_exit: self.artifacts.scx_exit.as_ref().map(ScxExit::recorded),
            timings: self.timings,
            auto_repro: self
                .artifacts
                .auto_repro
                .as_ref()
                .map(|repro| repro.outcome.clone()),
            ..record
        };
        kernel_verdict::keep(self.kernel_seen, &mut sidecar);
        (sidecar, self.artifacts)
    }
}

/// The cache's description of the kernel at `image`; `None` if it is not in a cache.
fn kernel_build(image: &Path) -> Option<KernelBuild> {
    let metadata = Metadata::beside(image)?;
    Some(KernelBuild {
        key: metadata.key.to_string(),
        base_config: match metadata.config_origin {
            ConfigOrigin::Base(base) => base.to_string(),
            ConfigOrigin::Own(_) => "own".to_owned(),
        },
        built: metadata.built,
    })
}
