//! Kconfig files, read just well enough to say why an option was dropped.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};

/// What Kconfig says of an option.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// The conditions of its first definition, and of the blocks and files around it.
    pub(super) depends: Vec<String>,
    /// The condition under which its value can be set; `None` where it never can.
    pub(super) asked_if: Option<Vec<String>>,
}

/// Bounds: kernels have some 1700 files, the largest of 100 KiB, which include each other eight deep.
const MAX_FILES: usize = 20_000;
const MAX_BYTES: u64 = 1 << 20;
const MAX_DEPTH: usize = 32;

/// The entries of `options` (with `CONFIG_`) in the Kconfig files of `tree`, from its top one on.
pub(super) fn find<'o>(tree: &Path, options: &[&'o str]) -> HashMap<&'o str, Entry> {
    let mut reader = Reader {
        tree,
        options,
        entries: HashMap::new(),
        files: 0,
        blocks: Vec::new(),
    };
    reader.file(Path::new("Kconfig"), 0);
    reader.entries
}

struct Reader<'s, 'o> {
    tree: &'s Path,
    options: &'s [&'o str],
    entries: HashMap<&'o str, Entry>,
    files: usize,
    /// The conditions of each `if`, `menu` and `choice` around the current line.
    blocks: Vec<Vec<String>>,
}

/// What a line such as `depends on` belongs to.
#[derive(Clone, Copy)]
enum Target<'o> {
    /// An entry nobody looks for, or nothing.
    Nothing,
    Option(&'o str),
    /// The innermost menu or choice.
    Block,
}

impl<'o> Reader<'_, 'o> {
    fn file(&mut self, path: &Path, depth: usize) {
        let inside = path.components().all(|c| matches!(c, Component::Normal(_)));
        if !inside || depth > MAX_DEPTH || self.files >= MAX_FILES {
            return;
        }
        self.files += 1;
        let mut bytes = Vec::new();
        let file = File::open(self.tree.join(path));
        let read = file.and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes));
        if read.is_ok() {
            let around = self.blocks.len();
            self.text(&String::from_utf8_lossy(&bytes), depth, around);
            self.blocks.truncate(around);
        }
    }

    fn text(&mut self, text: &str, depth: usize, around: usize) {
        let text = text.replace("\\\n", " ");
        let mut target = Target::Nothing;
        // How far the first line of a help text is indented: the text ends where a line is less so.
        let mut help: Option<Option<usize>> = None;
        for line in text.lines() {
            let indent = indent(line);
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            match help {
                Some(None) if indent > 0 => {
                    help = Some(Some(indent));
                    continue;
                }
                Some(Some(first)) if indent >= first => continue,
                _ => help = None,
            }
            let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let rest = rest.trim();
            match word {
                "config" | "menuconfig" => target = self.entry(rest),
                "if" => {
                    self.blocks.push(vec![rest.to_owned()]);
                    target = Target::Nothing;
                }
                "menu" | "choice" => {
                    self.blocks.push(Vec::new());
                    target = Target::Block;
                }
                "endif" | "endmenu" | "endchoice" => {
                    if self.blocks.len() > around {
                        self.blocks.pop();
                    }
                    target = Target::Nothing;
                }
                "source" => {
                    target = Target::Nothing;
                    let path = rest.trim_matches('"');
                    let path = path.replace("$(SRCARCH)", "x86").replace("$SRCARCH", "x86");
                    self.file(Path::new(&path), depth + 1);
                }
                "comment" | "mainmenu" => target = Target::Nothing,
                "help" | "---help---" => help = Some(None),
                "depends" => {
                    if let Some(condition) = rest.strip_prefix("on") {
                        self.depends(target, condition.trim());
                    }
                }
                "bool" | "tristate" | "int" | "hex" | "string" | "prompt" => {
                    if let (Target::Option(option), Some(condition)) = (target, prompt(rest))
                        && let Some(entry) = self.entries.get_mut(option)
                    {
                        let conditions = Some(condition.to_owned()).filter(|it| !it.is_empty());
                        entry.asked_if = Some(conditions.into_iter().collect());
                    }
                }
                _ => {}
            }
        }
    }

    /// Begins an entry, where it is looked for and is its first: a second definition is another's.
    fn entry(&mut self, name: &str) -> Target<'o> {
        let wanted = |option: &&&str| option.strip_prefix("CONFIG_") == Some(name);
        let Some(option) = self.options.iter().find(wanted).copied() else {
            return Target::Nothing;
        };
        if self.entries.contains_key(option) {
            return Target::Nothing;
        }
        let depends = self.blocks.concat();
        let asked_if = None;
        self.entries.insert(option, Entry { depends, asked_if });
        Target::Option(option)
    }

    fn depends(&mut self, target: Target<'_>, condition: &str) {
        let conditions = match target {
            Target::Nothing => None,
            Target::Option(option) => self.entries.get_mut(option).map(|it| &mut it.depends),
            Target::Block => self.blocks.last_mut(),
        };
        if let Some(conditions) = conditions {
            conditions.push(condition.to_owned());
        }
    }
}

