//! The checks, one function each.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ktstr_core::host::HostContext;
use ktstr_core::host::files::temporary_beside;
use ktstr_kernel::discover::{DiscoverError, Unusable, discover};
use ktstr_kernel::{CacheEntry, EntryState, LEAN_KCONFIG, build_path, tools};
use ktstr_vmm::{KvmAccess, Probe, find_qemu};

use super::{Check, Fix, Need, Request, State, distribution_source, nextest_version};
use crate::coverage::{CoverageError, LlvmTools};
use crate::process;
use crate::programs::{PATIENCE, find, first_line};
use ktstr_harness::remedy;

/// What building a kernel takes on disk, in bytes: sources, objects and an image with debug information.
const BUILD_BYTES: u64 = 4 << 30;

/// The oldest clang that builds schedulers (README.md of the kernel's `tools/sched_ext`).
const OLDEST_CLANG: u32 = 16;

impl Check {
    /// A check that needs nothing done.
    pub fn new(name: &'static str, state: State, detail: impl Into<String>) -> Self {
        Self {
            name,
            state,
            detail: detail.into(),
            fix: None,
            needs: Vec::new(),
        }
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn fix(mut self, fix: Fix) -> Self {
        self.fix = Some(fix);
        self
    }

    fn command(self, command: &str) -> Self {
        self.fix(Fix::Command(command.to_owned()))
    }

    fn advice(self, advice: &str) -> Self {
        self.fix(Fix::Advice(advice.to_owned()))
    }

    fn needs(mut self, needs: Vec<Need>, request: &Request<'_>) -> Self {
        self.fix = Some(request.install(&needs));
        self.needs = needs;
        self
    }
}

/// QEMU, which runs machines where KVM does not work.
pub(super) fn qemu(request: &Request<'_>) -> Check {
    let check = |state, detail: String| Check::new("QEMU", state, detail);
    let need = Need {
        name: "QEMU (qemu-system-x86_64)",
        debian: "qemu-system-x86",
    };
    let Some(path) = find_qemu(request.host) else {
        let detail = "no qemu-system-x86_64 in PATH; it runs the machines".to_owned();
        return check(State::Missing, detail).needs(vec![need], request);
    };
    match first_line(
        process::command(request.host, &path).arg("--version"),
        PATIENCE,
    ) {
        Ok(version) => check(State::Ok, format!("{}: {version}", path.display())),
        Err(why) => check(
            State::Missing,
            format!("{} is broken: {why}", path.display()),
        )
        .needs(vec![need], request),
    }
}

/// Cargo, which builds the tests.
pub(super) fn cargo(request: &Request<'_>) -> Check {
    let check = |state, detail: String| Check::new("cargo", state, detail);
    match request.cargo() {
        Ok(cargo) => check(State::Ok, cargo.display().to_string()),
        Err(why) => check(State::Missing, format!("{why}; it builds the tests"))
            .advice("install Rust, which brings it: https://rustup.rs"),
    }
}

/// Nextest, which runs the tests.
pub(super) fn nextest(request: &Request<'_>) -> Check {
    match nextest_version(request) {
        Ok(version) => Check::new("cargo-nextest", State::Ok, version),
        Err(why) => Check::new("cargo-nextest", State::Missing, why)
            .command("cargo install --locked cargo-nextest"),
    }
}

/// The cache directory, where kernels and initramfs images are kept.
pub(super) fn cache(request: &Request<'_>) -> Check {
    let check = |state, detail| Check::new("cache", state, detail);
    let root = request.cache.root();
    let existing = root.ancestors().find(|dir| dir.exists());
    let existing = existing.unwrap_or(Path::new("."));
    if let Err(error) = try_to_write(existing) {
        let detail = format!("{} cannot be written: {error}", root.display());
        let advice = "make it writable, or set KTSTR_CACHE_DIR to another directory";
        return check(State::Missing, detail).advice(advice);
    }
    let free = match rustix::fs::statvfs(existing) {
        Ok(space) => space.f_bavail.saturating_mul(space.f_frsize),
        Err(error) => {
            let detail = format!("{}: its free space is not known: {error}", root.display());
            return check(State::Limited, detail);
        }
    };
    if let Err(problem) = build_path::check(root) {
        let advice = "set KTSTR_CACHE_DIR to a directory without such characters";
        return check(State::Limited, problem.to_string()).advice(advice);
    }
    let detail = format!("{}, {} free", root.display(), gib(free));
    if free < BUILD_BYTES {
        let detail = format!(
            "{detail}; building a kernel takes about {}",
            gib(BUILD_BYTES)
        );
        let advice = "free some, or set KTSTR_CACHE_DIR to a directory with more room";
        return check(State::Limited, detail).advice(advice);
    }
    check(State::Ok, detail)
}

/// Permissions do not tell all: file systems may be read-only or full.
fn try_to_write(dir: &Path) -> io::Result<()> {
    let path = temporary_beside(&dir.join("ktstr-doctor"));
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)?;
    fs::remove_file(path)
}

