//! What compilers and build scripts of earlier builds read, in whatever profile: dep-info files (`.d`) and the output of
//! build scripts, both in cargo's target directory.
//!
//! A build may be older than the sources. What it read is therefore added to what other rules find, and takes nothing away.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::project::{Index, Project};

/// The longest file that is read, in bytes.
const LONGEST: u64 = 16 << 20;

/// How deep in the directory of a build script's results its files are.
const DEPTH: usize = 4;

/// Files that packages were built from, beside what their directories tell.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    /// Files and directories, and the packages that read them.
    readers: BTreeMap<PathBuf, BTreeSet<Index>>,
    /// Sources of build scripts.
    scripts: BTreeSet<PathBuf>,
    /// Packages whose build script told all that it reads, and nothing of that has changed since.
    told: BTreeSet<Index>,
}

impl Inputs {
    pub(super) fn read(project: &Project) -> Self {
        let mut inputs = Self::default();
        let names: BTreeMap<&str, BTreeSet<Index>> = by_name(project);
        let targets = project.by_target();
        for profile in project.target_dirs.iter().flat_map(|dir| profiles(dir)) {
            for file in dep_infos(&profile) {
                let stem = file.file_stem().unwrap_or_default().to_string_lossy();
                if let Some(owners) = targets.get(stem.as_ref()) {
                    inputs.add(&file, owners, project);
                }
            }
            for dir in ["deps", "examples"] {
                for file in dep_infos(&profile.join(dir)) {
                    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
                    if targets.contains_key(without_hash(&stem)) {
                        inputs.add_crate(&file, project);
                    }
                }
            }
            for dir in entries(&profile.join("build")) {
                let name = dir.file_name().unwrap_or_default().to_string_lossy();
                let owners = names
                    .get(name.as_ref())
                    .or_else(|| names.get(without_hash(&name)));
                if let Some(owners) = owners {
                    inputs.add_script(&dir, owners, project);
                }
            }
        }
        inputs
    }

    /// The packages that were built from `path`, or from something in it.
    pub(super) fn readers(&self, path: &Path) -> BTreeSet<Index> {
        let around = path.ancestors().filter_map(|dir| self.readers.get(dir));
        let inside = self.readers.range(path.to_owned()..);
        let inside = inside.take_while(|(file, _)| file.starts_with(path));
        around
            .chain(inside.map(|(_, readers)| readers))
            .flatten()
            .copied()
            .collect()
    }

    /// Whether a build script was compiled from `path`.
    pub(super) fn is_of_script(&self, path: &Path) -> bool {
        self.scripts.contains(path)
    }

    /// Whether the last build of the package tells all that its build script reads now.
    pub(super) fn knows_script_of(&self, package: Index) -> bool {
        self.told.contains(&package)
    }

    /// Adds the files of a dep-info file whose packages are known.
    fn add(&mut self, file: &Path, owners: &BTreeSet<Index>, project: &Project) {
        for path in prerequisites(&read(file).unwrap_or_default()) {
            for owner in owners {
                for found in places(&path, *owner, project) {
                    self.readers.entry(found).or_default().insert(*owner);
                }
            }
        }
    }

    /// Adds the files of a dep-info file of rustc's: it is of the packages that have its crate's root.
    fn add_crate(&mut self, file: &Path, project: &Project) {
        let listed = prerequisites(&read(file).unwrap_or_default());
        for (index, package) in project.packages.iter().enumerate() {
            let found: BTreeSet<PathBuf> = listed
                .iter()
                .flat_map(|path| places(path, index, project))
                .collect();
            if package
                .build_script
                .as_ref()
                .is_some_and(|root| found.contains(root))
            {
                self.scripts.extend(found);
            } else if package.roots.iter().any(|root| found.contains(root)) {
                for path in found {
                    self.readers.entry(path).or_default().insert(index);
                }
            }
        }
    }

