//! The files of a stand-in for the kernel's sources, which the real make builds in a moment.

use std::fs;
use std::path::Path;

/// Asked for any target, it calls `standin.sh`.
const MAKEFILE: &str = "\
VERSION = @MAJOR@
PATCHLEVEL = @MINOR@
SUBLEVEL = @PATCH@
EXTRAVERSION =
KCONFIG_CONFIG ?= .config
export KCONFIG_CONFIG
O ?= .
.PHONY: mrproper defconfig tinyconfig olddefconfig bzImage
mrproper defconfig tinyconfig olddefconfig bzImage:
\t@STEPS=@STEPS@ SRC=$(CURDIR) exec sh standin.sh $@ $(O)
";

const KCONFIG: &str = "\
config SCHED_CLASS_EXT
\tbool \"sched_ext\"
\tdepends on BPF_SYSCALL && STANDIN_THING
config PSI
\tbool \"psi\"
";

/// Three objects in an archive.
const KBUILD: &str = "obj-y += main.o fork.o\nobj-$(CONFIG_SCHED_CLASS_EXT) += core.o\nobj-$(CONFIG_NONE) += none.o\n";

/// Writes the sources of a release to `tree`. Building them gives `image`; each target that make is asked for becomes a line
/// in the file `steps`.
pub(crate) fn write(tree: &Path, release: [u16; 3], image: &[u8], steps: &Path) {
    fs::create_dir_all(tree.join("arch/x86/boot")).unwrap();
    let [major, minor, patch] = release.map(|number| number.to_string());
    let makefile = MAKEFILE
        .replace("@MAJOR@", &major)
        .replace("@MINOR@", &minor)
        .replace("@PATCH@", &patch)
        .replace("@STEPS@", steps.to_str().unwrap());
    fs::write(tree.join("Makefile"), makefile).unwrap();
    fs::write(tree.join("Kconfig"), KCONFIG).unwrap();
    fs::write(tree.join("Kbuild"), KBUILD).unwrap();
    fs::write(tree.join("standin.sh"), include_str!("standin.sh")).unwrap();
    fs::write(tree.join("image"), image).unwrap();
    fs::write(tree.join("arch/x86/boot/keep"), "").unwrap();
}