/// The programs and headers that building a kernel needs.
pub(super) fn build_tools(request: &Request<'_>) -> Check {
    let check = |state, detail| Check::new("build tools", state, detail);
    let mut missing = tools::missing(request.host);
    let (state, what) = if missing.is_empty() {
        (State::Limited, "kernels of the lean configuration")
    } else {
        (State::Missing, "kernels")
    };
    missing.extend(tools::missing_compressor(LEAN_KCONFIG, request.host));
    if missing.is_empty() {
        let names: Vec<&str> = tools::BUILD_TOOLS.iter().map(|tool| tool.name).collect();
        return match pahole(request) {
            Ok(version) => check(State::Ok, format!("{}; {version}", names.join(", "))),
            Err(why) => {
                let need = Need {
                    name: "pahole",
                    debian: "pahole",
                };
                let detail = format!("{why}; kernels cannot be built");
                check(State::Missing, detail).needs(vec![need], request)
            }
        };
    }
    let names: Vec<&str> = missing.iter().map(|tool| tool.name).collect();
    let needs = missing.iter().map(|tool| Need {
        name: tool.name,
        debian: tool.debian,
    });
    let detail = format!("no {}; {what} cannot be built", names.join(", "));
    check(state, detail).needs(needs.collect(), request)
}

/// Which pahole there is, and which kernels it is too old for; an error where that is all of them.
fn pahole(request: &Request<'_>) -> Result<String, String> {
    let pahole = tools::Pahole::find("pahole", request.host)?;
    let found = format!("pahole {} ({})", pahole.version, pahole.program.display());
    let too_old = tools::OLDEST_PAHOLE
        .iter()
        .rev()
        .find(|(_, oldest)| pahole.version < *oldest);
    match too_old {
        None => Ok(format!("pahole {}", pahole.version)),
        Some(((0, 0), oldest)) => Err(format!("{found} is too old, {oldest} or later is needed")),
        Some(((major, minor), oldest)) => Ok(format!(
            "pahole {}; kernels from {major}.{minor} on need {oldest}",
            pahole.version
        )),
    }
}

/// The kernel that tests take when none is named. Without one, tests can run if one `can_be_built`.
pub(super) fn kernel(request: &Request<'_>, can_be_built: bool) -> Check {
    let check = |state, detail| Check::new("kernel", state, detail);
    let found = discover(request.host, request.cache, request.dir);
    let skipped = match found {
        Ok(found) => {
            let (kernel, origin) = (found.kernel, found.origin);
            let detail = format!("{}: {} ({origin})", kernel.version, kernel.image.display());
            return check(State::Ok, detail);
        }
        Err(DiscoverError::Nothing { skipped }) => skipped,
        // A variable or a cache that leads nowhere: its own words say what to do.
        Err(error) => return check(State::Missing, remedy::worded(&error)),
    };
    let mut detail = "none is built yet".to_owned();
    if !skipped.is_empty() {
        let problems: Vec<String> = skipped.iter().map(Unusable::problem).collect();
        detail = format!("{detail}; not usable: {}", problems.join("; "));
    }
    let source = distribution_source(&request.host.root);
    let source = source.map_or("../linux".to_owned(), |path| path.display().to_string());
    let state = if can_be_built {
        State::Limited
    } else {
        State::Missing
    };
    check(state, detail).fix(Fix::BuildKernel { source })
}

/// The kernels in the cache.
pub(super) fn cached_kernels(request: &Request<'_>) -> Check {
    let check = |state, detail| Check::new("cached kernels", state, detail);
    let entries = match request.cache.list() {
        Ok(entries) => entries,
        Err(error) => return check(State::Limited, error.to_string()),
    };
    let is_corrupt = |entry: &&CacheEntry| matches!(entry.state, EntryState::Corrupt(_));
    let corrupt = entries.iter().filter(is_corrupt).count();
    let usable = entries.iter().filter(|entry| entry.metadata().is_some());
    let valid: Vec<&CacheEntry> = usable.collect();
    let mut detail = match valid.as_slice() {
        [] => "none".to_owned(),
        [newest, ..] => format!("{}; newest: {}", valid.len(), newest.key),
    };
    if corrupt == 0 {
        return check(State::Info, detail);
    }
    detail = format!("{detail}; {corrupt} corrupt");
    check(State::Limited, detail).fix(Fix::RemoveCorruptKernels)
}

/// Hardware virtualization: machines run on it where it works.
pub(super) fn kvm(request: &Request<'_>) -> Check {
    let access = Probe::new(request.host).kvm;
    let found = access.to_string();
    let emulated = format!("{found}; QEMU emulates machines, which is slower");
    match access {
        KvmAccess::Works => Check::new("KVM", State::Ok, format!("{found}; machines run on it")),
        KvmAccess::Absent | KvmAccess::Broken(_) => Check::new("KVM", State::Info, emulated),
        KvmAccess::Refused(_) => {
            let device = fs::metadata(request.host.root.join("dev/kvm"));
            let (mode, group) = device.map_or((0o660, 0), |it| (it.mode(), it.gid()));
            let groups = rustix::process::getgroups().unwrap_or_default();
            let is_ours = groups.iter().any(|ours| ours.as_raw() == group)
                || rustix::process::getegid().as_raw() == group;
            let names = fs::read_to_string(request.host.root.join("etc/group")).unwrap_or_default();
            let mut check = Check::new("KVM", State::Limited, emulated);
            check.fix = Some(kvm_fix(mode, group_name(&names, group), is_ours));
            check
        }
    }
}

