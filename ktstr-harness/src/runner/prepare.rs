//! From a plan to what a machine is made of: kernel, backend, scheduler, initramfs, limits.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ktstr_core::host::Host;
use ktstr_core::{KernelLabel, Topology, Verdict};
use ktstr_kernel::discover::discover;
use ktstr_kernel::{Cache, ImageInfo};
use ktstr_vmm::initramfs::{Pack, PackedInitramfs};
use ktstr_vmm::{Backend, BackendSelection, KvmError, MachineError, MachineSpec, guest_memory_mib};

use super::include;
use super::payload_program::HostProgram;
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

/// The limits of a machine with a debugger: a month.
const DEBUGGED: Duration = Duration::from_secs(30 * 24 * 3600);

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

/// What carries the machine of `plan` on this host.
pub(super) fn backend(
    plan: &MachinePlan,
    settings: &Settings,
) -> Result<BackendSelection, Verdict> {
    let wanted = MachineSpec {
        shared_directories: plan.shared_directories.clone(),
        gdb: plan.gdb.clone(),
        ..MachineSpec::new("", plan.topology)
    };
    if let Err(refused) = Backend::Kvm.check_features(&wanted) {
        // Before KVM is tried: it may not work here, which says nothing of what was asked for.
        if settings.backend == Some(Backend::Kvm) {
            return Err(verdict_for_machine_error(refused));
        }
        let qemu = BackendSelection::detect(&settings.host, Some(Backend::Qemu));
        return qemu.map_err(verdict_for_machine_error);
    }
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
    programs: &[HostProgram],
    settings: &Settings,
) -> Result<PackedInitramfs, Verdict> {
    let mut builder = plan.root.clone().init(&settings.binary);
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
    for program in programs {
        builder = builder.executable(&program.path, program.guest_path(), Pack::Whole);
    }
    let include_files = plan
        .include_files
        .iter()
        .map(|file| settings.dir.join(file));
    let of_programs = programs.iter().flat_map(|it| it.include_files.clone());
    // Several programs may need one file.
    let mut include_files: Vec<PathBuf> = include_files.chain(of_programs).collect();
    let mut seen = BTreeSet::new();
    include_files.retain(|file| seen.insert(file.clone()));
    builder = include::add(builder, &settings.dir, &include_files)
        .map_err(|error| Verdict::fail("extra_include_files", error.to_string()))?;
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

/// Fails where the host has less memory free than a guest takes whose initramfs asks for it: both copies of a large
/// one, and the page cache's, are really used, unlike most of a guest's memory.
pub(super) fn check_memory(spec: &MachineSpec, packed: u64, host: &Host) -> Result<(), Verdict> {
    let needed = guest_memory_mib(spec.topology, 0, packed);
    if needed == guest_memory_mib(spec.topology, 0, 0) {
        return Ok(());
    }
    let Some(free) = available_mib(&host.root) else {
        return Ok(());
    };
    if u64::from(needed) <= free {
        return Ok(());
    }
    let packed = packed.div_ceil(1 << 20);
    Err(Verdict::fail(
        "memory",
        format!(
            "the files of the guest are {packed} MiB, for which it needs {needed} MiB of memory, and this host has \
             {free} MiB free; include less, or free some"
        ),
    ))
}

/// Memory that programs can have without swapping.
fn available_mib(root: &Path) -> Option<u64> {
    let info = std::fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let mut lines = info.lines();
    let line = lines.find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
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
    // A debugger may stop it anywhere.
    let boot_limit = match &plan.gdb {
        Some(_) => DEBUGGED,
        None => boot_limit(topology),
    };
    let mut cmdline = vec![format!("{}=1", guest::MARK)];
    if settings.coverage.is_some() {
        cmdline.push(format!("{PROFILE_VARIABLE}={PROFILE_FILE}"));
    }
    cmdline.extend(plan.kernel_args.iter().cloned());
    MachineSpec {
        initramfs: Some(initramfs.path().to_owned()),
        memory_mib: placement::memory_mib(
            guest_memory_mib(topology, plan.memory_mib, initramfs.unpacked_size()),
            topology,
            placement::in_performance_mode(plan, settings),
        ),
        cmdline,
        boot_deadline: boot_limit,
        deadline: limit.saturating_add(boot_limit + REPORT_GRACE),
        verbose_console: settings.verbose,
        shared_directories: plan.shared_directories.clone(),
        gdb: plan.gdb.clone(),
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
    use super::*;

    #[test]
    fn what_a_session_tried_is_not_tried_again() {
        // Nothing works here, as far as looking would tell.
        let host = Host {
            path: "/no/such/place".into(),
            ..Host::default()
        };
        let mut settings = Settings::new(host, "/proc/self/exe", "/");
        let plan = MachinePlan::new(Topology::constant(1, 1, 1, 1));
        for tried in [Backend::Kvm, Backend::Qemu] {
            settings.tried_backend = Some(tried);
            for own in [None, Some(tried)] {
                settings.backend = own;
                assert_eq!(backend(&plan, &settings).unwrap().backend(), tried);
            }
        }
        settings.tried_backend = Some(Backend::Kvm);
        settings.backend = Some(Backend::Qemu);
        assert!(
            backend(&plan, &settings).is_err(),
            "what this process wants was not tried"
        );
    }

    #[test]
    fn what_qemu_alone_has_is_not_asked_of_kvm() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host {
            root: dir.path().into(),
            path: dir.path().into(),
            ..Host::default()
        };
        let mut settings = Settings::new(host, "/proc/self/exe", "/");
        let plan = MachinePlan {
            gdb: Some("/tmp/gdb".into()),
            ..MachinePlan::new(Topology::constant(1, 1, 1, 1))
        };
        settings.tried_backend = Some(Backend::Kvm);
        settings.backend = Some(Backend::Kvm);
        let refused = backend(&plan, &settings).unwrap_err();
        let told = refused.details()[0].to_string();
        assert!(
            told.contains("a debugger (gdb) needs the qemu backend"),
            "{told}"
        );
        // Nobody named one: QEMU is looked for, which is not here.
        settings.backend = None;
        let told = backend(&plan, &settings).unwrap_err().details()[0].to_string();
        assert!(told.contains("qemu-system-x86_64"), "{told}");
    }

    #[test]
    fn what_is_missing_for_an_initramfs_is_told() {
        let plan = MachinePlan::new(Topology::constant(1, 1, 1, 1));
        let settings = Settings::new(Host::default(), "/proc/self/exe", "/");
        let told = |plan: &MachinePlan| {
            let verdict = initramfs(plan, None, &[], &settings).unwrap_err();
            verdict.details()[0].to_string()
        };
        assert!(told(&plan).starts_with("initramfs: no cache directory: set"));
        let of_device = MachinePlan {
            include_files: vec!["dev/null".into()],
            ..plan
        };
        assert_eq!(
            told(&of_device),
            "extra_include_files: `/dev/null` is a device; name files and directories"
        );
    }

    #[test]
    fn a_large_initramfs_needs_memory_that_the_host_has() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("proc")).unwrap();
        let free = |mib: u64| {
            let info = format!("MemTotal: 1 kB\nMemAvailable:   {} kB\n", mib * 1024);
            std::fs::write(dir.path().join("proc/meminfo"), info).unwrap();
            Host {
                root: dir.path().into(),
                ..Host::default()
            }
        };
        let spec = MachineSpec::new("/kernel", Topology::constant(1, 1, 1, 1));
        let gib = 1 << 30;
        assert_eq!(check_memory(&spec, 10 << 20, &free(1)), Ok(()));
        assert_eq!(check_memory(&spec, gib, &free(3267)), Ok(()));
        let refused = check_memory(&spec, gib, &free(3266)).unwrap_err();
        let told = refused.details()[0].to_string();
        assert_eq!(
            told,
            "memory: the files of the guest are 1024 MiB, for which it needs 3267 MiB of memory, and this host has \
             3266 MiB free; include less, or free some"
        );
    }
}
