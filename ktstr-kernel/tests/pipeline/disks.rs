//! Caches on disks that are full, cannot be written, or lie.

use std::fs;
use std::process::Command;

use ktstr_kernel::{EntryState, KernelSpec, Release, Remedy, Resolver};

use crate::mounted::Mounted;
use crate::standin::{Told, World};

#[test]
fn a_kernel_that_does_not_fit_is_said_and_leaves_nothing() {
    let world = World::new();
    let Some(_mounted) = Mounted::new(&world.path("cache"), "size=2m") else {
        return;
    };
    let tree = world.git_tree("linux");
    // Built in place: the cache has no room for a build either.
    fs::create_dir_all(tree.join("include/config")).unwrap();
    let image = fs::read(tree.join("image")).unwrap();
    // Neither the image nor the ELF kernel fits.
    for large in ["image", "banner"] {
        let mut bytes = image.clone();
        bytes.resize(
            if large == "image" {
                4 << 20
            } else {
                image.len()
            },
            0,
        );
        fs::write(tree.join("image"), &bytes).unwrap();
        let script = fs::read_to_string(tree.join("standin.sh")).unwrap();
        let padded = script.replace("> banner", "> banner; truncate -s 4M banner");
        fs::write(
            tree.join("standin.sh"),
            if large == "banner" { &padded } else { &script },
        )
        .unwrap();
        crate::standin::commit(&tree);
        let text = world.refused(&tree);
        let expected = format!(
            "{}: no space left on the device; free some, or set KTSTR_CACHE_DIR to a directory with more room",
            world.path("cache").display()
        );
        assert_eq!(text, expected);
        assert_eq!(world.leftovers(), [""; 0]);
        assert_eq!(world.cache().list().unwrap(), []);
        fs::write(tree.join("standin.sh"), script).unwrap();
    }
}

#[test]
fn a_read_only_cache_gives_and_does_not_take() {
    let mut world = World::new();
    let tree = world.git_tree("linux");
    let tarball = world.tarball(&tree, "a.tar.gz");
    let (kernel, _) = world.built(&tree);
    let (release, _) = world.built(&tarball);
    // Where even root cannot write.
    let elsewhere = world.path("elsewhere");
    fs::rename(world.path("cache"), &elsewhere).unwrap();
    let Some(mounted) = Mounted::new(&world.path("cache"), "size=2m") else {
        return;
    };
    let mut copy = Command::new("cp");
    copy.arg("-r")
        .arg(elsewhere.join("."))
        .arg(world.path("cache"));
    assert!(copy.status().unwrap().success());
    assert!(mounted.remount("ro"));
    // Copied, its times are others: what is in it counts.
    assert_eq!(world.built(&tree).0, kernel);
    assert_eq!(world.built(&tarball).0, release);
    let resolver = Resolver::new(world.cache(), world.options.clone());
    let series = KernelSpec::Series(Release::parse("6.99").unwrap());
    assert_eq!(
        resolver.resolve(&series, &Told::default()).unwrap(),
        release
    );
    let newest = world.cache().newest().unwrap().unwrap();
    assert!(newest.kernel().unwrap().image.is_file());
    world.options.force = true;
    for source in [&tree, &tarball] {
        let text = world.refused(source);
        assert!(
            text.contains("cannot be written: Read-only file system")
                && text.contains("KTSTR_CACHE_DIR"),
            "{text}"
        );
    }
    let key = kernel.cache_key.unwrap();
    let text = world.cache().remove(&key).unwrap_err().to_string();
    assert!(
        text.contains("Read-only file system") && !text.contains('\n'),
        "{text}"
    );
    assert_eq!(world.made("bzImage"), 2);
}

#[test]
fn changed_content_is_built_again_whatever_the_times_say() {
    let mut world = World::new();
    let tree = world.git_tree("linux");
    let tarball = world.tarball(&tree, "a.tar.gz");
    let series = KernelSpec::Series(Release::parse("6.99").unwrap());
    for (source, name, keep_time) in [
        (&tree, "bzImage", false),
        (&tree, "bzImage", true),
        (&tarball, ".config", true),
        (&tarball, "vmlinux", false),
    ] {
        let (kernel, _) = world.built(source);
        let path = kernel.image.with_file_name(name);
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, &bytes).unwrap();
        if keep_time {
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(modified).unwrap();
        }
        let why = format!("{name} has other content than was stored");
        let key = kernel.cache_key.clone().unwrap();
        // By its key it is refused, by its release not found.
        let resolver = Resolver::new(world.cache(), world.options.clone());
        let by_key = resolver.resolve(&KernelSpec::CacheKey(key.clone()), &Told::default());
        let error = by_key.unwrap_err();
        assert!(error.to_string().contains(&why), "{error}");
        assert_eq!(error.remedy(), Some(Remedy::RemoveCorrupt));
        if source == &tarball {
            let text = resolver
                .resolve(&series, &Told::default())
                .unwrap_err()
                .to_string();
            assert!(text.contains("not used: it is corrupt)"), "{text}");
        }
        // Cleaning finds it, and nothing else.
        let plan = ktstr_kernel::CleanOptions {
            keep: 0,
            corrupt_only: true,
        };
        let broken = world.cache().plan_clean(&plan).unwrap().entries;
        assert_eq!(broken.len(), 1);
        assert_eq!(
            (&broken[0].key, &broken[0].state),
            (&key, &EntryState::Corrupt(why.clone()))
        );
        let (again, told) = world.built(source);
        assert!(
            told.all().contains(&format!("is corrupt ({why})")),
            "{}",
            told.all()
        );
        assert_eq!(again, kernel);
        assert!(world.built(source).1.is_silent_hit());
    }
    // Touched alone, it is what it was.
    let (kernel, _) = world.built(&tree);
    for file in ["bzImage", "vmlinux", ".config"] {
        let path = kernel.image.with_file_name(file);
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH)
            .unwrap();
    }
    assert!(world.built(&tree).1.is_silent_hit());
    world.options.force = true;
    assert!(!world.built(&tree).1.has("hit "));
}
