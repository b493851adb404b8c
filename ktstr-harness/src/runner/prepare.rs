//! From a plan to what a machine is made of: kernel, backend, scheduler, initramfs, limits.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ktstr_core::{KernelLabel, Topology, Verdict};
use ktstr_kernel::discover::discover;
use ktstr_kernel::{Cache, ImageInfo};
use ktstr_vmm::initramfs::{Initramfs, Pack, PackedInitramfs};
use ktstr_vmm::{Backend, BackendSelection, KvmError, MachineError, MachineSpec, guest_memory_mib};

use super::placement;
use super::plan::MachinePlan;
use super::refusal::Refusal;
use super::settings::Settings;
use crate::cases::NamedKernel;
use crate::protocol::{PROFILE_FILE, PROFILE_VARIABLE};
use crate::scheduler::SchedulerSource;
use crate::{Scheduler, guest};

/// Time to get to userspace: several times what emulation takes on a machine of its own, which is 1 s
/// with 2 CPUs, 10 s with 64 and 50 s with 192.
fn boot_limit(topology: Topology) -> Duration {
    Duration::from_secs(120 + u64::from(topology.cpus()))
}

/// Time for the report to arrive after the body's own limit: the guest ends it by itself.
const REPORT_GRACE: Duration = Duration::from_secs(30);

/// The kernel of a run.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    pub(crate) image: PathBuf,
    pub(crate) label: KernelLabel,
    /// What the image says; the guest says it better.
    pub(crate) version: String,
    /// How it was found, where nobody named it.
    pub(crate) found: Option<String>,
}

/// The kernel that is named, or one that is already built.
pub(super) fn kernel(named: Option<&NamedKernel>, settings: &Settings) -> Result<Kernel, Verdict> {
    let fail = |message: String| Verdict::fail("kernel", message);
    if let Some(named) = named {
        let info = ImageInfo::read(&named.image).map_err(|error| fail(error.to_string()))?;
        return Ok(Kernel {
            image: named.image.clone(),
            label: named.label.clone(),
            version: info.version,
            found: None,
        });
    }
    discover_kernel(settings)
}

/// The kernel that nobody named: one that is already built.
pub(crate) fn discover_kernel(settings: &Settings) -> Result<Kernel, Verdict> {
    let fail = |message: String| Verdict::fail("kernel", message);
    let cache = Cache::new(settings.cache().map_err(|error| fail(error.to_string()))?);
    let found = discover(&settings.host, &cache, &settings.dir)
        .map_err(|error| fail((settings.words)(Refusal::Kernel(&error))))?;
    let note = format!(
        "kernel {}: {} ({})",
        found.kernel.version,
        found.kernel.image.display(),
        found.origin
    );
    Ok(Kernel {
        image: found.kernel.image,
        label: found.kernel.label,
        version: found.kernel.version,
        found: Some(note),
    })
}

/// What carries machines on this host.
pub(super) fn backend(settings: &Settings) -> Result<BackendSelection, Verdict> {
    // A session tried it, once for all of its tests. Somebody may want another for this one.
    let is_wanted = |tried: &Backend| settings.backend.is_none_or(|wanted| wanted == *tried);
    if let Some(backend) = settings.tried_backend.filter(is_wanted) {
        return Ok(BackendSelection::tried(&settings.host, backend));
    }
    BackendSelection::detect(&settings.host, settings.backend).map_err(verdict_for_machine_error)
}

