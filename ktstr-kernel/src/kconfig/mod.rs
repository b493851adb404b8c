//! Kernel configurations: merging fragments, and checking what came of them.

mod entries;
mod extra;

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write};
use std::path::Path;

use self::entries::Entry;
pub use self::extra::{ExtraKconfig, ExtraKconfigError};

/// An option that did not get the value ktstr needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedOption {
    /// Its name, with `CONFIG_`.
    pub name: String,
    /// The value it should have; `n` for unset.
    pub wanted: String,
    /// The value it has; `n` for unset.
    pub got: String,
    /// Why that may be, or what to do, in one clause.
    pub hint: String,
}

impl fmt::Display for DroppedOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            wanted,
            got,
            hint,
        } = self;
        write!(f, "{name}={wanted} (it is {got}: {hint})")
    }
}

/// Without these no test runs, whatever the kernel's version: schedulers, what reads them, the machine.
///
/// Others may come and go with versions (`SCHED_DEBUG` went with 6.15): where a kernel has no such
/// option at all, its user is told, and goes on.
const CRITICAL: &[&str] = &[
    "CONFIG_64BIT",
    "CONFIG_SMP",
    "CONFIG_SCHED_CLASS_EXT",
    "CONFIG_BPF_SYSCALL",
    "CONFIG_BPF_JIT",
    "CONFIG_DEBUG_INFO_BTF",
    "CONFIG_CGROUPS",
    "CONFIG_CGROUP_SCHED",
    "CONFIG_CPUSETS",
    "CONFIG_FTRACE",
    "CONFIG_FUNCTION_TRACER",
    "CONFIG_KPROBES",
    "CONFIG_KPROBE_EVENTS",
    "CONFIG_BPF_EVENTS",
    "CONFIG_TTY",
    "CONFIG_SERIAL_8250_CONSOLE",
    "CONFIG_BLK_DEV_INITRD",
    "CONFIG_PROC_FS",
    "CONFIG_SYSFS",
    "CONFIG_VIRTIO_PCI",
    "CONFIG_VIRTIO_MMIO",
    "CONFIG_VIRTIO_CONSOLE",
];

/// What to say of options whose Kconfig entry does not tell it all.
const HINTS: &[(&str, &str)] = &[
    (
        "CONFIG_SCHED_CLASS_EXT",
        "sched_ext came with Linux 6.12, use that or later",
    ),
    (
        "CONFIG_DEBUG_INFO_BTF",
        "install a pahole that is new enough for this kernel",
    ),
];

/// What a line of a configuration or fragment says: an option and its value, `n` for unset.
fn setting(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if let Some(rest) = line.strip_prefix("# ") {
        let name = rest.strip_suffix(" is not set")?;
        return is_name(name).then_some((name, "n"));
    }
    let (name, value) = line.split_once('=')?;
    is_name(name).then_some((name, value))
}

fn is_name(name: &str) -> bool {
    name.strip_prefix("CONFIG_").is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    })
}

fn settings(text: &str) -> HashMap<&str, &str> {
    text.lines().filter_map(setting).collect()
}

/// The options of `fragments` in their order, each once, with the value that was said last.
fn wanted<'f>(fragments: &[&'f str]) -> Vec<(&'f str, &'f str)> {
    let lines = fragments.iter().flat_map(|text| text.lines());
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    for (name, value) in lines.filter_map(setting) {
        match wanted.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => wanted.push((name, value)),
        }
    }
    wanted
}

/// `config` with the options of `fragments` in place of its own.
pub(crate) fn merge(config: &str, fragments: &[&str]) -> String {
    let wanted = wanted(fragments);
    let names: HashMap<&str, &str> = wanted.iter().copied().collect();
    let kept = config
        .lines()
        .filter(|line| setting(line).is_none_or(|(name, _)| !names.contains_key(name)));
    let mut merged = String::with_capacity(config.len() + 4096);
    for line in kept {
        merged.push_str(line);
        merged.push('\n');
    }
    for (name, value) in wanted {
        let _ = match value {
            "n" => writeln!(merged, "# {name} is not set"),
            _ => writeln!(merged, "{name}={value}"),
        };
    }
    merged
}

/// What became of the wanted options.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Options that must be there and are not.
    pub(crate) dropped: Vec<DroppedOption>,
    /// Options that this kernel does not have, and ktstr can do without.
    pub(crate) unknown: Vec<String>,
}

/// The options that no test runs without and that `extra` wants otherwise than `fragments`: with both values.
pub(crate) fn overridden<'f>(
    fragments: &[&'f str],
    extra: &'f str,
) -> Vec<(&'static str, &'f str, &'f str)> {
    let extra = settings(extra);
    let ours = wanted(fragments);
    let both = CRITICAL.iter().filter_map(|name| {
        let theirs = extra.get(name)?;
        let (_, ours) = ours.iter().find(|(known, _)| known == name)?;
        (ours != theirs).then_some((*name, *ours, *theirs))
    });
    both.collect()
}

/// Checks that `config` has what `fragments` want, and `extra` over them; the Kconfig files of `tree` tell why not.
///
/// What `extra` wants must all be there: who wrote it meant it. What `fragments` want off is left to the kernel where
/// another option needs it: it only makes the kernel larger.
pub(crate) fn check(config: &str, fragments: &[&str], extra: &str, tree: &Path) -> Verdict {
    let found = settings(config);
    let value = |name: &str| found.get(name).copied().unwrap_or("n");
    let meant: HashSet<&str> = settings(extra).into_keys().collect();
    let lost: Vec<(&str, &str)> = wanted(&[fragments, &[extra]].concat())
        .into_iter()
        .filter(|(name, wanted)| value(name) != *wanted)
        .filter(|(name, wanted)| *wanted != "n" || meant.contains(name))
        .collect();
    if lost.is_empty() {
        return Verdict::default();
    }
    let names: Vec<&str> = lost.iter().map(|(name, _)| *name).collect();
    let entries = entries::find(tree, &names);
    let mut verdict = Verdict::default();
    for (name, wanted) in lost {
        let entry = entries.get(name);
        if entry.is_none() && !CRITICAL.contains(&name) && !meant.contains(name) {
            verdict.unknown.push(name.to_owned());
            continue;
        }
        verdict.dropped.push(DroppedOption {
            name: name.to_owned(),
            wanted: wanted.to_owned(),
            got: value(name).to_owned(),
            hint: if wanted == "n" {
                "another option selects it, or nobody is asked for it".to_owned()
            } else {
                hint(name, entry, value)
            },
        });
    }
    verdict
}

fn hint<'v>(name: &str, entry: Option<&Entry>, value: impl Fn(&str) -> &'v str) -> String {
    let known = HINTS.iter().find(|(option, _)| *option == name);
    let known = known.map(|(_, hint)| *hint);
    let Some(entry) = entry else {
        let missing = "this kernel has no such option";
        return known.map_or(missing.to_owned(), |hint| format!("{missing}, {hint}"));
    };
    let unmet = entry.unmet(value);
    match (unmet.is_empty(), known) {
        (false, _) => format!("unmet: {}", unmet.join(", ")),
        (true, Some(hint)) => hint.to_owned(),
        (true, None) if entry.depends.is_empty() => {
            "another option decides it, see make menuconfig".to_owned()
        }
        (true, None) => format!("it depends on {}", entry.depends.join(" and ")),
    }
}

#[cfg(test)]
mod tests;