    /// Adds what is in the directory of a build script's program or results.
    fn add_script(&mut self, dir: &Path, owners: &BTreeSet<Index>, project: &Project) {
        let mut files = Vec::new();
        walk(dir, DEPTH, &mut files);
        for file in files {
            let name = file.file_name().unwrap_or_default();
            if name == "output" || name == "stdout" {
                self.add_output(&file, owners, project);
            } else if name.as_bytes().starts_with(b"build_script_")
                || name.as_bytes().starts_with(b"build-script-")
            {
                self.add_crate(&file, project);
            } else {
                // Compilers of other languages write them too, where a build script asks for it.
                self.add(&file, owners, project);
            }
        }
    }

    /// Adds what a build script said that it reads.
    fn add_output(&mut self, file: &Path, owners: &BTreeSet<Index>, project: &Project) {
        let printed = read(file).unwrap_or_default();
        let told: Vec<PathBuf> = printed
            .split(|byte| *byte == b'\n')
            .filter_map(rerun_if_changed)
            .collect();
        let since = modified(file);
        for owner in owners {
            let package = &project.packages[*owner];
            let mut is_fresh = !told.is_empty();
            let script = package
                .build_script
                .iter()
                .map(|root| project.root.join(root));
            let read = told.iter().map(|path| package.manifest_dir.join(path));
            for path in script.chain(read) {
                is_fresh &= modified(&path) <= since;
            }
            for path in &told {
                for found in places(path, *owner, project) {
                    self.readers.entry(found).or_default().insert(*owner);
                }
            }
            if is_fresh {
                self.told.insert(*owner);
            }
        }
    }
}

fn by_name(project: &Project) -> BTreeMap<&str, BTreeSet<Index>> {
    let mut by_name: BTreeMap<&str, BTreeSet<Index>> = BTreeMap::new();
    for (index, package) in project.packages.iter().enumerate() {
        by_name.entry(&package.name).or_default().insert(index);
    }
    by_name
}

/// Directories of profiles in a target directory, also of those for other targets than the host.
fn profiles(target: &Path) -> Vec<PathBuf> {
    let is_profile = |dir: &PathBuf| dir.join("deps").is_dir() || dir.join("build").is_dir();
    let (profiles, others): (Vec<PathBuf>, Vec<PathBuf>) =
        entries(target).into_iter().partition(is_profile);
    let of_others = others
        .iter()
        .flat_map(|dir| entries(dir))
        .filter(is_profile);
    profiles.iter().cloned().chain(of_others).collect()
}

/// What is in `dir`, in order; nothing where it cannot be read.
fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn dep_infos(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let files = entries(dir).into_iter();
    files.filter(|path| path.extension() == Some(OsStr::new("d")))
}

/// Dep-info files, and output of build scripts, in `dir` and down to `depth` below it.
fn walk(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth > 0 => walk(&path, depth - 1, found),
            Ok(kind) if kind.is_file() => {
                let is_output = ["output", "stdout"].iter().any(|name| path.ends_with(name));
                if is_output || path.extension() == Some(OsStr::new("d")) {
                    found.push(path);
                }
            }
            _ => {}
        }
    }
}

/// `name` without the hash that cargo puts behind it.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|it| it.is_ascii_hexdigit()) => {
            name
        }
        _ => name,
    }
}

fn read(file: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)
        .ok()?
        .take(LONGEST)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(bytes)
}

/// When a file or directory changed last; in the future, where nobody knows.
fn modified(path: &Path) -> Option<SystemTime> {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified
        .ok()
        .or_else(|| SystemTime::now().checked_add(std::time::Duration::from_secs(1)))
}

/// Where `path`, as a build of a package names it, is in the repository: rustc runs in the workspace's root, or in that of
/// a package outside of it, build scripts run in their package's.
fn places(path: &Path, package: Index, project: &Project) -> BTreeSet<PathBuf> {
    let dirs = [
        &project.workspace_dir,
        &project.packages[package].manifest_dir,
    ];
    dirs.into_iter()
        .filter_map(|dir| project.in_repository(&dir.join(path)))
        .collect()
}

/// The path of a line `cargo::rerun-if-changed=PATH`, which older build scripts write with one colon.
fn rerun_if_changed(line: &[u8]) -> Option<PathBuf> {
    let line = line.strip_prefix(b"cargo:")?;
    let line = line.strip_prefix(b":").unwrap_or(line);
    let path = line.strip_prefix(b"rerun-if-changed=")?;
    let path = path.strip_suffix(b"\r").unwrap_or(path);
    Some(OsStr::from_bytes(path).into())
}