/// How far a line is indented, in columns.
fn indent(line: &str) -> usize {
    let blanks = line.chars().take_while(|c| [' ', '\t'].contains(c));
    blanks.fold(0, |column, c| match c {
        '\t' => (column / 8 + 1) * 8,
        _ => column + 1,
    })
}

/// What follows a type: `None` without a prompt, else the condition under which it is shown, empty where there is none.
fn prompt(rest: &str) -> Option<&str> {
    let quote = rest.chars().next().filter(|c| ['"', '\''].contains(c))?;
    let (_, after) = rest[1..].rsplit_once(quote)?;
    Some(after.trim().strip_prefix("if ").unwrap_or_default().trim())
}

impl Entry {
    /// The single symbols in its conditions that do not have the value they should: `X`, or `!X`.
    pub(super) fn unmet<'v>(&self, value: impl Fn(&str) -> &'v str) -> Vec<String> {
        unmet(&self.depends, value)
    }

    /// Those of its dependencies that are modules, for which it can be no more than one itself.
    pub(super) fn modules<'v>(&self, value: impl Fn(&str) -> &'v str) -> Vec<String> {
        let conditions = self.depends.iter().filter(|text| !text.contains("||"));
        let terms = conditions.flat_map(|text| terms(text));
        let is_module = |term: &String| value(&format!("CONFIG_{term}")) == "m";
        terms.filter(is_module).collect()
    }

    /// Why its value cannot be set; `None` where it can.
    pub(super) fn not_asked<'v>(&self, value: impl Fn(&str) -> &'v str) -> Option<String> {
        match &self.asked_if {
            None => Some("other options alone decide it".to_owned()),
            Some(conditions) if unmet(conditions, value).is_empty() => None,
            Some(conditions) => Some(format!(
                "it can be set only if {}",
                conditions.join(" and ")
            )),
        }
    }
}

/// Of `A || B` both or none: that is not worked out further, nor are comparisons.
fn unmet<'v>(conditions: &[String], value: impl Fn(&str) -> &'v str) -> Vec<String> {
    let is_met = |term: &String| {
        let symbol = term.trim_start_matches('!').trim();
        let set = ["y", "m"].contains(&value(&format!("CONFIG_{symbol}")));
        set != term.starts_with('!')
    };
    let mut unmet: Vec<String> = Vec::new();
    for condition in conditions {
        let (met, lost): (Vec<String>, Vec<String>) = terms(condition).partition(is_met);
        if condition.contains("||") && !met.is_empty() {
            continue;
        }
        unmet.extend(lost);
    }
    let mut seen = std::collections::HashSet::new();
    unmet.retain(|term| seen.insert(term.clone()));
    unmet
}

/// The symbols of a condition and their negations.
fn terms(condition: &str) -> impl Iterator<Item = String> {
    let spaced = ["(", ")", "&&", "||"]
        .iter()
        .fold(condition.to_owned(), |text, mark| text.replace(mark, "\n"));
    let terms: Vec<String> = spaced.lines().map(|term| term.trim().to_owned()).collect();
    terms.into_iter().filter(|term| is_symbol(term))
}

/// Whether a term is a symbol or its negation: no comparison, none of the constants `y`, `m`, `n`.
fn is_symbol(term: &str) -> bool {
    let symbol = term.trim_start_matches('!').trim();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !symbol.is_empty() && symbol.bytes().all(plain) && !["y", "m", "n"].contains(&symbol)
}