/// What gives this user a `/dev/kvm` of `mode` that belongs to `group`, which may be one that the user `is in`.
pub(super) fn kvm_fix(mode: u32, group: Option<&str>, is_in: bool) -> Fix {
    if mode & 0o060 != 0o060 {
        return Fix::Command("sudo chgrp kvm /dev/kvm && sudo chmod 660 /dev/kvm".to_owned());
    }
    match group {
        // Whoever is in it has all of the host.
        Some(group) if !is_in && group != "root" => {
            Fix::Command(format!("sudo usermod -aG {group} \"$USER\", then log in again"))
        }
        _ if is_in => Fix::Advice(
            "its group is one of yours, so something else refuses it: a container needs the device, as by docker run --device /dev/kvm"
                .to_owned(),
        ),
        _ => Fix::Command("sudo chgrp kvm /dev/kvm".to_owned()),
    }
}

/// The name of the group `id` in the lines of `/etc/group`.
fn group_name(groups: &str, id: u32) -> Option<&str> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then_some(name)
    })
}

/// Huge pages, which performance mode uses where there are any.
pub(super) fn hugepages(request: &Request<'_>) -> Check {
    let found = match HostContext::read(&request.host.root).free_hugepages {
        Some(count) => format!("{count} of 2 MiB free"),
        None => "this kernel offers none of 2 MiB".to_owned(),
    };
    let detail = format!("{found}; for performance mode");
    Check::new("hugepages", State::Info, detail)
}

/// The host's control groups; tests use the guest's.
pub(super) fn cgroup2(request: &Request<'_>) -> Check {
    let mounts = fs::read_to_string(request.host.root.join("proc/self/mounts")).unwrap_or_default();
    let place = mounts.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let place = fields.next()?;
        (fields.next() == Some("cgroup2")).then_some(place)
    });
    let found = match place {
        Some(place) => format!("mounted at {place}"),
        None => "not mounted".to_owned(),
    };
    let detail = format!("{found}; tests use the guest's own");
    Check::new("cgroup2", State::Info, detail)
}

/// Clang, which builds schedulers; ktstr itself does not need it.
pub(super) fn clang(request: &Request<'_>) -> Check {
    let check = |detail| Check::new("clang", State::Info, detail);
    let path = &request.host.path;
    let numbered = (OLDEST_CLANG..40).rev().map(|n| format!("clang-{n}"));
    let mut found = None;
    for program in std::iter::once("clang".to_owned())
        .chain(numbered)
        .filter_map(|name| find(&name, path))
    {
        let Ok(line) = first_line(
            process::command(request.host, &program).arg("--version"),
            PATIENCE,
        ) else {
            continue;
        };
        let detail = format!("{}: {line}", program.display());
        if clang_version(&line) >= Some(OLDEST_CLANG) {
            return check(detail);
        }
        found.get_or_insert(detail);
    }
    let found = found.map_or("not found".to_owned(), |found| format!("too old: {found}"));
    let detail = format!("{found}; schedulers are built with clang {OLDEST_CLANG} or later");
    let need = Need {
        name: "clang",
        debian: "clang-19",
    };
    check(detail).needs(vec![need], request)
}

/// What `cargo ktstr coverage` takes.
pub(super) fn coverage(request: &Request<'_>) -> Check {
    let check = |detail: String| Check::new("coverage", State::Info, detail);
    match LlvmTools::find(request.host, request.dir) {
        Ok(tools) => check(format!("cargo-llvm-cov, and {tools}")),
        Err(CoverageError::NoLlvmCov) => {
            check("no cargo-llvm-cov, which `cargo ktstr coverage` takes".to_owned())
                .command("cargo install --locked cargo-llvm-cov")
        }
        Err(CoverageError::NoTools { llvm }) => {
            let detail = format!("no llvm-cov and llvm-profdata of LLVM {llvm}, which rustc has");
            let package = format!("llvm-{llvm}");
            let has_rustup = find("rustup", &request.host.path).is_some();
            check(detail).fix(if has_rustup {
                Fix::Command("rustup component add llvm-tools-preview".to_owned())
            } else {
                request.install_by_name(&format!("LLVM {llvm}"), &package)
            })
        }
        Err(error) => check(error.to_string()),
    }
}

/// The major version in `… clang version 19.1.7 …`.
fn clang_version(line: &str) -> Option<u32> {
    let (_, rest) = line.split_once("version ")?;
    rest.split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// `bytes` in GiB with one decimal, rounded down.
fn gib(bytes: u64) -> String {
    let tenths = u128::from(bytes) * 10 / (1 << 30);
    format!("{}.{} GiB", tenths / 10, tenths % 10)
}
