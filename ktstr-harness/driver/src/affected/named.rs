//! Which sources name a file: `#include` lines of C, and literals of Rust, such as those of `include_str!`, `#[path]` and
//! build scripts.
//!
//! Text does not tell where a compiler looks for a header. A name that is not a file from where it stands may be any file
//! whose path ends in it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::changes::Files;
use super::inputs::Inputs;
use super::paths;
use super::project::{Index, Project};

/// Extensions of sources that have `#include` lines.
const INCLUDING: &[&str] = &[
    "c", "h", "cc", "cpp", "cxx", "hh", "hpp", "S", "s", "inc", "def", "tbl", "lds", "bpf",
];

/// The longest source that is read, in bytes: a `vmlinux.h` has a few MiB.
const LONGEST: u64 = 256 << 20;

/// Sources by the last parts of the paths that they name: who names, and by which words.
type Names = BTreeMap<Vec<u8>, Vec<(PathBuf, PathBuf)>>;

/// The sources of a project, as far as they name files.
pub(super) struct Named<'p> {
    project: &'p Project,
    /// What C includes.
    includes: Names,
    /// What Rust names, of all that was asked for.
    literals: Names,
    /// Directories that build scripts name, and macros that take in whole ones.
    dirs: BTreeSet<(PathBuf, Index)>,
    changed: BTreeSet<PathBuf>,
}

impl<'p> Named<'p> {
    /// Reads the sources among `files` that may name one of `changed`. The error is a clause.
    pub(super) fn read(
        project: &'p Project,
        files: &Files,
        inputs: &Inputs,
        changed: BTreeSet<PathBuf>,
    ) -> Result<Self, String> {
        let mut named = Self {
            project,
            includes: Names::new(),
            literals: Names::new(),
            dirs: BTreeSet::new(),
            changed,
        };
        let is = |path: &Path, extensions: &[&str]| {
            let own = path.extension().and_then(OsStr::to_str);
            own.is_some_and(|own| extensions.contains(&own))
        };
        for path in files.all.iter().filter(|path| is(path, INCLUDING)) {
            named.includes_of(path, &source(&project.root.join(path))?);
        }
        let reached: BTreeSet<PathBuf> = named
            .changed
            .iter()
            .flat_map(|path| named.includers(path))
            .collect();
        let wanted = named.changed.iter().chain(&reached);
        let wanted: BTreeSet<Vec<u8>> = wanted.map(|path| name_of(path)).collect();
        for path in files.all.iter().filter(|path| is(path, &["rs"])) {
            let text = source(&project.root.join(path))?;
            named.literals_of(path, &text, &wanted, inputs);
        }
        Ok(named)
    }

    /// Sources that name `path`, or a header that includes it, and so on.
    pub(super) fn by(&self, path: &Path) -> BTreeSet<PathBuf> {
        let mut files = self.includers(path);
        let named: Vec<PathBuf> = files.iter().cloned().chain([path.to_owned()]).collect();
        for path in named {
            files.extend(self.direct(&self.literals, &path));
        }
        files
    }

    /// Packages that name a directory which `path` is in.
    pub(super) fn by_dir(&self, path: &Path) -> BTreeSet<Index> {
        let dirs = self.dirs.iter().filter(|(dir, _)| path.starts_with(dir));
        dirs.map(|(_, package)| *package).collect()
    }

    /// Files of C that include `path`, or one that does, and so on.
    fn includers(&self, path: &Path) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        let mut new = vec![path.to_owned()];
        while let Some(path) = new.pop() {
            for includer in self.direct(&self.includes, &path) {
                if found.insert(includer.clone()) {
                    new.push(includer);
                }
            }
        }
        found
    }

    /// The sources of `names` that name `path` itself.
    fn direct(&self, names: &Names, path: &Path) -> Vec<PathBuf> {
        let sources = names.get(&name_of(path)).into_iter().flatten();
        let sources = sources.filter(|(source, words)| self.means(source, words, path));
        sources.map(|(source, _)| source.clone()).collect()
    }

    /// Whether `words`, as `source` has them, may mean `path`.
    fn means(&self, source: &Path, words: &Path, path: &Path) -> bool {
        let places = self.places(source, words);
        if places.iter().any(|place| place == path) {
            return true;
        }
        let is_there = |place: &PathBuf| {
            self.changed.contains(place) || self.project.root.join(place).exists()
        };
        if places.iter().any(is_there) {
            return false;
        }
        let parts = words.components();
        let end: PathBuf = parts
            .filter(|part| matches!(part, Component::Normal(_)))
            .collect();
        // These names alone are everywhere, and what takes in such a file by name does so from where it stands.
        let is_common = end.components().count() == 1
            && (path.extension() == Some(OsStr::new("rs")) || path.ends_with("Cargo.toml"));
        !is_common && path.ends_with(end)
    }

    /// Where `words` lead from `source` on, and from the roots of its package, workspace and repository.
    fn places(&self, source: &Path, words: &Path) -> BTreeSet<PathBuf> {
        let words = words.strip_prefix("/").unwrap_or(words);
        let package = self.project.owner(source);
        let package = package.and_then(|it| self.project.packages[it].dir.as_deref());
        let dirs = [
            source.parent(),
            package,
            self.project.workspace.as_deref(),
            Some(Path::new("")),
        ];
        dirs.into_iter()
            .flatten()
            .filter_map(|dir| paths::join(dir, words))
            .collect()
    }

    fn includes_of(&mut self, path: &Path, text: &[u8]) {
        for line in text.split(|byte| *byte == b'\n') {
            if !includes(line) {
                continue;
            }
            for words in tokens(line) {
                let found = (path.to_owned(), words.to_owned());
                self.includes.entry(name_of(words)).or_default().push(found);
            }
        }
    }

    fn literals_of(
        &mut self,
        path: &Path,
        text: &[u8],
        wanted: &BTreeSet<Vec<u8>>,
        inputs: &Inputs,
    ) {
        let owner = self.project.owner(path);
        let script = owner.and_then(|it| self.project.packages[it].build_script.as_deref());
        let is_script = script == Some(path) || inputs.is_of_script(path);
        for line in text.split(|byte| *byte == b'\n') {
            if line.trim_ascii_start().starts_with(b"//") {
                continue;
            }
            let takes_dirs =
                is_script || contains(line, b"include_dir!") || contains(line, b"folder");
            for words in tokens(line) {
                if wanted.contains(paths::name(words).as_bytes()) {
                    let found = (path.to_owned(), words.to_owned());
                    self.literals.entry(name_of(words)).or_default().push(found);
                }
                if let (true, Some(owner)) = (takes_dirs, owner) {
                    self.add_dirs(path, words, owner);
                }
            }
        }
    }

    /// Adds the directories that `words` of `source` may mean, but for those that have all of the package in them.
    fn add_dirs(&mut self, source: &Path, words: &Path, package: Index) {
        let words = words.as_os_str().as_bytes();
        let words = words.strip_prefix(b"-I").unwrap_or(words);
        let words = words.strip_prefix(b"$CARGO_MANIFEST_DIR").unwrap_or(words);
        let own = self.project.packages[package]
            .dir
            .as_deref()
            .unwrap_or(Path::new(""));
        for place in self.places(source, Path::new(OsStr::from_bytes(words))) {
            if !own.starts_with(&place) && self.project.root.join(&place).is_dir() {
                self.dirs.insert((place, package));
            }
        }
    }
}

