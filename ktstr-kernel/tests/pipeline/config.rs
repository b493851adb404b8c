//! What is found out while configuring, before anything is compiled.

use std::fs;
use std::path::Path;

use ktstr_kernel::{Error, ExtraKconfig, OptionFault};

use crate::standin::{Told, World};

/// Has the next builds take these options.
fn take(world: &mut World, text: &str) {
    let path = world.path("my.kconfig");
    fs::write(&path, text).unwrap();
    world.options.extra_kconfig = Some(ExtraKconfig::read(&path).unwrap());
}

#[test]
fn a_file_that_the_build_needs_and_that_is_not_there_is_told() {
    let mut world = World::new();
    let tree = world.git_tree("linux");
    let option = "CONFIG_SYSTEM_TRUSTED_KEYS=\"debian/certs/x.pem\"";
    take(&mut world, option);
    let text = world.refused(&tree);
    assert!(
        text.contains(&format!("{option} names "))
            && text.contains("debian/certs/x.pem, which does not exist")
            && text.ends_with(&format!("change {}", world.path("my.kconfig").display())),
        "{text}"
    );
    // It is where make looks for it.
    fs::create_dir_all(tree.join("debian/certs")).unwrap();
    fs::write(tree.join("debian/certs/x.pem"), "").unwrap();
    world.built(&tree);
    // In a configuration of the tree's own it is the same.
    let other = world.tree("other");
    world.options.extra_kconfig = None;
    fs::write(
        other.join(".config"),
        "CONFIG_EXTRA_FIRMWARE=\"ktstr/none.bin\"\n",
    )
    .unwrap();
    let text = world.refused(&other);
    assert!(
        text.contains("/lib/firmware/ktstr/none.bin, which does not exist")
            && text.ends_with(".config"),
        "{text}"
    );
    assert_eq!(world.made("bzImage"), 1);
}

#[test]
fn a_kernel_that_ignores_its_arguments_is_refused() {
    let mut world = World::new();
    let tree = world.tree("linux");
    let own = world.tree("own");
    let text = "CONFIG_CMDLINE_BOOL=y\nCONFIG_CMDLINE=\"quiet\"\nCONFIG_CMDLINE_OVERRIDE=y\n";
    fs::write(own.join(".config"), text).unwrap();
    let refused = world.resolve(&own, &Told::default()).unwrap_err();
    let Error::Unusable {
        options, config, ..
    } = refused
    else {
        panic!("{refused}")
    };
    assert_eq!(options[0].fault, OptionFault::IgnoresArguments);
    assert_eq!(config, fs::canonicalize(&own).unwrap().join(".config"));
    take(&mut world, text);
    let text = world.refused(&tree);
    assert!(
        text.contains("CONFIG_CMDLINE_OVERRIDE=y has the kernel ignore the arguments"),
        "{text}"
    );
    take(
        &mut world,
        "CONFIG_CMDLINE_BOOL=y\nCONFIG_CMDLINE=\"quiet\"\n",
    );
    world.built(&tree);
}

#[test]
fn a_module_is_refused_and_what_was_built_in_is_fine() {
    let mut world = World::new();
    let tree = world.git_tree("linux");
    take(&mut world, "CONFIG_PSI=m\n");
    let text = world.refused(&tree);
    assert!(
        text.contains("CONFIG_PSI=m: modules are not built; write CONFIG_PSI=y"),
        "{text}"
    );
    // As kconfig does where there are no modules.
    let script = fs::read_to_string(tree.join("standin.sh")).unwrap();
    let script = script.replace(
        "olddefconfig)",
        "olddefconfig)\n    sed -i 's/=m$/=y/' \"$config\"",
    );
    fs::write(tree.join("standin.sh"), script).unwrap();
    let (kernel, _) = world.built(&tree);
    let config = fs::read_to_string(kernel.config.unwrap()).unwrap();
    assert!(config.contains("CONFIG_PSI=y\n"), "{config}");
}

