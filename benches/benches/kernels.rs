//! How long it takes to find a cached kernel by name, to list a large cache, and, where `KTSTR_BENCH_DEFCONFIG=1` asks for
//! it, how much faster the lean configuration builds: that takes half an hour on two cores.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

use ktstr_benches::{figure, median, ms, timed, workspace};
use ktstr_core::env::is_on;
use ktstr_core::host::Host;
use ktstr_kernel::cache::{ConfigOrigin, FileRecord, SourceRecord};
use ktstr_kernel::progress::Silent;
use ktstr_kernel::{BaseConfig, BuildOptions, Cache, CacheKey, KernelSpec, Metadata, Resolver};

fn main() {
    resolving();
    listing();
    if is_on(&Host::of_this_process(), "KTSTR_BENCH_DEFCONFIG") {
        building();
    }
}

/// A name among twenty kernels as large as real ones.
fn resolving() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let cache = Cache::new(dir.path());
    for patch in 0..20 {
        put(&cache, patch, 8 << 20, 28 << 20);
    }
    let resolver = Resolver::new(cache, options(BaseConfig::Lean));
    for (name, version) in [("6.14.7", "6.14.7"), ("6.14", "6.14.19")] {
        let spec = KernelSpec::parse(name, &Host::default()).expect("a kernel's name");
        let took = median(21, || {
            timed(|| {
                let kernel = resolver.resolve(&spec, &Silent);
                assert_eq!(kernel.expect("a cached kernel").version, version);
            })
        });
        let what = format!("find {name} among 20 cached, its 8 MiB image read");
        figure(&what, &ms(took), "10 ms");
    }
}

fn listing() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let cache = Cache::new(dir.path());
    for patch in 0..1000 {
        put(&cache, patch, 4096, 4096);
    }
    let took = median(21, || {
        timed(|| {
            let entries = cache.list().expect("a list");
            assert_eq!(entries.iter().filter_map(|it| it.metadata()).count(), 1000);
        })
    });
    figure("list 1,000 cached kernels", &ms(took), "100 ms");
}

/// The distribution's source in both configurations, without ccache.
fn building() {
    let script = workspace().join("scripts/kernel-source");
    let found = Command::new(script).output().expect("the script runs");
    let source = String::from_utf8_lossy(&found.stdout).trim().to_owned();
    assert!(found.status.success(), "no kernel source to build");
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a scratch directory");
    let spec = KernelSpec::parse(&source, &Host::default()).expect("a source");
    let build = |base| {
        let cache = Cache::new(dir.path());
        let resolver = Resolver::new(cache.clone(), options(base));
        let kernel = resolver.resolve(&spec, &Silent).expect("a kernel");
        let key = kernel.cache_key.expect("a tarball's kernel is cached");
        let entry = cache.get(&key).expect("its entry");
        entry.metadata().expect("whole").build_seconds
    };
    let (lean, default) = (build(BaseConfig::Lean), build(BaseConfig::Defconfig));
    let what = format!("defconfig build ({default} s) against lean ({lean} s)");
    let ratio = default as f64 / lean.max(1) as f64;
    figure(&what, &format!("{ratio:.1} times"), "4 times at least");
}

fn options(base_config: BaseConfig) -> BuildOptions {
    BuildOptions {
        base_config,
        extra_kconfig: None,
        force: false,
        clean: false,
        jobs: available_parallelism().map_or(1, usize::from),
        cpus: None,
        toolchain: ktstr_kernel::Toolchain::default(),
        ccache: false,
        host: Host::of_this_process(),
        silence: BuildOptions::SILENCE,
    }
}

/// Puts Linux 6.14.`patch` into the cache, as far as its files' sizes and checksums tell.
fn put(cache: &Cache, patch: u32, image: usize, vmlinux: usize) {
    let config_origin = ConfigOrigin::Base(BaseConfig::Lean);
    let version = format!("6.14.{patch}");
    let key = CacheKey::tarball(&version, "x86_64", &config_origin).expect("a key");
    let dir = cache.entry_dir(&key);
    fs::create_dir_all(&dir).expect("a directory");
    let file = |name: &str, size| {
        let path = dir.join(name);
        fs::write(&path, vec![7; size]).expect("a file");
        FileRecord::of(&path).expect("its record")
    };
    let metadata = Metadata {
        schema: Metadata::SCHEMA,
        key,
        version,
        arch: "x86_64".to_owned(),
        source: SourceRecord::Tarball {
            name: "linux.tar.xz".to_owned(),
            sha256: "0".repeat(64),
        },
        kconfig_hash: config_origin.kconfig_hash(),
        toolchain: None,
        extra_kconfig: None,
        config_origin,
        built: "2026-01-01T00:00:00Z".to_owned(),
        build_seconds: 300,
        make_steps: 2000,
        image: file("bzImage", image),
        vmlinux: file("vmlinux", vmlinux),
        config: file(".config", 60 << 10),
    };
    let json = serde_json::to_vec_pretty(&metadata).expect("JSON");
    fs::write(dir.join(Metadata::FILE), json).expect("a file");
}
