use std::fs;
use std::path::Path;
use std::thread;

use ktstr_kernel::{BaseConfig, CacheKey, Ending, Error, KernelSpec, Release, Resolver};

use crate::standin::{Told, Until, World, commit, fault, git, wait_until};

#[test]
fn a_clean_tree_is_built_once() {
    let world = World::new();
    let tree = world.git_tree("linux");
    let (kernel, told) = world.built(&tree);
    assert!(
        told.has("advanced compiling 3 Some(\"kernel/sched/core.o\")"),
        "{}",
        told.all()
    );
    assert!(!told.has("hit "));
    let key = kernel.cache_key.as_ref().unwrap().as_str();
    assert!(
        key.starts_with("local-") && key.contains("-x86_64-lean-kc"),
        "{key}"
    );
    assert!(kernel.image.starts_with(world.path("cache")), "{kernel:?}");
    assert_eq!((kernel.version.as_str(), kernel.dirty), ("6.99.1", false));
    assert!(kernel.label.as_str().starts_with("kernel_path_linux_"));
    let vmlinux = fs::read(kernel.vmlinux.as_ref().unwrap()).unwrap();
    let has = |part: &[u8]| vmlinux.windows(part.len()).any(|window| window == part);
    assert!(
        has(b".BTF") && !has(b".debug_info"),
        "stripped of the wrong things"
    );
    let config = fs::read_to_string(kernel.config.as_ref().unwrap()).unwrap();
    assert!(
        config.contains("CONFIG_MADE_BY=\"tinyconfig\"\n"),
        "{config}"
    );
    assert!(config.contains("CONFIG_SMP=y\n") && config.contains("CONFIG_SCHED_CLASS_EXT=y\n"));
    // The tree now has a .config, but it is ours.
    let (again, told) = world.built(&tree);
    assert!(told.is_silent_hit(), "{}", told.all());
    assert_eq!(again, kernel);
    assert_eq!(world.made("bzImage"), 1);
    assert_eq!(world.leftovers(), [""; 0]);
    // The key alone will do.
    let key = KernelSpec::CacheKey(kernel.cache_key.clone().unwrap());
    let resolver = Resolver::new(world.cache(), world.options.clone());
    assert_eq!(
        resolver.resolve(&key, &Told::default()).unwrap().image,
        kernel.image
    );
}

#[test]
fn base_configurations_do_not_mix() {
    let mut world = World::new();
    let tree = world.git_tree("linux");
    let mut keys = Vec::new();
    for base in [
        BaseConfig::Lean,
        BaseConfig::Defconfig,
        BaseConfig::Lean,
        BaseConfig::Defconfig,
    ] {
        world.options.base_config = base;
        let (kernel, _) = world.built(&tree);
        let config = fs::read_to_string(kernel.config.unwrap()).unwrap();
        assert!(config.contains(base.make_target()), "{config}");
        keys.push(kernel.cache_key.unwrap().to_string());
    }
    assert_eq!(keys[0], keys[2]);
    assert_eq!(keys[1], keys[3]);
    assert_ne!(keys[0], keys[1]);
    assert!(keys.iter().all(|key| !key.contains("-cfg")), "{keys:?}");
    assert_eq!(world.made("bzImage"), 2);
}

#[test]
fn a_trees_own_config_is_its_base() {
    let world = World::new();
    let tree = world.git_tree("linux");
    let own = "CONFIG_64BIT=y\nCONFIG_MADE_BY=\"me\"\nCONFIG_NR_CPUS=8\n";
    fs::write(tree.join(".config"), own).unwrap();
    let (first, _) = world.built(&tree);
    let key = first.cache_key.clone().unwrap().to_string();
    assert!(key.contains("-cfg") && !key.contains("lean"), "{key}");
    let config = fs::read_to_string(first.config.as_ref().unwrap()).unwrap();
    assert!(
        config.contains("\"me\"") && config.contains("CONFIG_NR_CPUS=512"),
        "{config}"
    );
    assert_eq!(world.made("tinyconfig"), 0);
    // What we made of it has the same key, whatever commit it is used for.
    assert!(world.built(&tree).1.is_silent_hit());
    commit(&tree);
    let (later, _) = world.built(&tree);
    let digits = |key: &str| key.split("-cfg").nth(1).map(str::to_owned);
    assert_eq!(digits(later.cache_key.unwrap().as_str()), digits(&key));
    // What the user makes of that is the user's.
    let edited = fs::read_to_string(tree.join(".config")).unwrap() + "CONFIG_MORE=y\n";
    fs::write(tree.join(".config"), edited).unwrap();
    let (edited, _) = world.built(&tree);
    assert_ne!(digits(edited.cache_key.unwrap().as_str()), digits(&key));
    assert_eq!(world.made("bzImage"), 3);
}

