//! Kconfig files, read just well enough to say why an option was dropped.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// What Kconfig says of an option.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// The conditions of its first definition.
    pub(super) depends: Vec<String>,
}

/// Bounds of the search: kernels have some 1700 files, the largest of 100 KiB, eight directories deep.
const MAX_FILES: usize = 20_000;
const MAX_BYTES: u64 = 1 << 20;
const MAX_DEPTH: usize = 16;

/// The entries of `options` (with `CONFIG_`) in the Kconfig files below `tree`.
pub(super) fn find<'o>(tree: &Path, options: &[&'o str]) -> HashMap<&'o str, Entry> {
    let mut search = Search {
        options,
        entries: HashMap::new(),
        files: 0,
    };
    search.dir(tree, 0);
    search.entries
}

struct Search<'s, 'o> {
    options: &'s [&'o str],
    entries: HashMap<&'o str, Entry>,
    files: usize,
}

impl Search<'_, '_> {
    fn dir(&mut self, dir: &Path, depth: usize) {
        let mut items: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().collect();
        items.sort_by_key(fs::DirEntry::file_name);
        for item in items {
            let name = item.file_name();
            let name = name.to_string_lossy();
            let Ok(kind) = item.file_type() else { continue };
            if kind.is_file() && name.starts_with("Kconfig") && self.files < MAX_FILES {
                self.files += 1;
                self.file(&item.path());
            }
            // Other architectures have entries of the same names.
            let foreign = dir.file_name().is_some_and(|dir| dir == "arch") && name != "x86";
            let barren = [".git", "Documentation", "tools"].contains(&&*name);
            if kind.is_dir() && !foreign && !barren && depth < MAX_DEPTH {
                self.dir(&item.path(), depth + 1);
            }
        }
    }

    fn file(&mut self, path: &Path) {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes));
        if read.is_ok() {
            self.text(&String::from_utf8_lossy(&bytes));
        }
    }

    fn text(&mut self, text: &str) {
        let text = text.replace("\\\n", " ");
        let mut ifs: Vec<&str> = Vec::new();
        let mut current: Option<&str> = None;
        for line in text.lines() {
            let line = line.trim();
            let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            match word {
                "config" | "menuconfig" => {
                    let known =
                        |option: &&&str| option.strip_prefix("CONFIG_") == Some(rest.trim());
                    current = self.options.iter().find(known).copied();
                    if let Some(option) = current {
                        if self.entries.contains_key(option) {
                            // Its second definition is another's.
                            current = None;
                            continue;
                        }
                        let depends = ifs.iter().map(ToString::to_string).collect();
                        self.entries.insert(option, Entry { depends });
                    }
                }
                "if" => {
                    ifs.push(rest.trim());
                    current = None;
                }
                "endif" => {
                    ifs.pop();
                    current = None;
                }
                // What follows may start with any word; nothing of the entry does.
                "help" | "---help---" => current = None,
                "choice" | "endchoice" | "menu" | "endmenu" | "source" | "comment" => {
                    current = None;
                }
                "depends" => {
                    let condition = rest.trim().strip_prefix("on").map(str::trim);
                    let entry = current.and_then(|option| self.entries.get_mut(option));
                    if let (Some(entry), Some(condition)) = (entry, condition) {
                        entry.depends.push(condition.to_owned());
                    }
                }
                _ => {}
            }
        }
    }
}

impl Entry {
    /// The single symbols in its conditions that do not have the value they should: `X`, or `!X`.
    ///
    /// Of `A || B` both or none: that is not worked out further, nor are comparisons.
    pub(super) fn unmet<'v>(&self, value: impl Fn(&str) -> &'v str) -> Vec<String> {
        let is_met = |term: &&str| {
            let symbol = term.trim_start_matches('!').trim();
            let set = ["y", "m"].contains(&value(&format!("CONFIG_{symbol}")));
            set != term.starts_with('!')
        };
        let mut unmet: Vec<String> = Vec::new();
        for condition in &self.depends {
            let spaced = ["(", ")", "&&", "||"]
                .iter()
                .fold(condition.clone(), |text, mark| text.replace(mark, "\n"));
            let terms = spaced.lines().map(str::trim).filter(|term| is_symbol(term));
            let (met, lost): (Vec<&str>, Vec<&str>) = terms.partition(is_met);
            if condition.contains("||") && !met.is_empty() {
                continue;
            }
            unmet.extend(lost.into_iter().map(str::to_owned));
        }
        unmet.dedup();
        unmet
    }
}

/// Whether a term is a symbol or its negation: no comparison, none of the constants `y`, `m`, `n`.
fn is_symbol(term: &str) -> bool {
    let symbol = term.trim_start_matches('!').trim();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !symbol.is_empty() && symbol.bytes().all(plain) && !["y", "m", "n"].contains(&symbol)
}
