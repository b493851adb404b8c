//! Kernel configurations: merges fragments, and checks the result.

mod entries;
mod extra;
mod usable;

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write};
use std::path::Path;

use self::entries::Entry;
pub use self::extra::{ExtraKconfig, ExtraKconfigError};
pub(crate) use self::usable::unusable;
pub use self::usable::{OptionFault, UnusableOption};

/// An option that did not get the value that was asked for.
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
        match got.as_str() {
            "n" => write!(f, "{name}={wanted} was dropped by olddefconfig: {hint}"),
            got if got == wanted => write!(f, "{name}={wanted}: {hint}"),
            got => write!(f, "{name}={wanted} became {got} by olddefconfig: {hint}"),
        }
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

/// Sizes that may be larger than ktstr's fragments ask for.
const AT_LEAST: &[&str] = &["CONFIG_NR_CPUS"];

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

/// The value that `config` has for an option, `n` for one that it turns off.
pub(crate) fn value<'c>(config: &'c str, option: &str) -> Option<&'c str> {
    settings(config).get(option).copied()
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

/// Whether `found` is what ktstr's fragments want with `name=wanted`: a machine with more CPUs than a test declares does
/// no harm.
fn suffices(name: &str, wanted: &str, found: &str) -> bool {
    let number = |text: &str| text.parse::<u64>().ok();
    let more = AT_LEAST.contains(&name) && number(found) >= number(wanted);
    found == wanted || (more && number(found).is_some())
}

/// `config` with the options of `fragments` in place of its own, and those of `extra` in place of both.
pub(crate) fn merge(config: &str, fragments: &[&str], extra: &str) -> String {
    let found = settings(config);
    let meant = settings(extra);
    let mut wanted = wanted(&[fragments, &[extra]].concat());
    for (name, value) in &mut wanted {
        if let Some(own) = found.get(name)
            && !meant.contains_key(name)
            && suffices(name, value, own)
        {
            *value = own;
        }
    }
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

/// Checks that `config` has what `fragments` want, and `extra` over them; the Kconfig files of `tree`, which is of Linux
/// `version`, tell why not.
///
/// What `extra` wants must all be there: who wrote it meant it. What `fragments` want off is left to the kernel where
/// another option needs it: it only makes the kernel larger. A module that was asked for may be built in, and must be:
/// modules are not built.
pub(crate) fn check(
    config: &str,
    fragments: &[&str],
    extra: &str,
    tree: &Path,
    version: &str,
) -> Verdict {
    let found = settings(config);
    let value = |name: &str| found.get(name).copied().unwrap_or("n");
    let meant: HashSet<&str> = settings(extra).into_keys().collect();
    let is_lost = |name: &str, wanted: &str| match (wanted, value(name)) {
        ("m", "y") => false,
        ("m", "m") => meant.contains(name),
        ("n", found) => found != "n" && meant.contains(name),
        (wanted, found) if meant.contains(name) => found != wanted,
        (wanted, found) => !suffices(name, wanted, found),
    };
    let lost: Vec<(&str, &str)> = wanted(&[fragments, &[extra]].concat())
        .into_iter()
        .filter(|(name, wanted)| is_lost(name, wanted))
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
        let got = value(name);
        verdict.dropped.push(DroppedOption {
            name: name.to_owned(),
            wanted: wanted.to_owned(),
            got: got.to_owned(),
            hint: match (wanted, got) {
                ("n", _) => "another option selects it, or it cannot be set".to_owned(),
                ("m", "m") => format!("modules are not built; write {name}=y"),
                _ => hint(name, wanted, entry, value, version),
            },
        });
    }
    verdict
}

fn hint<'v>(
    name: &str,
    wanted: &str,
    entry: Option<&Entry>,
    value: impl Fn(&str) -> &'v str,
    version: &str,
) -> String {
    let known = HINTS.iter().find(|(option, _)| *option == name);
    let known = known.map(|(_, hint)| *hint);
    let Some(entry) = entry else {
        let missing = format!("Linux {version} has no such option");
        return known.map_or(missing.clone(), |hint| format!("{missing}; {hint}"));
    };
    let unmet = entry.unmet(&value);
    if !unmet.is_empty() {
        return format!("unmet: {}", unmet.join(", "));
    }
    let modules = entry.modules(&value);
    if wanted == "y" && !modules.is_empty() {
        let names = modules.join(" and ");
        return format!("it can only be a module while {names} is one; modules are not built");
    }
    if let Some(why) = entry.not_asked(&value) {
        return why;
    }
    match known {
        Some(hint) => hint.to_owned(),
        None if entry.depends.is_empty() => {
            "another option decides it, see make menuconfig".to_owned()
        }
        None => format!("it depends on {}", entry.depends.join(" and ")),
    }
}

#[cfg(test)]
mod tests;