/// The settings' binary as init, with the scheduler's program and the files that the plan asks for.
pub(super) fn initramfs(
    plan: &MachinePlan,
    scheduler: Option<&Path>,
    settings: &Settings,
) -> Result<PackedInitramfs, Verdict> {
    let mut builder = Initramfs::builder().init(&settings.binary);
    if let Some(program) = scheduler {
        // Whole: it may read its own debug information, such as BTF.
        builder = builder.executable(program, Scheduler::PROGRAM, Pack::Whole);
    }
    if let SchedulerSource::KernelBuiltin { .. } = plan.scheduler.source {
        builder = builder.executable("/bin/sh", "/bin/sh", Pack::Whole);
    }
    if let Some(file) = plan.scheduler.config_file {
        let host = settings
            .relocation
            .now(plan.scheduler.manifest_dir)
            .join(file);
        builder = builder.file(host, Scheduler::CONFIG_FILE, 0o644);
    }
    for file in &plan.include_files {
        let host = settings.dir.join(file);
        let fail = |why: &str| {
            let message = format!("`{}` {why}", file.display());
            Verdict::fail("extra_include_files", message)
        };
        let name = host.file_name().ok_or_else(|| fail("has no file name"))?;
        if host.is_dir() {
            return Err(fail("is a directory; name the files in it"));
        }
        let guest = Path::new(guest::INCLUDE_DIR).join(name);
        builder = builder.executable(&host, guest, Pack::Whole);
    }
    let fail = |message: String| Verdict::fail("initramfs", message);
    let cache = settings.cache().map_err(|error| fail(error.to_string()))?;
    builder.build().build_cached(cache).map_err(|error| {
        // The check says it already.
        let error = error.to_string();
        fail(
            error
                .strip_prefix("initramfs: ")
                .unwrap_or(&error)
                .to_owned(),
        )
    })
}

/// The machine of `plan`, whose guest may take `limit` once it is ready.
pub(super) fn machine_spec(
    plan: &MachinePlan,
    limit: Duration,
    kernel: &Kernel,
    initramfs: &PackedInitramfs,
    settings: &Settings,
) -> MachineSpec {
    let topology = plan.topology;
    let boot_limit = boot_limit(topology);
    let mut cmdline = vec![format!("{}=1", guest::MARK)];
    if settings.coverage.is_some() {
        cmdline.push(format!("{PROFILE_VARIABLE}={PROFILE_FILE}"));
    }
    cmdline.extend(plan.kernel_args.iter().cloned());
    MachineSpec {
        initramfs: Some(initramfs.path().to_owned()),
        memory_mib: placement::memory_mib(
            guest_memory_mib(topology, plan.memory_mib, initramfs.size()),
            topology,
            placement::in_performance_mode(plan, settings),
        ),
        cmdline,
        boot_deadline: boot_limit,
        deadline: boot_limit + limit + REPORT_GRACE,
        verbose_console: settings.verbose,
        kernel_hz: ktstr_kernel::timer_hz(&kernel.image),
        ..MachineSpec::new(&kernel.image, topology)
    }
}

/// The verdict of a machine that could not be made or run.
// By value: it is what `map_err` wants.
#[expect(clippy::needless_pass_by_value)]
pub(super) fn verdict_for_machine_error(error: MachineError) -> Verdict {
    match error {
        // No fault of the test's, and nothing that a bigger effort would mend here.
        MachineError::TooLarge { .. }
        | MachineError::ApicIds { .. }
        | MachineError::HostPlacement(_)
        | MachineError::Kvm(KvmError::Performance { .. } | KvmError::Affinity { .. }) => {
            Verdict::skip(error.to_string())
        }
        _ => Verdict::fail("machine", error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use ktstr_core::host::Host;

    use super::*;

    #[test]
    fn what_a_session_tried_is_not_tried_again() {
        // Nothing works here, as far as looking would tell.
        let host = Host {
            path: "/no/such/place".into(),
            ..Host::default()
        };
        let mut settings = Settings::new(host, "/proc/self/exe", "/");
        for tried in [Backend::Kvm, Backend::Qemu] {
            settings.tried_backend = Some(tried);
            for own in [None, Some(tried)] {
                settings.backend = own;
                assert_eq!(backend(&settings).unwrap().backend(), tried);
            }
        }
        settings.tried_backend = Some(Backend::Kvm);
        settings.backend = Some(Backend::Qemu);
        assert!(
            backend(&settings).is_err(),
            "what this process wants was not tried"
        );
    }

    #[test]
    fn what_is_missing_for_an_initramfs_is_told() {
        let plan = MachinePlan::new(Topology::constant(1, 1, 1, 1));
        let settings = Settings::new(Host::default(), "/proc/self/exe", "/");
        let told = |plan: &MachinePlan| {
            let verdict = initramfs(plan, None, &settings).unwrap_err();
            verdict.details()[0].to_string()
        };
        assert!(told(&plan).starts_with("initramfs: no cache directory: set"));
        let of_directory = MachinePlan {
            include_files: vec!["proc".into()],
            ..plan
        };
        assert_eq!(
            told(&of_directory),
            "extra_include_files: `proc` is a directory; name the files in it"
        );
    }
}
