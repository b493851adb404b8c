//! Kernels with a user's own options in them.

use std::fs;
use std::path::Path;

use ktstr_kernel::{Error, ExtraKconfig, KernelSpec, Release, Remedy, ResolvedKernel, Resolver};

use crate::standin::{Told, World, commit, fault};

/// Has the next builds take these options.
fn take(world: &mut World, text: &str) {
    let path = world.path("my.kconfig");
    fs::write(&path, text).unwrap();
    world.options.extra_kconfig = Some(ExtraKconfig::read(&path).unwrap());
}

fn resolve(world: &World, spec: &KernelSpec) -> Result<ResolvedKernel, Error> {
    let resolver = Resolver::new(world.cache(), world.options.clone());
    resolver.resolve(spec, &Told::default())
}

fn config(kernel: &ResolvedKernel) -> String {
    fs::read_to_string(kernel.config.as_ref().unwrap()).unwrap()
}

fn key(kernel: &ResolvedKernel) -> String {
    kernel.cache_key.as_ref().unwrap().to_string()
}

const MINE: &str = "# why\nCONFIG_MINE=y\nCONFIG_NR_CPUS=64\n# CONFIG_PSI is not set\n";

#[test]
fn it_has_a_cache_slot_of_its_own() {
    let mut world = World::new();
    let tree = world.git_tree("linux");
    let tarball = world.tarball(&tree, "a.tar.gz");
    for source in [&tree, &tarball] {
        world.options.extra_kconfig = None;
        let (plain, _) = world.built(source);
        take(&mut world, MINE);
        let (mine, told) = world.built(source);
        assert!(!told.has("hit "), "{}", told.all());
        let hash = world.options.extra_kconfig.as_ref().unwrap().hash();
        assert_eq!(key(&mine), format!("{}-xkc{hash}", key(&plain)));
        let text = config(&mine);
        for line in [
            "CONFIG_MINE=y\n",
            "CONFIG_NR_CPUS=64\n",
            "# CONFIG_PSI is not set\n",
            "CONFIG_SCHED_CLASS_EXT=y\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        let entry = world.cache().get(mine.cache_key.as_ref().unwrap()).unwrap();
        let written = entry.metadata().unwrap().extra_kconfig.as_deref();
        assert_eq!(written, Some(hash));
        // Reworded, it is the same; emptied, it is none.
        take(&mut world, &MINE.replace("why", "why not"));
        let (again, told) = world.built(source);
        assert!(told.is_silent_hit() && again == mine, "{}", told.all());
        take(&mut world, "\u{feff}# nothing\n");
        let (none, told) = world.built(source);
        assert!(told.is_silent_hit() && none == plain, "{}", told.all());
        // And without it nothing of it is left.
        world.options.extra_kconfig = None;
        assert_eq!(world.built(source).0, plain);
        assert!(
            !config(&plain).contains("CONFIG_MINE"),
            "{}",
            config(&plain)
        );
    }
    assert_eq!(world.made("bzImage"), 4);
    assert_eq!(world.cache().list().unwrap().len(), 4);
}

#[test]
fn a_name_stands_for_what_was_asked_for() {
    let mut world = World::new();
    let tarball = world.tarball(&world.tree("linux"), "a.tar.gz");
    let release = |text| Release::parse(text).unwrap();
    let specs = [
        KernelSpec::Version(release("6.99.1")),
        KernelSpec::Series(release("6.99")),
    ];
    take(&mut world, MINE);
    let (mine, _) = world.built(&tarball);
    for spec in &specs {
        assert_eq!(resolve(&world, spec).unwrap(), mine);
    }
    world.options.extra_kconfig = None;
    for spec in &specs {
        let text = resolve(&world, spec).unwrap_err().to_string();
        assert!(
            text.contains("it was built with an extra kconfig"),
            "{text}"
        );
    }
    let (plain, _) = world.built(&tarball);
    take(&mut world, "CONFIG_OTHER=y\n");
    for spec in &specs {
        let text = resolve(&world, spec).unwrap_err().to_string();
        assert!(text.contains("built without this extra kconfig"), "{text}");
    }
    world.options.extra_kconfig = None;
    for spec in &specs {
        assert_eq!(resolve(&world, spec).unwrap(), plain);
    }
}

#[test]
fn what_is_built_already_is_not_configured() {
    let mut world = World::new();
    let tree = world.git_tree("linux");
    let (plain, _) = world.built(&tree);
    take(&mut world, MINE);
    let (mine, _) = world.built(&tree);
    let by_key = |kernel: &ResolvedKernel| KernelSpec::CacheKey(kernel.cache_key.clone().unwrap());
    assert_eq!(resolve(&world, &by_key(&mine)).unwrap().image, mine.image);
    for spec in [by_key(&plain), KernelSpec::Path(tree.join("image"))] {
        let error = resolve(&world, &spec).unwrap_err();
        assert_eq!(
            error.remedy(),
            Some(Remedy::LeaveOutExtraKconfig),
            "{error}"
        );
    }
}

#[test]
fn trees_that_are_not_cached_take_it_too() {
    let mut world = World::new();
    let tree = world.tree("plain");
    take(&mut world, MINE);
    let (kernel, _) = world.built(&tree);
    assert!(kernel.cache_key.is_none() && config(&kernel).contains("CONFIG_MINE=y\n"));
    world.options.extra_kconfig = None;
    let (kernel, _) = world.built(&tree);
    assert!(
        !config(&kernel).contains("CONFIG_MINE"),
        "{}",
        config(&kernel)
    );
}

#[test]
fn a_trees_own_config_comes_back_without_it() {
    let mut world = World::new();
    let tree = world.git_tree("linux");
    let own = "CONFIG_64BIT=y\nCONFIG_MADE_BY=\"me\"\nCONFIG_MINE=m\n";
    fs::write(tree.join(".config"), own).unwrap();
    take(&mut world, MINE);
    let (mine, _) = world.built(&tree);
    assert!(config(&mine).contains("CONFIG_MINE=y\n") && key(&mine).contains("-cfg"));
    world.options.extra_kconfig = None;
    let (plain, _) = world.built(&tree);
    let text = config(&plain);
    assert!(
        text.contains("CONFIG_MINE=m\n") && text.contains("\"me\""),
        "{text}"
    );
    assert_eq!(key(&mine).split("-xkc").next(), Some(key(&plain).as_str()));
    commit(&tree);
    take(&mut world, "CONFIG_YOURS=y\n");
    let text = config(&world.built(&tree).0);
    assert!(
        text.contains("CONFIG_MINE=m\n") && text.contains("CONFIG_YOURS=y\n"),
        "{text}"
    );
}

#[test]
fn what_the_user_overrides_is_told_and_kept() {
    let mut world = World::new();
    let tree = world.tree("linux");
    take(
        &mut world,
        "CONFIG_BPF_EVENTS=n\nCONFIG_TTY=y\nCONFIG_PSI=n\n",
    );
    let (kernel, told) = world.built(&tree);
    assert!(config(&kernel).contains("# CONFIG_BPF_EVENTS is not set\n"));
    let note = format!(
        "note {} overrides what ktstr's tests rely on: CONFIG_BPF_EVENTS=n (ktstr's: y)",
        world.path("my.kconfig").display()
    );
    assert!(
        told.all().lines().any(|line| line == note),
        "{}",
        told.all()
    );
    // What the user did not ask to lose is still missed.
    fault(&tree, "drop:CONFIG_SCHED_CLASS_EXT");
    assert!(
        world
            .refused(&tree)
            .contains("CONFIG_SCHED_CLASS_EXT=y was dropped by olddefconfig")
    );
}

#[test]
fn an_option_of_the_user_that_was_dropped_is_named() {
    let mut world = World::new();
    let tree = world.git_tree("linux");
    take(&mut world, MINE);
    fault(&tree, "drop:CONFIG_MINE");
    let text = world.refused(&tree);
    let path = world.path("my.kconfig");
    assert!(
        text.contains("CONFIG_MINE=y was dropped by olddefconfig: Linux 6.99.1 has no such option")
            && text.contains(&format!("change {}, or use another kernel", path.display())),
        "{text}"
    );
    assert_eq!(world.made("bzImage"), 0);
    assert!(!Path::new(&tree).join(".config").exists());
}
