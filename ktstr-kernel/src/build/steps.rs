//! About how many steps compiling a kernel takes, by its configuration and its Makefiles.
//!
//! The Makefiles are read, not run: what they say with conditions and simple functions is followed, what is beyond that
//! counts for nothing. That is off by a few in a hundred, which is enough to tell how far a build is.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

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
const MAX_BYTES: u64 = 1 << 20;
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
        file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// What a Makefile assigns.
struct Makefile<'a> {
    options: &'a HashMap<&'a str, &'a str>,
    variables: HashMap<String, String>,
}

impl<'a> Makefile<'a> {
    fn read(text: &str, options: &'a HashMap<&'a str, &'a str>) -> Self {
        let mut makefile = Self {
            options,
            variables: HashMap::from([
                ("SRCARCH".to_owned(), "x86".to_owned()),
                ("BITS".to_owned(), "64".to_owned()),
            ]),
        };
        let text = text.replace("\\\n", " ");
        // Of each condition around a line: whether it holds, and whether one before it held.
        let mut conditions: Vec<(bool, bool)> = Vec::new();
        for line in text.lines() {
            // A recipe.
            if line.starts_with('\t') && !line.trim_start().starts_with("obj-") {
                continue;
            }
            let line = line.split('#').next().unwrap_or_default().trim();
            let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let outer = conditions.iter().rev().skip(1).all(|(holds, _)| *holds);
            let holds = conditions.iter().all(|(holds, _)| *holds);
            match word {
                "ifeq" | "ifneq" | "ifdef" | "ifndef" => {
                    let holds = makefile.holds(word, rest.trim());
                    conditions.push((holds, holds));
                }
                "else" if !conditions.is_empty() => {
                    let (kind, rest) = rest
                        .trim()
                        .split_once(char::is_whitespace)
                        .unwrap_or(("", ""));
                    let next = kind.is_empty() || makefile.holds(kind, rest.trim());
                    if let Some((holds, held)) = conditions.last_mut() {
                        *holds = outer && next && !*held;
                        *held |= *holds;
                    }
                }
                "endif" => {
                    conditions.pop();
                }
                _ if holds => makefile.assign(line),
                _ => {}
            }
        }
        makefile
    }

    fn holds(&self, kind: &str, condition: &str) -> bool {
        let set = |name: &str| !self.variable(name.trim()).is_empty();
        match kind {
            "ifdef" => return set(condition),
            "ifndef" => return !set(condition),
            _ => {}
        }
        let sides = match condition.strip_prefix('(') {
            Some(inner) => split_arguments(inner.strip_suffix(')').unwrap_or(inner)),
            None => condition
                .split_whitespace()
                .map(|side| side.trim_matches(['"', '\'']))
                .collect(),
        };
        let mut sides = sides
            .iter()
            .map(|side| self.expand(side, 0).trim().to_owned());
        let same = sides.next().unwrap_or_default() == sides.next().unwrap_or_default();
        same == (kind == "ifeq")
    }

    /// Takes `name = value` and its kin.
    fn assign(&mut self, line: &str) {
        let Some((left, value)) = line.split_once('=') else {
            return;
        };
        let adds = left.ends_with('+');
        let name = self.expand(left.trim_end_matches(['+', ':', '?']).trim(), 0);
        // No rule, no condition of one target.
        if name.is_empty() || name.contains(char::is_whitespace) || name.contains(':') {
            return;
        }
        let value = self.expand(value.trim(), 0);
        let old = self.variables.entry(name).or_default();
        // A hostile Makefile may double its variables.
        if adds && old.len() + value.len() < MAX_BYTES as usize {
            old.push(' ');
            old.push_str(&value);
        } else if !adds {
            *old = value;
        }
    }

    fn variable(&self, name: &str) -> &str {
        let option = self.options.get(name).copied();
        option
            .or_else(|| self.variables.get(name).map(String::as_str))
            .unwrap_or_default()
    }

    /// `text` with its variables and the simplest functions in place; others become nothing.
    fn expand(&self, text: &str, depth: usize) -> String {
        let mut result = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("$(") {
            result.push_str(&rest[..at]);
            let inner = &rest[at + 2..];
            let end = closing(inner).unwrap_or(inner.len());
            if depth < MAX_DEPTH && result.len() < MAX_BYTES as usize {
                result.push_str(&self.reference(&inner[..end], depth + 1));
            }
            rest = inner.get(end + 1..).unwrap_or_default();
        }
        result.push_str(rest);
        result
    }

    fn reference(&self, inner: &str, depth: usize) -> String {
        let Some((function, arguments)) = inner.split_once(char::is_whitespace) else {
            // `$(foo-objs:.o=.c)` and the like count for nothing.
            return self.variable(&self.expand(inner, depth)).to_owned();
        };
        let arguments = split_arguments(arguments);
        let argument = |at: usize| {
            let text = arguments.get(at).copied().unwrap_or_default();
            self.expand(text, depth).trim().to_owned()
        };
        let each = |list: String, change: &dyn Fn(&str) -> String| {
            let words: Vec<String> = list.split_whitespace().map(change).collect();
            words.join(" ")
        };
        match function {
            "if" => argument(if argument(0).is_empty() { 2 } else { 1 }),
            "addprefix" => {
                let prefix = argument(0);
                each(argument(1), &|word| format!("{prefix}{word}"))
            }
            "addsuffix" => {
                let suffix = argument(0);
                each(argument(1), &|word| format!("{word}{suffix}"))
            }
            "strip" | "sort" => argument(0),
            "subst" => argument(2).replace(&argument(0), &argument(1)),
            "or" => (0..arguments.len())
                .map(argument)
                .find(|it| !it.is_empty())
                .unwrap_or_default(),
            "and" => {
                let all: Vec<String> = (0..arguments.len()).map(argument).collect();
                let met = all.iter().all(|it| !it.is_empty());
                all.last().filter(|_| met).cloned().unwrap_or_default()
            }
            _ => String::new(),
        }
    }

    fn words(&self, name: &str) -> impl Iterator<Item = &str> {
        self.variables
            .get(name)
            .into_iter()
            .flat_map(|it| it.split_whitespace())
    }

    /// The objects that `word` stands for: itself, and what it is linked of.
    fn objects(&self, word: &str, all: &mut HashSet<String>, depth: usize) {
        let Some(name) = word.strip_suffix(".o") else {
            return;
        };
        if !all.insert(word.to_owned()) || depth > MAX_DEPTH {
            return;
        }
        for list in [format!("{name}-y"), format!("{name}-objs")] {
            for part in self.words(&list) {
                self.objects(part, all, depth + 1);
            }
        }
    }
}

/// Where the parenthesis closes that opened before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => open += 1,
            ')' if open == 0 => return Some(at),
            ')' => open -= 1,
            _ => {}
        }
    }
    None
}

/// A list at its commas, but not at those within parentheses.
fn split_arguments(text: &str) -> Vec<&str> {
    let mut open = 0_usize;
    let parts = text.split(|c: char| {
        match c {
            '(' => open += 1,
            ')' => open = open.saturating_sub(1),
            _ => {}
        }
        c == ',' && open == 0
    });
    parts.collect()
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
