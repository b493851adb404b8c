//! The keys of `#[ktstr_test(...)]`; those of checks come from the table of checks.

use crate::checks;
use crate::key::{Integer, Key, Kind, Part};

impl Key {
    /// Every key, in the order in which messages list them.
    pub(crate) fn all() -> impl Iterator<Item = &'static Self> + Clone {
        [OF_MACHINE, checks::KEYS, OF_CASE].into_iter().flatten()
    }

    /// The key called `name`.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        Self::all().find(|key| key.name == name)
    }

    /// The part and the default of an integer key that has one.
    pub(crate) fn default_of(name: &str) -> (Part, u64) {
        match Self::find(name).map(|key| (key.part, key.kind)) {
            Some((
                part,
                Kind::Integer(Integer {
                    default: Some(default),
                    ..
                }),
            )) => (part, default),
            _ => unreachable!("`{name}` has no default"),
        }
    }
}

/// The keys of machine and variants. Their defaults are those of `TestCase::new`.
const OF_MACHINE: &[Key] = &[
    Key::topology("numa_nodes", Kind::count(1)),
    Key::topology("llcs", Kind::count(1)),
    Key::topology("cores", Kind::count(2)),
    Key::topology("threads", Kind::count(1)),
    Key::constraint("min_llcs", Kind::bound(1)),
    Key::constraint("max_llcs", Kind::bound(12)),
    Key::constraint("min_numa_nodes", Kind::bound(1)),
    Key::constraint("max_numa_nodes", Kind::bound(1)),
    Key::constraint("min_cpus", Kind::bound(1)),
    Key::constraint("max_cpus", Kind::bound(192)),
    Key::constraint("requires_smt", Kind::Flag),
];

/// The keys behind those of the checks.
const OF_CASE: &[Key] = &[
    Key::case("memory_mib", Kind::COUNT),
    Key::case("duration_s", Kind::COUNT),
    Key::case("expect_err", Kind::Flag),
    Key::case("allow_inconclusive", Kind::Flag),
    Key::case("allow_kernel_warnings", Kind::Texts),
    Key::case("allow_restarts", Kind::Flag),
    Key::case("auto_repro", Kind::Flag),
    Key::case("kaslr", Kind::Flag),
    Key::case("host_only", Kind::Flag),
    Key::case("ignore", Kind::Flag),
    Key::case("extra_include_files", Kind::Texts),
    Key::case("scheduler", Kind::Scheduler),
    Key::case("extra_sched_args", Kind::Texts),
    Key::case("performance_mode", Kind::Flag),
    Key::case("no_perf_mode", Kind::Flag),
    Key::optional("cpu_budget", Kind::COUNT),
    Key::optional("config", Kind::Content),
    Key::optional("watchdog_timeout_s", Kind::COUNT),
    Key::optional("expect_scx_bpf_error_contains", Kind::Text),
    Key::optional("payload", Kind::Payload),
    Key::case("workloads", Kind::Payloads),
    Key::case("bpf_map_write", Kind::MapWrites),
    Key::optional("post_vm", Kind::Function),
    Key::optional("cleanup_budget_ms", Kind::COUNT),
];

/// The key that was probably meant by `word`.
pub(crate) fn nearest(word: &str) -> Option<&'static str> {
    nearest_of(Key::all().map(|key| key.name), word)
}

/// The one of `names` that was probably meant by `word`.
///
/// A slip of the fingers first; then a word that is part of a name, as `smt` is of `requires_smt`.
pub(crate) fn nearest_of(
    mut names: impl Iterator<Item = &'static str> + Clone,
    word: &str,
) -> Option<&'static str> {
    names
        .clone()
        .map(|name| (edits(word, name), name))
        .filter(|(edits, name)| *edits <= (word.len().max(name.len()) / 3).max(1))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
        .or_else(|| names.find(|name| word.len() >= 3 && name.contains(word)))
}

/// Letters to insert, remove, replace or swap with their neighbour to get from `a` to `b`.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // `table[i][j]`: from the first `i` letters of `a` to the first `j` letters of `b`.
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let edits = replaced.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    edits.min(table[i - 2][j - 2] + 1)
                } else {
                    edits
                }
            };
        }
    }
    table[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = Key::all().map(|key| key.name).collect();
        assert_eq!(names.len(), Key::all().count());
    }

    #[test]
    fn counts_edits() {
        assert_eq!(edits("", "llcs"), 4);
        assert_eq!(edits("llcs", "llcs"), 0);
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("lcls", "llcs"), 1);
    }

    #[test]
    fn suggests_what_is_near() {
        assert_eq!(nearest("llc"), Some("llcs"));
        assert_eq!(nearest("memory_mb"), Some("memory_mib"));
        assert_eq!(nearest("smt"), Some("requires_smt"));
        assert_eq!(nearest("duration"), Some("duration_s"));
        assert_eq!(nearest("colour"), None);
        assert_eq!(nearest("x"), None);
    }
}