#[test]
fn clean_takes_the_users_config_away() {
    let mut world = World::new();
    let tree = world.git_tree("linux");
    fs::write(
        tree.join(".config"),
        "CONFIG_64BIT=y\nCONFIG_MADE_BY=\"me\"\n",
    )
    .unwrap();
    world.options.clean = true;
    let (kernel, told) = world.built(&tree);
    assert!(told.has("started cleaning"), "{}", told.all());
    assert!(!kernel.cache_key.unwrap().as_str().contains("-cfg"));
    let (_, told) = world.built(&tree);
    assert!(
        told.has("note nothing was cleaned") && told.has("hit "),
        "{}",
        told.all()
    );
    world.options.force = true;
    world.built(&tree);
    assert_eq!((world.made("mrproper"), world.made("bzImage")), (2, 2));
}

#[test]
fn a_cache_that_can_only_be_read_is_enough_for_a_hit() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let tree = world.git_tree("linux");
    let tarball = world.tarball(&tree, "a.tar.gz");
    for source in [&tree, &tarball] {
        world.built(source);
    }
    let index = world.path("cache/tarballs.json");
    fs::remove_file(&index).unwrap();
    let set = |mode| {
        for dir in [
            "cache",
            "cache/kernels",
            "cache/.locks",
            "cache/.scratch",
            "cache/logs",
        ] {
            fs::set_permissions(world.path(dir), fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    set(0o555);
    if fs::write(&index, "").is_ok() {
        eprintln!("SKIP a_cache_that_can_only_be_read_is_enough_for_a_hit: root writes anywhere");
        fs::remove_file(&index).unwrap();
    }
    for source in [&tree, &tarball] {
        assert!(world.built(source).1.has("hit "));
    }
    set(0o755);
}

#[test]
fn what_git_cannot_name_is_not_cached() {
    let world = World::new();
    let (plain, dirty) = (world.tree("plain"), world.git_tree("dirty"));
    fs::write(dirty.join("Kconfig"), "# edited\n").unwrap();
    for (tree, why) in [(plain, "not a git repository"), (dirty, "uncommitted")] {
        for _ in 0..2 {
            let (kernel, told) = world.built(&tree);
            assert!(told.all().contains(why), "{}", told.all());
            assert!(kernel.dirty && kernel.cache_key.is_none());
            assert!(kernel.label.as_str().ends_with("_dirty"));
            let out = world.cache().build_dir(&fs::canonicalize(&tree).unwrap());
            assert_eq!(kernel.image, out.join("arch/x86/boot/bzImage"));
        }
    }
    assert_eq!(world.made("bzImage"), 4);
    assert_eq!(world.cache().list().unwrap(), []);
}

#[test]
fn a_tree_that_changes_under_the_build_is_not_cached() {
    let world = World::new();
    let tree = world.git_tree("linux");
    fault(&tree, "touch");
    let (kernel, told) = world.built(&tree);
    assert!(
        told.all().contains("changed while it was built"),
        "{}",
        told.all()
    );
    assert!(kernel.dirty && kernel.cache_key.is_none());
    assert!(kernel.label.as_str().ends_with("_dirty"));
    assert_eq!(world.cache().list().unwrap(), []);
    // Committed, it is another commit: built again, and cached.
    fs::remove_file(tree.join("fault")).unwrap();
    commit(&tree);
    assert!(world.built(&tree).0.cache_key.is_some());
}

#[test]
fn a_commit_with_the_same_seven_digits_is_no_hit() {
    let world = World::new();
    let tree = world.git_tree("linux");
    let (kernel, _) = world.built(&tree);
    let metadata = kernel.image.with_file_name("metadata.json");
    let text = fs::read_to_string(&metadata).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    json["source"]["commit"] = "0".repeat(40).into();
    fs::write(&metadata, json.to_string()).unwrap();
    let (again, told) = world.built(&tree);
    assert!(
        told.all().contains("of another source; it is replaced"),
        "{}",
        told.all()
    );
    assert_eq!(again.image, kernel.image);
    assert!(world.built(&tree).1.is_silent_hit());
}

#[test]
fn a_twin_of_the_same_commit_hits_under_its_own_name() {
    let world = World::new();
    let tree = world.git_tree("linux");
    let (kernel, _) = world.built(&tree);
    let twin = world.path("twin");
    git(
        &tree,
        &["worktree", "add", "--quiet", twin.to_str().unwrap()],
    );
    let (other, told) = world.built(&twin);
    assert!(told.is_silent_hit(), "{}", told.all());
    assert_eq!(other.image, kernel.image);
    assert!(
        other.label.as_str().starts_with("kernel_path_twin_"),
        "{}",
        other.label
    );
}

#[test]
fn damaged_entries_are_built_again() {
    let world = World::new();
    let tree = world.git_tree("linux");
    let (kernel, _) = world.built(&tree);
    fs::write(&kernel.image, "short").unwrap();
    let (again, told) = world.built(&tree);
    assert!(
        told.all().contains("is corrupt (bzImage has 5 bytes"),
        "{}",
        told.all()
    );
    assert_eq!(again, kernel);
    assert_eq!(fs::metadata(&kernel.image).unwrap().len(), 0x600);
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn a_dropped_option_is_named_and_the_tree_keeps_its_config() {
    let world = World::new();
    let tree = world.git_tree("linux");
    fs::write(tree.join(".config"), "CONFIG_64BIT=y\n").unwrap();
    fault(&tree, "drop:CONFIG_SCHED_CLASS_EXT");
    let text = world.refused(&tree);
    assert!(
        text.contains("CONFIG_SCHED_CLASS_EXT=y was dropped by olddefconfig"),
        "{text}"
    );
    assert!(text.contains("unmet: STANDIN_THING"), "{text}");
    assert_eq!(
        fs::read_to_string(tree.join(".config")).unwrap(),
        "CONFIG_64BIT=y\n"
    );
    assert!(!tree.join(".config.ktstr-draft").exists());
    assert_eq!(world.made("bzImage"), 0);
    // One that may be missing, and is not in this kernel at all.
    fault(&tree, "drop:CONFIG_SCHED_DEBUG");
    let (_, told) = world.built(&tree);
    assert!(
        told.has("note Linux 6.99.1 has no option CONFIG_SCHED_DEBUG"),
        "{}",
        told.all()
    );
    fault(&tree, "drop:CONFIG_VIRTIO_CONSOLE");
    commit(&tree);
    assert!(world.refused(&tree).contains("no such option"));
}

#[test]
fn a_failed_compilation_tells_why_and_where_to_read_on() {
    let world = World::new();
    let tree = world.git_tree("linux");
    fault(&tree, "compile");
    let error = world.resolve(&tree, &Told::default()).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(&format!(
            "`make O={} -j2 KCFLAGS=-Wno-error bzImage` failed with exit code 2",
            world
                .cache()
                .build_dir(&fs::canonicalize(&tree).unwrap())
                .display()
        )),
        "{text}"
    );
    assert!(
        text.contains("(kernel/sched/ext.c:7:3: error: 'x' undeclared)"),
        "{text}"
    );
    let Error::Make(failure) = error else {
        panic!("{error:?}")
    };
    assert_eq!(failure.ending, Ending::Exited(2));
    assert!(
        failure
            .tail
            .iter()
            .any(|line| line.contains("CC      kernel/sched/ext.o"))
    );
    let log = fs::read_to_string(&failure.log).unwrap();
    assert!(
        log.contains("$ make O=") && log.contains("undeclared"),
        "{log}"
    );
    assert_eq!(world.cache().list().unwrap(), []);

    fault(&tree, "full");
    let text = world.refused(&tree);
    assert!(text.contains("no space left"), "{text}");
    fault(&tree, "nothing");
    let text = world.refused(&tree);
    assert!(text.contains("arch/x86/boot/bzImage is missing"), "{text}");
    fs::remove_file(tree.join("fault")).unwrap();
    world.built(&tree);
}

#[test]
fn an_image_of_another_version_is_not_taken() {
    let world = World::new();
    let tree = world.tree("linux");
    for other in ["6.99.11", "6.98.1"] {
        fs::write(tree.join("image"), crate::standin::bz_image(other)).unwrap();
        let text = world.refused(&tree);
        assert!(
            text.contains("built from Linux 6.99.1, but it says it is"),
            "{text}"
        );
    }
}

#[test]
fn missing_tools_are_all_named_before_anything_is_done() {
    let mut world = World::new();
    let tree = world.git_tree("linux");
    world.options.host.path = world.only_programs(&["make", "git", "sh"]);
    let text = world.refused(&tree);
    assert!(
        text.contains("gcc, ld, bc, bison, flex, pahole, perl not found"),
        "{text}"
    );
    assert!(
        text.contains("apt-get install gcc binutils bc bison flex pahole perl"),
        "{text}"
    );
    assert_eq!(world.made("tinyconfig"), 0);
    assert!(!tree.join(".config").exists());
}

#[test]
fn a_cache_that_cannot_be_written_is_found_out_first() {
    let world = World::new();
    let tree = world.git_tree("linux");
    fs::write(world.path("cache"), "a file").unwrap();
    let text = world.refused(&tree);
    assert!(
        text.contains("cannot be written") && text.contains("KTSTR_CACHE_DIR"),
        "{text}"
    );
    fs::remove_file(world.path("cache")).unwrap();
    // Not even root makes directories here.
    std::os::unix::fs::symlink("/proc/self", world.path("cache")).unwrap();
    assert!(world.refused(&tree).contains("cannot be written"));
    assert_eq!(world.made("tinyconfig"), 0);
}

#[test]
fn two_builds_in_one_tree_take_turns() {
    let mut world = World::new();
    let tree = world.git_tree("linux");
    fault(&tree, "gate");
    let spec = KernelSpec::Path(tree);
    let lean = Resolver::new(world.cache(), world.options.clone());
    world.options.base_config = BaseConfig::Defconfig;
    let default = Resolver::new(world.cache(), world.options.clone());
    let (lean, default) = thread::scope(|scope| {
        let first = scope.spawn(|| lean.resolve(&spec, &Told::default()).unwrap());
        wait_until("the first compiles", || {
            world.path("steps.waiting").exists()
        });
        let (until, waits) = Until::new("waiting ");
        let second = scope.spawn({
            let (resolver, spec) = (&default, &spec);
            move || resolver.resolve(spec, &until).unwrap()
        });
        waits.recv().unwrap();
        assert_eq!(world.made("defconfig"), 0);
        fs::write(world.path("steps.go"), "").unwrap();
        (first.join().unwrap(), second.join().unwrap())
    });
    for (kernel, made_by) in [(lean, "tinyconfig"), (default, "defconfig")] {
        let config = fs::read_to_string(kernel.config.unwrap()).unwrap();
        assert!(config.contains(made_by), "{config}");
    }
}

#[test]
fn a_commit_while_we_wait_is_what_is_built() {
    let world = World::new();
    let tree = world.git_tree("linux");
    fault(&tree, "gate");
    let spec = KernelSpec::Path(tree.clone());
    let mut force = world.options.clone();
    force.force = true;
    let resolver = Resolver::new(world.cache(), world.options.clone());
    let forced = Resolver::new(world.cache(), force);
    let (first, second) = thread::scope(|scope| {
        let first = scope.spawn(|| resolver.resolve(&spec, &Told::default()).unwrap());
        wait_until("the first compiles", || {
            world.path("steps.waiting").exists()
        });
        let (until, waits) = Until::new("waiting ");
        let second = scope.spawn({
            let (forced, spec) = (&forced, &spec);
            move || forced.resolve(spec, &until).unwrap()
        });
        waits.recv().unwrap();
        commit(&tree);
        fs::write(world.path("steps.go"), "").unwrap();
        (first.join().unwrap(), second.join().unwrap())
    });
    assert_eq!(first.cache_key, None);
    let head = fs::read_to_string(tree.join(".git/HEAD")).unwrap();
    let head = head.trim().strip_prefix("ref: ").unwrap();
    let commit = fs::read_to_string(tree.join(".git").join(head)).unwrap();
    let key = second.cache_key.unwrap();
    assert!(
        key.as_str()
            .starts_with(&format!("local-{}-", &commit[..7])),
        "{key}"
    );
}

#[test]
fn what_cannot_be_done_is_refused() {
    let mut world = World::new();
    let tree = world.tree("linux");
    let image = tree.join("image");
    let tarball = world.tarball(&tree, "linux.tar.gz");
    let release = |text: &str| Release::parse(text).unwrap();
    let key = CacheKey::parse("some-key").unwrap();
    let specs = [
        KernelSpec::Path(image.clone()),
        KernelSpec::Path(tarball),
        KernelSpec::CacheKey(key),
        KernelSpec::Version(release("6.14.2")),
    ];
    world.options.clean = true;
    let resolver = Resolver::new(world.cache(), world.options.clone());
    for spec in &specs {
        let error = resolver.resolve(spec, &Told::default()).unwrap_err();
        assert!(matches!(error, Error::NothingToClean { .. }), "{error}");
    }
    world.options.clean = false;
    assert_eq!(world.built(&image).0.version, "6.99.1-standin");
    world.options.force = true;
    assert!(world.refused(&image).contains("names no source"));
    let range = KernelSpec::Range {
        start: release("6.12"),
        end: release("6.14"),
    };
    for spec in [&specs[3], &KernelSpec::Series(release("6.14")), &range] {
        let error = Resolver::new(world.cache(), world.options.clone())
            .resolve(spec, &Told::default())
            .unwrap_err();
        assert!(error.to_string().contains("give a source tree"), "{error}");
    }
    let nothing = world.refused(Path::new("/no/such/tree"));
    assert!(nothing.contains("/no/such/tree"), "{nothing}");
}
