//! About how many steps compiling a kernel takes, by its configuration and its Makefiles.
//!
//! The Makefiles are read, not run: what they say with conditions and simple functions is followed, what is beyond that
//! counts for nothing. That is off by a few in a hundred, which is enough to tell how far a build is.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use super::makefile::{MAX_BYTES, Makefile};

/// What is built whatever the configuration, by the directory it is of: programs of the host, the boot code, the vDSO,
/// generated headers and the link. Measured with 6.12.
const ALWAYS: &[(&str, u64)] = &[
    ("arch/x86/boot/compressed", 55),
    ("arch/x86/entry/vdso", 20),
    ("arch/x86/include/uapi", 45),
    ("scripts/kconfig", 30),
    ("tools/bpf/resolve_btfids", 62),
    ("tools/objtool", 36),
];

/// What the architecture's Makefile adds to the top Kbuild, and the option it depends on.
const MORE_DIRS: &[(&str, &str)] = &[
    ("lib", "y"),
    ("arch/x86/lib", "y"),
    ("arch/x86/pci", "CONFIG_PCI"),
    ("arch/x86/power", "CONFIG_PM"),
    ("arch/x86/video", "CONFIG_VIDEO"),
];

/// Bounds: kernels have some 3,000 Makefiles, the largest of 100 KiB.
const MAX_FILES: usize = 20_000;
const MAX_DEPTH: usize = 16;

/// The steps that a build of `tree` in the configuration `config` takes; `None` where the tree has no Makefiles that are
/// understood.
pub(crate) fn count(tree: &Path, config: &str) -> Option<u64> {
    let options = config.lines().filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        Some((name, value.trim_matches('"')))
    });
    let mut counter = Counter {
        tree,
        options: options.collect(),
        seen: HashSet::new(),
        steps: 0,
    };
    counter.dir(Path::new(""), 0);
    for (dir, option) in MORE_DIRS {
        if *option == "y" || counter.options.get(option) == Some(&"y") {
            counter.dir(Path::new(dir), 0);
        }
    }
    let always = ALWAYS.iter().filter(|(dir, _)| tree.join(dir).is_dir());
    let always: u64 = always.map(|(_, steps)| steps).sum();
    (counter.steps > 0).then_some(counter.steps + always)
}

struct Counter<'a> {
    tree: &'a Path,
    options: HashMap<&'a str, &'a str>,
    seen: HashSet<PathBuf>,
    steps: u64,
}