fn name_of(path: &Path) -> Vec<u8> {
    paths::name(path).as_bytes().to_owned()
}

/// Whether a line of C has another file in it.
fn includes(line: &[u8]) -> bool {
    let line = line.trim_ascii_start();
    let directive = line.strip_prefix(b"#").map(<[u8]>::trim_ascii_start);
    directive.is_some_and(|it| {
        ["include", "embed", "import", "if", "elif"]
            .iter()
            .any(|word| it.starts_with(word.as_bytes()))
    }) || contains(line, b"incbin")
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part == word)
}

/// What may be a path in a line: the longest stretches without quotes, brackets and the like. Spaces are part of a path
/// between quotes, and part paths elsewhere, so that both readings count.
fn tokens(line: &[u8]) -> BTreeSet<&Path> {
    let quoted = |byte: &u8| b"\"<>".contains(byte);
    let parted = |byte: &u8| byte.is_ascii_whitespace() || b"\"'<>(){}[],;=:|`\\".contains(byte);
    let words = line
        .split(quoted)
        .chain(line.split(parted))
        .chain(line.split(|byte| b"\"=".contains(byte)));
    let words = words.filter(|word| !word.is_empty() && word.len() < 4096 && !word.contains(&0));
    words
        .map(|word| Path::new(OsStr::from_bytes(word)))
        .collect()
}

/// The text of a source; empty where it is gone, or is no file. The error is a clause.
fn source(path: &Path) -> Result<Vec<u8>, String> {
    let read = || -> io::Result<Vec<u8>> {
        // A pipe would wait for ever.
        if !fs::metadata(path)?.is_file() {
            return Ok(Vec::new());
        }
        let mut text = Vec::new();
        File::open(path)?.take(LONGEST).read_to_end(&mut text)?;
        Ok(text)
    };
    read().or_else(|error| {
        let leads_nowhere = [libc::ENOENT, libc::ENOTDIR, libc::ELOOP].map(Some);
        if leads_nowhere.contains(&error.raw_os_error()) {
            Ok(Vec::new())
        } else {
            Err(format!("{}: {error}", path.display()))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_in_lines() {
        let found = |line: &str, path: &str| tokens(line.as_bytes()).contains(Path::new(path));
        for (line, path) in [
            ("#include <scx/common.bpf.h>", "scx/common.bpf.h"),
            ("#include \"with space.h\"", "with space.h"),
            ("let x = include_str!(\"../a.md\");", "../a.md"),
            ("concat!(env!(\"DIR\"), \"/x/y.h\")", "/x/y.h"),
            ("println!(\"cargo:rerun-if-changed=src/x.h\");", "src/x.h"),
            (
                "println!(\"cargo:rerun-if-changed=src/a b.h\");",
                "src/a b.h",
            ),
            ("format!(\"{dir}/x.h\")", "/x.h"),
            ("flags(\"-I../inc -DX\")", "-I../inc"),
        ] {
            assert!(found(line, path), "{line}");
        }
    }

    #[test]
    fn lines_that_include_are_told_from_others() {
        for (line, expected) in [
            ("#include \"x.h\"", true),
            ("  # include <x.h>", true),
            ("#if __has_include(\"x.h\")", true),
            ("\t.incbin \"x.bin\"", true),
            ("// see x.h", false),
            ("#define X \"x.h\"", false),
        ] {
            assert_eq!(includes(line.as_bytes()), expected, "{line}");
        }
    }
}