#[test]
fn a_tree_for_more_cpus_than_ktstr_asks_for_is_built() {
    let world = World::new();
    let tree = world.git_tree("linux");
    fs::write(
        tree.join(".config"),
        "CONFIG_64BIT=y\nCONFIG_MAXSMP=y\nCONFIG_NR_CPUS=8192\n",
    )
    .unwrap();
    let (kernel, _) = world.built(&tree);
    let config = fs::read_to_string(kernel.config.unwrap()).unwrap();
    assert!(config.contains("CONFIG_NR_CPUS=8192\n"), "{config}");
}

/// The sources as they would be of another version.
fn of_version(world: &World, name: &str, version: &str, patchlevel: &str) -> std::path::PathBuf {
    let tree = world.tree(name);
    let makefile = fs::read_to_string(tree.join("Makefile")).unwrap();
    let makefile = makefile
        .replace("VERSION = 6", &format!("VERSION = {version}"))
        .replace("PATCHLEVEL = 99", &format!("PATCHLEVEL = {patchlevel}"));
    fs::write(tree.join("Makefile"), makefile).unwrap();
    let image = crate::standin::bz_image(&format!("{version}.{patchlevel}.1-standin"));
    fs::write(tree.join("image"), image).unwrap();
    tree
}

#[test]
fn sources_without_sched_ext_are_refused_at_once() {
    let mut world = World::new();
    let tree = of_version(&world, "old", "6", "1");
    let tarball = world.tarball(&tree, "old.tar.gz");
    for source in [&tree, &tarball] {
        let told = Told::default();
        let text = world.resolve(source, &told).unwrap_err().to_string();
        assert!(
            text.contains("Linux 6.1.1 has no sched_ext, which came with 6.12"),
            "{text}"
        );
        assert!(!told.has("started unpacking"), "{}", told.all());
    }
    assert_eq!(world.made("tinyconfig"), 0);
    // A tree that it was brought to has it, and who does without can.
    fs::create_dir_all(tree.join("kernel")).unwrap();
    fs::write(
        tree.join("kernel/Kconfig.preempt"),
        "config SCHED_CLASS_EXT\n",
    )
    .unwrap();
    world.built(&tree);
    take(&mut world, "# CONFIG_SCHED_CLASS_EXT is not set\n");
    let text = world.refused(&tarball);
    assert!(
        !text.contains("sched_ext"),
        "the stand-in cannot do without: {text}"
    );
}

#[test]
fn a_pahole_that_is_too_old_is_named() {
    let mut world = World::new();
    let (tree, newer) = (
        world.git_tree("linux"),
        of_version(&world, "newer", "7", "1"),
    );
    world.options.host.path = world.with_program("pahole", "echo v1.15");
    let pahole = world.path("bin-first/pahole");
    let text = world.refused(&tree);
    assert_eq!(
        text,
        format!(
            "pahole 1.15 ({}): too old to make BTF of Linux 6.99.1, which needs 1.21 or later; install a newer one first in PATH",
            pahole.display()
        )
    );
    world.options.host.path = world.with_program("pahole", "echo v1.25");
    world.built(&tree);
    let text = world.refused(&newer);
    assert!(
        text.contains("of Linux 7.1.1, which needs 1.26 or later"),
        "{text}"
    );
    // What the sources say counts.
    fs::create_dir(newer.join("lib")).unwrap();
    let entry = "\nconfig DEBUG_INFO_BTF\n\tdepends on PAHOLE_VERSION >= 125\n";
    fs::write(newer.join("lib/Kconfig.debug"), entry).unwrap();
    world.built(&newer);
    world.options.force = true;
    world.options.host.path = world.with_program("pahole", "exit 1");
    let text = world.refused(&tree);
    assert!(
        text.contains(&format!("{}: it fails: exit status: 1", pahole.display())),
        "{text}"
    );
    assert_eq!(world.made("bzImage"), 2);
    assert!(!Path::new(&tree).join(".config").exists());
}
