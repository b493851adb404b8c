//! What the kernel's Makefiles assign, as far as simple conditions and functions go.

use std::collections::{HashMap, HashSet};

/// Bounds for what a hostile Makefile may make of its variables.
pub(super) const MAX_BYTES: usize = 1 << 20;
const MAX_DEPTH: usize = 16;

/// What a Makefile assigns.
pub(super) struct Makefile<'a> {
    options: &'a HashMap<&'a str, &'a str>,
    variables: HashMap<String, String>,
}

impl<'a> Makefile<'a> {
    pub(super) fn read(text: &str, options: &'a HashMap<&'a str, &'a str>) -> Self {
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
        if adds && old.len() + value.len() < MAX_BYTES {
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
            if depth < MAX_DEPTH && result.len() < MAX_BYTES {
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

    pub(super) fn words(&self, name: &str) -> impl Iterator<Item = &str> {
        self.variables
            .get(name)
            .into_iter()
            .flat_map(|it| it.split_whitespace())
    }

    /// The objects that `word` stands for: itself, and what it is linked of.
    pub(super) fn objects(&self, word: &str, all: &mut HashSet<String>, depth: usize) {
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
