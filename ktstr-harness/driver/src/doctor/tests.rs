use std::ffi::OsString;
use std::process::Command;

use super::bz_image::bz_image;
use super::*;

/// A host made of files: programs in `bin`, everything else where it belongs.
struct Place {
    root: tempfile::TempDir,
    cache: Cache,
    is_root: bool,
    variables: Vec<(&'static str, OsString)>,
}

impl Place {
    fn bare() -> Self {
        let root = tempfile::tempdir().unwrap();
        for dir in ["bin", "proj"] {
            fs::create_dir(root.path().join(dir)).unwrap();
        }
        let variables = vec![
            ("PATH", root.path().join("bin").into()),
            ("CARGO", root.path().join("bin/cargo").into()),
        ];
        let cache = Cache::new(root.path().join("cache"));
        Self {
            root,
            cache,
            is_root: false,
            variables,
        }
    }

    /// One with everything but a kernel.
    fn full() -> Self {
        let host = Self::bare();
        host.program("qemu-system-x86_64", "echo QEMU emulator version 9.9");
        host.program("cargo", "echo cargo-nextest 0.9.99");
        host.program("apt-get", "exit 1");
        // It packs kernels of the lean configuration.
        host.program("lz4", "exit 1");
        for tool in tools::BUILD_TOOLS {
            match tool.detection {
                tools::Detection::Program("pahole") => host.program("pahole", "echo v1.24"),
                tools::Detection::Program(name) => host.program(name, "exit 1"),
                tools::Detection::Header(name) => host.file(&format!("usr/include/{name}"), ""),
            }
        }
        host
    }

    fn file(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn program(&self, name: &str, script: &str) {
        let text = format!("script/{name}");
        self.file(&text, format!("#!/bin/sh\n{script}\n"));
        // A program that was open for writing here while another thread forks cannot be executed.
        let mut install = Command::new("install");
        install.args(["-m", "755"]).arg(self.root.path().join(text));
        let installed = install
            .arg(self.root.path().join("bin").join(name))
            .status();
        assert!(installed.unwrap().success());
    }

    fn remove(&self, path: &str) {
        fs::remove_file(self.root.path().join(path)).unwrap();
    }

    fn examine(&self) -> Report {
        let host = Host {
            root: self.root.path().to_owned(),
            path: self.root.path().join("bin").into(),
            ..Host::default().with_vars(self.variables.iter().cloned())
        };
        examine(&Request {
            host: &host,
            cache: &self.cache,
            dir: &self.root.path().join("proj"),
            is_root: self.is_root,
        })
    }
}

impl Fix {
    fn text(&self) -> &str {
        match self {
            Self::Command(text) | Self::Advice(text) => text,
            Self::BuildKernel { source } => source,
            Self::RemoveCorruptKernels => "",
        }
    }
}

impl Report {
    fn check(&self, name: &str) -> &Check {
        self.checks.iter().find(|check| check.name == name).unwrap()
    }