impl Counter<'_> {
    fn dir(&mut self, dir: &Path, depth: usize) {
        let inside = dir.components().all(|c| matches!(c, Component::Normal(_)));
        let new = self.seen.len() < MAX_FILES && self.seen.insert(dir.to_owned());
        if !inside || depth > MAX_DEPTH || !new {
            return;
        }
        let Some(text) = self.makefile(dir) else {
            return;
        };
        let makefile = Makefile::read(&text, &self.options);
        let mut objects = HashSet::new();
        let mut dirs = Vec::new();
        for list in ["obj-y", "lib-y"] {
            for word in makefile.words(list) {
                match word.strip_suffix('/') {
                    Some(sub) => dirs.push(dir.join(sub)),
                    None => makefile.objects(word, &mut objects, 0),
                }
            }
        }
        dirs.extend(
            makefile
                .words("subdir-y")
                .map(|sub| dir.join(sub.trim_end_matches('/'))),
        );
        let made = makefile.words("always-y").chain(makefile.words("extra-y"));
        objects.extend(made.filter(|word| !word.ends_with('/')).map(str::to_owned));
        // The archive of them all.
        self.steps += objects.len() as u64 + 1;
        for dir in dirs {
            self.dir(&dir, depth + 1);
        }
    }

    /// A directory's Kbuild file goes before its Makefile; the top Makefile is none of these.
    fn makefile(&self, dir: &Path) -> Option<String> {
        let names: &[&str] = if dir.as_os_str().is_empty() {
            &["Kbuild"]
        } else {
            &["Kbuild", "Makefile"]
        };
        let dir = self.tree.join(dir);
        let file = names
            .iter()
            .find_map(|name| File::open(dir.join(name)).ok())?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES as u64).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = tree.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        tree
    }

    fn steps(files: &[(&str, &str)], config: &str) -> u64 {
        count(tree(files).path(), config).unwrap()
    }

    #[test]
    fn objects_and_archives_are_steps() {
        let files = [
            (
                "Kbuild",
                "obj-y += init/ arch/$(SRCARCH)/\nobj-$(CONFIG_NET) += net/\n",
            ),
            (
                "init/Makefile",
                "obj-y := main.o version.o\nobj-$(CONFIG_X)\\\n += x.o # y.o\nmain-y := a.o b.o\n",
            ),
            ("arch/x86/Kbuild", "obj-$(CONFIG_PCI) += pci.o\n"),
            (
                "net/Makefile",
                "obj-y += core.o\nobj-m += module.o\n\techo obj-y += recipe.o\n",
            ),
            ("lib/Makefile", "lib-y := string.o\nobj-y += string.o\n"),
        ];
        // Archives: of the top, init, arch/x86 and lib.
        let base = 4 + (2 + 2) + 1;
        assert_eq!(steps(&files, ""), base);
        assert_eq!(
            steps(&files, "CONFIG_X=y\n# CONFIG_PCI is not set\n"),
            base + 1
        );
        assert_eq!(steps(&files, "CONFIG_NET=y\nCONFIG_PCI=m\n"), base + 2);
        assert_eq!(count(Path::new("/none"), "CONFIG_NET=y"), None);
    }

    #[test]
    fn conditions_and_functions_are_followed() {
        let with = |text: &str, config: &str| steps(&[("Kbuild", text)], config) - 1;
        for (text, config, expected) in [
            (
                "ifeq ($(CONFIG_A),y)\nobj-y += a.o\nelse ifdef CONFIG_B\nobj-y += b.o c.o\nelse\nobj-y += d.o e.o f.o\nendif",
                "CONFIG_A=y",
                1,
            ),
            (
                "ifeq ($(CONFIG_A),y)\nobj-y += a.o\nelse ifdef CONFIG_B\nobj-y += b.o c.o\nelse\nobj-y += d.o e.o f.o\nendif",
                "CONFIG_B=y",
                2,
            ),
            (
                "ifeq ($(CONFIG_A),y)\nobj-y += a.o\nelse ifdef CONFIG_B\nobj-y += b.o c.o\nelse\nobj-y += d.o e.o f.o\nendif",
                "",
                3,
            ),
            (
                "ifndef CONFIG_A\nifneq ($(CONFIG_B),)\nobj-y += a.o\nendif\nobj-y += b.o\nendif",
                "CONFIG_B=y",
                2,
            ),
            (
                "list := a b\nobj-y := $(addsuffix .o, $(addprefix x-,$(list)))",
                "",
                2,
            ),
            ("obj-y += $(if $(CONFIG_A),a.o b.o,c.o)", "CONFIG_A=y", 2),
            ("obj-$(or $(CONFIG_A),$(CONFIG_B)) += a.o", "CONFIG_B=y", 1),
            (
                "obj-$(and $(CONFIG_A),$(CONFIG_B)) += a.o\nobj-y += z.o",
                "CONFIG_B=y",
                1,
            ),
            (
                "obj-y += $(shell rm -rf /) a.o\na.o: obj-y = b.o c.o",
                "",
                1,
            ),
        ] {
            assert_eq!(with(text, config), expected, "{text} with {config}");
        }
    }

    proptest! {
        #[test]
        fn no_makefile_panics(
            text in "((if(n?eq|n?def)|else|endif|obj-y|lib-y|a-y)[ (),$:+=/.ao\n\\\\\"#\u{e9}]{0,12}){0,12}",
        ) {
            let tree = tree(&[("Kbuild", &text), ("a/Makefile", &text), ("o/Makefile", &text)]);
            let _ = count(tree.path(), "CONFIG_A=y\n");
        }
    }
}
