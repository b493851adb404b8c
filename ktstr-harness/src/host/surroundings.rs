//! What a machine is made from: kernel, back end, initramfs, limits.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ktstr_core::{KernelLabel, Topology, Verdict};
use ktstr_kernel::discover::{Discovery, discover};
use ktstr_kernel::{Cache, ImageInfo};
use ktstr_vmm::initramfs::Pack;
use ktstr_vmm::{
    Choice, Initramfs, KvmError, MachineError, MachineSpec, PackedInitramfs, find_qemu,
    guest_memory_mib,
};

use super::place;
use crate::dispatch::{NamedKernel, Settings};
use crate::protocol::RunSpec;
use crate::scheduler::Source;
use crate::{Scheduler, TestCase, guest};

/// Time to get to userspace: several times what emulation takes on a machine of its own, which is 1 s
/// with 2 CPUs, 10 s with 64 and 50 s with 192.
fn boot_limit(topology: Topology) -> Duration {
    Duration::from_secs(120 + u64::from(topology.cpus()))
}

/// Time for the report to arrive after the body's own limit: the guest ends it by itself.
const REPORT_GRACE: Duration = Duration::from_secs(30);

/// Time to set probes up and to read what they recorded: the guest ends both by itself.
pub(super) const PROBE_GRACE: Duration = Duration::from_secs(40);

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
    discovered(settings)
}

/// The kernel that nobody named: one that is already built.
pub(crate) fn discovered(settings: &Settings) -> Result<Kernel, Verdict> {
    let fail = |message: String| Verdict::fail("kernel", message);
    let cache = Cache::new(settings.cache().map_err(|error| fail(error.to_string()))?);
    let found = discover(&Discovery {
        env: &|name| std::env::var_os(name),
        cache: &cache,
        dir: &settings.dir,
        root: Path::new("/"),
    })
    .map_err(|error| fail(crate::remedy::worded(&error)))?;
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

/// What carries machines on this host: the back end, and the QEMU it may need.
pub(super) fn backend(settings: &Settings) -> Result<Choice, Verdict> {
    let told = settings
        .session
        .as_ref()
        .and_then(|session| session.backend);
    // A session tried it, once for all of its tests. Somebody may want another for this one.
    if let Some(backend) = told.filter(|told| settings.backend.is_none_or(|own| own == *told)) {
        return Ok(Choice {
            backend,
            qemu: find_qemu(&settings.path),
            why: None,
        });
    }
    Choice::make(&settings.path, Path::new("/"), settings.backend).map_err(early)
}

/// This binary as init, with the scheduler and the files the test asks for.
pub(super) fn initramfs(
    test: &TestCase,
    scheduler: Option<&Path>,
    settings: &Settings,
) -> Result<PackedInitramfs, Verdict> {
    let mut builder = Initramfs::builder().init(&settings.binary);
    if let Some(program) = scheduler {
        // Whole: it may read its own debug information, such as BTF.
        builder = builder.executable(program, Scheduler::PROGRAM, Pack::Whole);
    }
    if let Source::KernelBuiltin { .. } = test.scheduler.source {
        builder = builder.executable("/bin/sh", "/bin/sh", Pack::Whole);
    }
    if let Some(file) = test.scheduler.config_file {
        let host = settings.dirs.now(test.scheduler.manifest_dir).join(file);
        builder = builder.file(host, Scheduler::CONFIG_FILE, 0o644);
    }
    for file in test.extra_include_files {
        let host = settings.dir.join(file);
        let fail = |why: &str| Verdict::fail("extra_include_files", format!("`{file}` {why}"));
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

/// What there is to know of an initramfs that is packed for each run.
pub(super) fn not_cached(initramfs: &PackedInitramfs) -> Option<String> {
    let why = initramfs.not_cached()?;
    Some(format!("each run packs its initramfs anew: {why}"))
}

/// What the guest is told to run.
pub(super) fn run_spec(test: &TestCase, topology: Topology, settings: &Settings) -> RunSpec {
    RunSpec {
        test: test.name.to_owned(),
        topology,
        duration: test.duration(),
        limit: test.body_limit(),
        checks: test.checks,
        env: settings.guest_env.clone(),
        scheduler: super::scheduler::spec(test),
        probes: None,
        allow_kernel_warnings: super::kernel::allowed(test),
    }
}

/// The machine that runs it, on which the guest may take `limit` once it is ready.
pub(super) fn machine_spec(
    test: &TestCase,
    topology: Topology,
    limit: Duration,
    kernel: &Kernel,
    initramfs: &PackedInitramfs,
    qemu: Option<PathBuf>,
    settings: &Settings,
) -> MachineSpec {
    let boot_limit = boot_limit(topology);
    let plain = MachineSpec::new(&kernel.image, topology);
    let mut cmdline = vec![format!("{}=1", guest::MARK)];
    cmdline.extend(test.scheduler.kargs.iter().map(|karg| (*karg).to_owned()));
    if !test.kaslr {
        cmdline.push("nokaslr".to_owned());
    }
    MachineSpec {
        initramfs: Some(initramfs.path().to_owned()),
        memory_mib: place::memory_mib(
            guest_memory_mib(topology, test.memory_mib, initramfs.size()),
            topology,
            place::in_performance_mode(test, settings),
        ),
        cmdline,
        boot_deadline: boot_limit,
        deadline: boot_limit + limit + REPORT_GRACE,
        verbose_console: settings.verbose,
        kernel_hz: ktstr_kernel::timer_hz(&kernel.image),
        qemu: qemu.unwrap_or(plain.qemu),
        ..plain
    }
}

/// The verdict of a machine that could not be made or run.
// By value: it is what `map_err` wants.
#[expect(clippy::needless_pass_by_value)]
pub(super) fn early(error: MachineError) -> Verdict {
    match error {
        // No fault of the test's, and nothing that a bigger effort would mend here.
        MachineError::TooLarge { .. }
        | MachineError::ApicIds { .. }
        | MachineError::HostShare(_)
        | MachineError::Kvm(KvmError::Performance { .. } | KvmError::Affinity { .. }) => {
            Verdict::skip(error.to_string())
        }
        _ => Verdict::fail("machine", error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use ktstr_vmm::Backend;

    use super::*;
    use crate::dispatch::SessionInfo;

    #[test]
    fn what_a_session_tried_is_not_tried_again() {
        let told = |backend| SessionInfo {
            id: "1".to_owned(),
            runs_dir: "/r".into(),
            backend: Some(backend),
            builder: None,
        };
        let mut settings = Settings::read().unwrap();
        // Nothing works here, as far as looking would tell.
        settings.path = "/no/such/place".into();
        for told_backend in [Backend::Kvm, Backend::Qemu] {
            settings.session = Some(told(told_backend));
            for own in [None, Some(told_backend)] {
                settings.backend = own;
                assert_eq!(backend(&settings).unwrap().backend, told_backend);
            }
        }
        settings.session = Some(told(Backend::Kvm));
        settings.backend = Some(Backend::Qemu);
        assert!(
            backend(&settings).is_err(),
            "what this process wants was not tried"
        );
    }
}
