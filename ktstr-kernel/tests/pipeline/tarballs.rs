use std::fs;
use std::process::Command;
use std::thread;

use ktstr_kernel::{BaseConfig, Error, KernelSpec, Release, ResolvedKernel, Resolver};

use crate::standin::{Told, Until, World, fault, wait_until};

fn resolve(world: &World, spec: &KernelSpec) -> (Result<ResolvedKernel, Error>, Told) {
    let told = Told::default();
    let resolver = Resolver::new(world.cache(), world.options.clone());
    (resolver.resolve(spec, &told), told)
}

#[test]
fn every_kind_of_tarball_is_built_once() {
    for extension in ["tar", "tar.gz", "tar.xz", "tar.zst"] {
        let world = World::new();
        let tarball = world.tarball(&world.tree("linux-6.99.1"), &format!("source.{extension}"));
        let (kernel, told) = world.built(&tarball);
        for step in [
            "started checking",
            "started unpacking Some(",
            "finished storing",
        ] {
            assert!(told.has(step), "{extension}: {}", told.all());
        }
        let key = kernel.cache_key.as_ref().unwrap().as_str();
        assert!(key.starts_with("6.99.1-tarball-x86_64-lean-kc"), "{key}");
        assert_eq!(kernel.label.as_str(), "kernel_6_99_1");
        assert!(!kernel.dirty && kernel.image.is_file());
        // Nothing is read again, nothing is left.
        let (again, told) = world.built(&tarball);
        assert!(told.is_silent_hit(), "{}", told.all());
        assert_eq!(again, kernel);
        assert_eq!(world.leftovers(), [""; 0]);
        assert_eq!(world.made("bzImage"), 1);
    }
}

