//! Kernels that are compiled with the tool chain of the environment.

use std::fs;

use ktstr_core::host::Host;
use ktstr_kernel::{KernelSpec, Release, Resolver, Toolchain};

use crate::standin::{Told, World};

fn of(pairs: &'static [(&str, &str)]) -> Toolchain {
    Toolchain::from_env(&Host::default().with_vars(pairs.iter().copied())).unwrap()
}

#[test]
fn it_reaches_every_make_and_makes_another_kernel() {
    let mut world = World::new();
    let tree = world.git_tree("linux");
    let makefile = fs::read_to_string(tree.join("Makefile")).unwrap();
    let line = format!(
        "\t@echo \"$@ $(LLVM) $(CC) $(KCFLAGS)\" >> {}\n\t@STEPS=",
        world.path("seen").display()
    );
    fs::write(tree.join("Makefile"), makefile.replace("\t@STEPS=", &line)).unwrap();
    crate::standin::commit(&tree);
    let tarball = world.tarball(&tree, "a.tar.gz");
    world.options.host.path = world.with_program("my-cc", "exec gcc \"$@\"");
    for source in [&tree, &tarball] {
        world.options.toolchain = Toolchain::default();
        let (plain, _) = world.built(source);
        let _ = fs::remove_file(world.path("seen"));
        world.options.toolchain =
            of(&[("CC", "my-cc"), ("KCFLAGS", "-O1"), ("KBUILD_OUTPUT", "x")]);
        let (mine, told) = world.built(source);
        let seen = fs::read_to_string(world.path("seen")).unwrap();
        assert_eq!(
            seen,
            "tinyconfig  my-cc -Wno-error -O1\nolddefconfig  my-cc -Wno-error -O1\nbzImage  my-cc -Wno-error -O1\n"
        );
        assert!(
            told.has("note compiling with CC=my-cc KCFLAGS=-O1")
                && told.has("note KBUILD_OUTPUT of the environment: not passed"),
            "{}",
            told.all()
        );
        let (plain, mine) = (plain.cache_key.unwrap(), mine.cache_key.unwrap());
        assert!(mine.as_str().starts_with(&format!("{plain}-tc")), "{mine}");
        let entry = world.cache().get(&mine).unwrap();
        let written = entry.metadata().unwrap().toolchain.as_deref();
        assert_eq!(written, Some("CC=my-cc KCFLAGS=-O1"));
        assert!(world.built(source).1.is_silent_hit());
    }
    // A release's name stands for the one that was asked for.
    let series = KernelSpec::Series(Release::parse("6.99").unwrap());
    let resolve = |world: &World| {
        let resolver = Resolver::new(world.cache(), world.options.clone());
        resolver.resolve(&series, &Told::default())
    };
    assert!(
        resolve(&world)
            .unwrap()
            .cache_key
            .unwrap()
            .as_str()
            .contains("-tc")
    );
    world.options.toolchain = of(&[("KCFLAGS", "-O3")]);
    let text = resolve(&world).unwrap_err().to_string();
    assert!(text.contains("another tool chain"), "{text}");
}

#[test]
fn programs_that_are_not_there_are_told_first() {
    let mut world = World::new();
    let tree = world.git_tree("linux");
    world.options.toolchain = of(&[("LLVM", "-ktstr"), ("AR", "no-such-ar")]);
    let text = world.refused(&tree);
    assert!(
        text.contains("`no-such-ar` of AR") && text.contains("`clang-ktstr` of LLVM"),
        "{text}"
    );
    assert_eq!(world.made("tinyconfig"), 0);
}

#[test]
fn ccache_runs_the_compiler_that_was_chosen() {
    let mut world = World::new();
    let tree = world.tree("linux");
    let makefile = fs::read_to_string(tree.join("Makefile")).unwrap();
    let line = format!(
        "\t@echo \"$(CC)\" > {}\n\t@STEPS=",
        world.path("seen").display()
    );
    fs::write(tree.join("Makefile"), makefile.replace("\t@STEPS=", &line)).unwrap();
    world.options.ccache = true;
    world.options.host.path = world.with_program("ccache", "exec \"$@\"");
    for (toolchain, cc) in [
        (of(&[("CC", "gcc -m64")]), "ccache gcc -m64"),
        (of(&[("CC", "ccache gcc")]), "ccache gcc"),
    ] {
        world.options.toolchain = toolchain;
        world.built(&tree);
        assert_eq!(fs::read_to_string(world.path("seen")).unwrap().trim(), cc);
    }
}