    fn state(&self, name: &str) -> State {
        self.check(name).state
    }
}

#[test]
fn a_bare_host_lacks_everything_and_is_told_how_to_get_it() {
    let host = Place::bare();
    let report = host.examine();
    assert!(!report.ready);
    for name in ["QEMU", "cargo-nextest", "build tools", "kernel"] {
        assert_eq!(report.state(name), State::Missing, "{name}");
        assert!(report.check(name).fix.is_some(), "{name}");
    }
    let Some(Fix::Advice(names)) = report.install else {
        panic!("no command without apt-get")
    };
    assert!(
        names.contains("package manager: QEMU") && names.contains("openssl"),
        "{names}"
    );

    host.program("apt-get", "exit 1");
    let mut host = host;
    let install = host.examine().install.unwrap();
    let command = install.text();
    assert!(
        command.starts_with("sudo apt-get install qemu-system-x86 make "),
        "{command}"
    );
    assert!(
        command.ends_with("libssl-dev lz4"),
        "what is optional is not in it: {command}"
    );
    host.is_root = true;
    let install = host.examine().install.unwrap();
    let command = install.text();
    assert!(command.starts_with("apt-get install "), "{command}");
}

#[test]
fn a_full_host_is_ready_and_builds_its_first_kernel() {
    let host = Place::full();
    host.file("usr/src/linux-source-6.9.tar.xz", "");
    host.file("usr/src/linux-source-6.12.tar.xz", "");
    let report = host.examine();
    assert!(report.ready, "{report:?}");
    assert_eq!(report.install, None);
    assert!(report.check("QEMU").detail.ends_with("version 9.9"));
    assert_eq!(report.check("cargo-nextest").detail, "cargo-nextest 0.9.99");
    assert_eq!(report.state("kernel"), State::Limited);
    let fix = report.check("kernel").fix.as_ref().unwrap().text();
    assert!(fix.ends_with("/usr/src/linux-source-6.12.tar.xz"), "{fix}");
    assert!(!host.cache.root().exists(), "doctor makes nothing");
    let left = fs::read_dir(host.root.path()).unwrap();
    let left = left.filter(|entry| entry.as_ref().unwrap().path().is_file());
    assert_eq!(left.count(), 0, "doctor leaves nothing");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["checks"][0]["state"], "ok");
    assert_eq!(json["ready"], true);
}

#[test]
fn what_a_built_kernel_makes_of_missing_build_tools() {
    let host = Place::full();
    host.remove("bin/lz4");
    let report = host.examine();
    assert!(report.ready, "other configurations can be built");
    assert_eq!(report.state("build tools"), State::Limited);

    host.program("lz4", "exit 1");
    host.remove("bin/bison");
    let report = host.examine();
    assert!(!report.ready, "neither a kernel nor what builds one");
    assert_eq!(report.state("build tools"), State::Missing);

    host.file("boot/vmlinuz-6.9", bz_image("6.9.0"));
    let report = host.examine();
    assert!(report.ready, "{report:?}");
    assert_eq!(report.state("kernel"), State::Ok);
    assert_eq!(report.state("build tools"), State::Limited);
    assert_eq!(report.install.unwrap().text(), "sudo apt-get install bison");
}

#[test]
fn the_version_of_pahole_counts() {
    let host = Place::full();
    let tools = |script: &str| {
        host.program("pahole", script);
        let check = host.examine().check("build tools").clone();
        (check.state, check.detail)
    };
    let (state, detail) = tools("echo v1.24");
    assert_eq!(state, State::Ok);
    assert!(
        detail.ends_with("; pahole 1.24; kernels from 7.1 on need 1.26"),
        "{detail}"
    );
    assert!(tools("echo v1.30").1.ends_with("; pahole 1.30"));
    let (state, detail) = tools("echo v1.15");
    assert_eq!(state, State::Missing);
    assert!(
        detail.starts_with("pahole 1.15 (") && detail.contains("is too old, 1.21 or later"),
        "{detail}"
    );
    let (state, detail) = tools("exit 1");
    assert_eq!(state, State::Missing);
    assert!(
        detail.contains("/pahole: it fails: exit status: 1"),
        "{detail}"
    );
}

#[test]
fn what_is_there_but_broken_is_missing() {
    let mut host = Place::full();
    host.program("qemu-system-x86_64", "exit 127");
    host.program("cargo", "exit 101");
    host.variables.push(("KTSTR_TEST_KERNEL", "".into()));
    host.file("cache/kernels/broken-entry/bzImage", "");
    let report = host.examine();
    assert!(!report.ready);
    assert_eq!(report.state("QEMU"), State::Missing);
    assert_eq!(report.state("cargo-nextest"), State::Missing);
    assert_eq!(report.state("kernel"), State::Missing);
    assert!(
        report
            .check("kernel")
            .detail
            .contains("KTSTR_TEST_KERNEL is set but empty")
    );
    assert_eq!(report.state("cached kernels"), State::Limited);
    let fix = &report.check("cached kernels").fix;
    assert_eq!(*fix, Some(Fix::RemoveCorruptKernels));
}

#[test]
fn a_cache_that_takes_no_file_is_told() {
    let mut host = Place::full();
    host.file("file", "");
    for dir in [host.root.path().join("file/cache"), "/proc/ktstr".into()] {
        host.cache = Cache::new(&dir);
        let report = host.examine();
        assert_eq!(report.state("cache"), State::Missing, "{}", dir.display());
        let detail = &report.check("cache").detail;
        assert!(detail.contains("cannot be written"), "{detail}");
    }
}

#[test]
fn a_cache_that_make_cannot_build_in_is_told() {
    let mut host = Place::full();
    host.cache = Cache::new(host.root.path().join("a b/cache"));
    let report = host.examine();
    assert_eq!(report.state("cache"), State::Limited);
    let check = report.check("cache");
    let said = "a b/cache: the kernel's make cannot build in a path with a space in it";
    assert!(check.detail.ends_with(said), "{}", check.detail);
    let advice = check.fix.as_ref().unwrap().text();
    assert!(advice.starts_with("set KTSTR_CACHE_DIR"), "{advice}");
}

#[test]
fn old_compilers_are_passed_over() {
    let host = Place::full();
    host.program("clang", "echo Debian clang version 14.0.6");
    let detail = |host: &Place| host.examine().check("clang").detail.clone();
    assert!(detail(&host).starts_with("too old: "), "{}", detail(&host));
    host.program("clang-19", "echo Debian clang version 19.1.7");
    assert!(
        detail(&host).ends_with("clang version 19.1.7"),
        "{}",
        detail(&host)
    );
}

#[test]
fn what_coverage_takes_is_told_with_how_to_get_it() {
    let host = Place::full();
    let told = |host: &Place| {
        let report = host.examine();
        let check = report.check("coverage");
        assert_eq!(check.state, State::Info);
        assert!(report.ready || report.state("kernel") != State::Ok);
        let fix = check.fix.as_ref().map(|fix| fix.text().to_owned());
        (check.detail.clone(), fix.unwrap_or_default())
    };
    let (detail, fix) = told(&host);
    assert!(detail.starts_with("no cargo-llvm-cov"), "{detail}");
    assert_eq!(fix, "cargo install --locked cargo-llvm-cov");
    host.program("cargo-llvm-cov", "exit 1");
    let (detail, _) = told(&host);
    assert!(
        detail.contains("rustc") && detail.contains("install Rust"),
        "{detail}"
    );
    host.program("rustc", "echo 'LLVM version: 22.1.2'");
    let (detail, fix) = told(&host);
    assert!(detail.contains("of LLVM 22, which rustc has"), "{detail}");
    assert_eq!(fix, "sudo apt-get install llvm-22");
    host.program("rustup", "exit 1");
    assert_eq!(told(&host).1, "rustup component add llvm-tools-preview");
    host.program("llvm-cov-22", "exit 1");
    host.program("llvm-profdata-22", "exit 1");
    let (detail, fix) = told(&host);
    assert!(
        detail.ends_with("bin/llvm-cov-22") && fix.is_empty(),
        "{detail}"
    );
}

#[test]
fn without_cargo_it_is_cargo_that_is_missing() {
    let mut host = Place::full();
    host.remove("bin/cargo");
    host.program("cargo-nextest", "echo cargo-nextest 0.9.99");
    let report = host.examine();
    assert!(!report.ready);
    assert_eq!(report.state("cargo"), State::Missing);
    let fix = report.check("cargo").fix.as_ref().unwrap().text();
    assert!(fix.contains("rustup.rs"), "{fix}");
    assert_eq!(report.state("cargo-nextest"), State::Ok);

    // Without a variable it is looked for.
    host.variables.retain(|(name, _)| *name != "CARGO");
    assert_eq!(host.examine().state("cargo"), State::Missing);
    host.program("cargo", "exit 101");
    let report = host.examine();
    assert_eq!(report.state("cargo"), State::Ok);
    assert_eq!(report.state("cargo-nextest"), State::Missing);
}

#[test]
fn what_opens_a_device_depends_on_what_keeps_it_shut() {
    let fix = |mode, group, is_in| checks::kvm_fix(mode, group, is_in).text().to_owned();
    assert!(fix(0o100_660, Some("kvm"), false).starts_with("sudo usermod -aG kvm "));
    assert!(fix(0o020_660, Some("virt"), false).contains("-aG virt "));
    // No group helps where none may open it, and nobody should be in root's.
    for (mode, group) in [
        (0o020_600, Some("root")),
        (0o020_600, Some("kvm")),
        (0o020_660, Some("root")),
    ] {
        let fix = fix(mode, group, false);
        assert!(
            !fix.contains("usermod") && fix.contains("chgrp kvm"),
            "{fix}"
        );
    }
    assert!(fix(0o020_666, Some("kvm"), true).contains("container"));
}