#[test]
fn content_counts_not_the_name() {
    let world = World::new();
    let tree = world.tree("linux-6.99.1");
    let tarball = world.tarball(&tree, "a.tar.gz");
    let (kernel, _) = world.built(&tarball);
    // The same bytes elsewhere: read once more, not built.
    let copy = world.path("copy.tar.gz");
    fs::copy(&tarball, &copy).unwrap();
    let (same, told) = world.built(&copy);
    assert!(
        told.has("started checking") && told.has("hit "),
        "{}",
        told.all()
    );
    assert_eq!(same, kernel);
    // Other bytes of the same version in the same place, with the same time.
    let modified = fs::metadata(&tarball).unwrap().modified().unwrap();
    fs::write(tree.join("Kconfig"), "# other\n").unwrap();
    world.tarball(&tree, "a.tar.gz");
    fs::File::options()
        .write(true)
        .open(&tarball)
        .unwrap()
        .set_modified(modified)
        .unwrap();
    let (other, told) = world.built(&tarball);
    assert!(
        told.all().contains("of another source; it is replaced"),
        "{}",
        told.all()
    );
    assert_eq!(other.image, kernel.image);
    assert_eq!(world.made("bzImage"), 2);
    // The copy is of what was replaced.
    let (_, told) = world.built(&copy);
    assert!(told.all().contains("it is replaced"), "{}", told.all());
    assert_eq!(world.cache().list().unwrap().len(), 1);
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn force_builds_again_and_the_last_build_is_the_estimate() {
    let mut world = World::new();
    let tarball = world.tarball(&world.tree("linux"), "a.tar.xz");
    // Nothing was built before, but the Makefiles tell of three objects and their archive.
    let (_, told) = world.built(&tarball);
    assert!(told.has("started compiling Some(4)"), "{}", told.all());
    world.options.force = true;
    let (_, told) = world.built(&tarball);
    assert!(told.has("started compiling Some(3)"), "{}", told.all());
    assert_eq!(world.made("bzImage"), 2);
}

#[test]
fn a_release_is_found_among_built_tarballs() {
    let mut world = World::new();
    let tree = world.tree("linux");
    let version = |version: &str| KernelSpec::Version(Release::parse(version).unwrap());
    let series = KernelSpec::Series(Release::parse("6.99").unwrap());
    assert!(resolve(&world, &series).0.is_err());
    let (kernel, _) = world.built(&world.tarball(&tree, "a.tar.gz"));
    let makefile = fs::read_to_string(tree.join("Makefile")).unwrap();
    fs::write(
        tree.join("Makefile"),
        makefile.replace("SUBLEVEL = 1", "SUBLEVEL = 0"),
    )
    .unwrap();
    fs::write(tree.join("image"), crate::standin::bz_image("6.99.0")).unwrap();
    world.built(&world.tarball(&tree, "b.tar.gz"));
    for spec in [&series, &version("6.99.1")] {
        let (found, told) = resolve(&world, spec);
        assert_eq!(found.unwrap(), kernel);
        assert!(told.is_silent_hit(), "{}", told.all());
    }
    assert_eq!(
        resolve(&world, &version("6.99.0")).0.unwrap().version,
        "6.99.0"
    );
    assert!(resolve(&world, &version("6.99.2")).0.is_err());
    world.options.base_config = BaseConfig::Defconfig;
    let error = resolve(&world, &series).0.unwrap_err().to_string();
    assert!(error.contains("the other base configuration"), "{error}");
}

#[test]
fn damaged_and_foreign_archives_are_one_clear_line() {
    let world = World::new();
    let tarball = world.tarball(&world.tree("linux"), "a.tar.xz");
    let whole = fs::read(&tarball).unwrap();
    // Cut where the version was still to be read.
    fs::write(&tarball, &whole[..whole.len() - 20]).unwrap();
    let text = world.refused(&tarball);
    assert!(text.contains("a.tar.xz: the archive is damaged"), "{text}");
    let other = world.path("hello");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("README"), "hello").unwrap();
    let text = world.refused(&world.tarball(&other, "b.tar.zst"));
    assert!(text.contains("it holds no kernel source tree"), "{text}");
    assert_eq!(world.cache().list().unwrap(), []);
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn a_failed_build_leaves_only_its_log() {
    let world = World::new();
    let tree = world.tree("linux");
    fault(&tree, "compile");
    let tarball = world.tarball(&tree, "a.tar.gz");
    let Err(Error::Make(failure)) = world.resolve(&tarball, &Told::default()) else {
        panic!()
    };
    assert!(failure.log.starts_with(world.path("cache/logs")) && failure.log.is_file());
    assert_eq!(world.leftovers(), [""; 0]);
    assert_eq!(world.cache().list().unwrap(), []);
}

#[test]
fn a_disk_too_small_is_told_before_anything_is_unpacked() {
    let world = World::new();
    let tarball = world.tarball(&world.tree("linux"), "a.tar.gz");
    let cache = world.path("cache");
    fs::create_dir(&cache).unwrap();
    let mount = |command: &str, args: &[&str]| {
        let status = Command::new(command).args(args).arg(&cache).status();
        status.is_ok_and(|status| status.success())
    };
    if !mount("mount", &["-t", "tmpfs", "-o", "size=4m", "tmpfs"]) {
        eprintln!("SKIP a_disk_too_small_is_told_before_anything_is_unpacked: mounting takes root");
        return;
    }
    let told = Told::default();
    let result = world.resolve(&tarball, &told);
    assert!(mount("umount", &[]));
    let text = result.unwrap_err().to_string();
    assert!(
        text.contains("needs about 2.9 GiB, 0.0 GiB are free"),
        "{text}"
    );
    assert!(text.contains("KTSTR_CACHE_DIR"), "{text}");
    assert!(!told.has("started unpacking"));
}

#[test]
fn two_at_once_build_once() {
    let world = World::new();
    let tree = world.tree("linux");
    fault(&tree, "gate");
    let tarball = world.tarball(&tree, "a.tar.gz");
    let resolver = Resolver::new(world.cache(), world.options.clone());
    let spec = KernelSpec::Path(tarball);
    let (until, waits) = Until::new("waiting 6.99.1");
    thread::scope(|scope| {
        let first = scope.spawn(|| resolver.resolve(&spec, &Told::default()).unwrap());
        wait_until("the first compiles", || {
            world.path("steps.waiting").exists()
        });
        let second = scope.spawn({
            let (resolver, spec) = (&resolver, &spec);
            move || (resolver.resolve(spec, &until).unwrap(), until.told())
        });
        // Only now that the second waits may the first go on.
        waits.recv().unwrap();
        fs::write(world.path("steps.go"), "").unwrap();
        let (second, told) = second.join().unwrap();
        assert_eq!(first.join().unwrap(), second);
        assert!(told.contains("hit 6.99.1"), "{told}");
    });
    assert_eq!(world.made("bzImage"), 1);
}