/// What stands behind the colons of a makefile's rules, as compilers write them.
fn prerequisites(text: &[u8]) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for line in logical_lines(text) {
        if line.starts_with(b"#") {
            continue;
        }
        let Some(colon) = (0..line.len())
            .find(|at| line[*at] == b':' && line.get(at + 1).is_none_or(u8::is_ascii_whitespace))
        else {
            continue;
        };
        paths.extend(words(&line[colon + 1..]));
    }
    paths
}

/// Lines, where a backslash at a line's end joins the next one.
fn logical_lines(text: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    let mut line = Vec::new();
    for part in text.split(|byte| *byte == b'\n') {
        let part = part.strip_suffix(b"\r").unwrap_or(part);
        if let Some(part) = part.strip_suffix(b"\\") {
            line.extend_from_slice(part);
            line.push(b' ');
            continue;
        }
        line.extend_from_slice(part);
        lines.push(std::mem::take(&mut line));
    }
    lines.push(line);
    lines
}

/// Words parted by spaces, of which a backslash makes a part of the word.
fn words(text: &[u8]) -> Vec<PathBuf> {
    let mut words = Vec::new();
    let mut word = Vec::new();
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if bytes.peek().is_some_and(|next| b" \t#:\\".contains(next)) => {
                word.extend(bytes.next());
            }
            // Make reads one dollar sign.
            b'$' if bytes.peek() == Some(&b'$') => {
                word.extend(bytes.next());
            }
            b' ' | b'\t' => words.push(std::mem::take(&mut word)),
            byte => word.push(byte),
        }
    }
    words.push(word);
    let words = words.into_iter().filter(|word| !word.is_empty());
    words
        .map(|word| std::ffi::OsString::from_vec(word).into())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_compilers_write_them() {
        let text = b"# env-dep:X=a: b\n/t/debug/x.d: src/main.rs src/with\\ space.rs /abs/y.h\n\n\
            src/main.rs:\nout.o: a.c \\\n  b.h \\\r\n  c$$d.h\nno rule\nC:/x: z.h";
        let paths = prerequisites(text);
        let expected = [
            "src/main.rs",
            "src/with space.rs",
            "/abs/y.h",
            "a.c",
            "b.h",
            "c$d.h",
            "z.h",
        ];
        assert_eq!(paths, expected.map(PathBuf::from));
        assert!(prerequisites(b"").is_empty());
    }

    #[test]
    fn build_scripts_name_what_they_read_in_two_ways() {
        let path = |line: &str| rerun_if_changed(line.as_bytes());
        assert_eq!(path("cargo:rerun-if-changed=a b"), Some("a b".into()));
        assert_eq!(path("cargo::rerun-if-changed=/x"), Some("/x".into()));
        assert_eq!(path("cargo:rerun-if-env-changed=CC"), None);
        assert_eq!(path("rerun-if-changed=x"), None);
    }

    #[test]
    fn hashes_are_cargos_alone() {
        assert_eq!(without_hash("scx-mine-0123456789abcdef"), "scx-mine");
        assert_eq!(without_hash("scx-mine"), "scx-mine");
        assert_eq!(without_hash("x-0123456789abcdeg"), "x-0123456789abcdeg");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read(text: Vec<u8>) {
            let _ = prerequisites(&text);
        }

        #[test]
        fn names_come_back_as_they_were(names in proptest::collection::vec("[a-z #:\\\\$/.]{1,12}[a-z]", 0..6)) {
            let escaped = names.iter().map(|name| {
                let name = name.replace('\\', "\\\\").replace('$', "$$");
                name.replace(' ', "\\ ").replace('#', "\\#").replace(':', "\\:")
            });
            let line = format!("x.o: {}", escaped.collect::<Vec<_>>().join(" "));
            let expected: Vec<PathBuf> = names.iter().map(PathBuf::from).collect();
            proptest::prop_assert_eq!(prerequisites(line.as_bytes()), expected);
        }
    }
}
