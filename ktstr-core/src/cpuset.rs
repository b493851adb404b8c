//! Sets of CPUs and the kernel's list notation for them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A set of CPU numbers, written the way the kernel writes it: `0-3,8`.
///
/// ```
/// use ktstr_core::CpuSet;
///
/// let set: CpuSet = "0-3,8".parse()?;
/// assert_eq!(set.len(), 5);
/// assert_eq!(set.to_string(), "0-3,8");
/// # Ok::<(), ktstr_core::ParseCpuSetError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CpuSet(BTreeSet<u32>);

/// A string that is not a CPU list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a CPU list such as 0-3,8: {why}")]
pub struct ParseCpuSetError {
    text: String,
    why: &'static str,
}

impl CpuSet {
    /// Largest CPU number that parsing accepts; the kernel's own limit is `NR_CPUS` <= 8192.
    pub const MAX_CPU: u32 = 8191;

    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeSet::new())
    }

    /// How many CPUs are in the set.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the set has no CPU.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `cpu` is in the set.
    pub fn contains(&self, cpu: u32) -> bool {
        self.0.contains(&cpu)
    }

    /// Adds `cpu`; returns false if the set already has it.
    pub fn insert(&mut self, cpu: u32) -> bool {
        self.0.insert(cpu)
    }

    /// The CPUs in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }

    /// The lowest CPU.
    pub fn first(&self) -> Option<u32> {
        self.0.first().copied()
    }

    /// Whether every CPU of this set is in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// Whether no CPU is in both sets.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.0.is_disjoint(&other.0)
    }

    /// CPUs in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self(&self.0 | &other.0)
    }

    /// CPUs in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(&self.0 & &other.0)
    }

    /// CPUs of this set that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        Self(&self.0 - &other.0)
    }
}

impl FromIterator<u32> for CpuSet {
    fn from_iter<I: IntoIterator<Item = u32>>(cpus: I) -> Self {
        Self(cpus.into_iter().collect())
    }
}

impl IntoIterator for CpuSet {
    type Item = u32;
    type IntoIter = std::collections::btree_set::IntoIter<u32>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let mut cpus = self.iter().peekable();
        while let Some(first) = cpus.next() {
            let mut last = first;
            while cpus.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            parts.push(if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            });
        }
        f.pad(&parts.join(","))
    }
}

impl FromStr for CpuSet {
    type Err = ParseCpuSetError;

    /// Parses the kernel's list notation; an empty string, or a lone newline, is the empty set.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |why| ParseCpuSetError {
            text: text.to_owned(),
            why,
        };
        let number = |digits: &str| -> Result<u32, Self::Err> {
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(error("expected a number"));
            }
            match digits.parse() {
                Ok(cpu) if cpu <= Self::MAX_CPU => Ok(cpu),
                _ => Err(error("the CPU number is too large")),
            }
        };
        let mut set = BTreeSet::new();
        let list = text.trim();
        if list.is_empty() {
            return Ok(Self(set));
        }
        for part in list.split(',') {
            let (first, last) = match part.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(part)?, number(part)?),
            };
            if first > last {
                return Err(error("a range runs backwards"));
            }
            set.extend(first..=last);
        }
        Ok(Self(set))
    }
}

impl From<CpuSet> for String {
    fn from(set: CpuSet) -> Self {
        set.to_string()
    }
}

impl TryFrom<String> for CpuSet {
    type Error = ParseCpuSetError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_the_kernels_notation() {
        assert_eq!(
            "0-2,5\n".parse::<CpuSet>().unwrap(),
            CpuSet::from_iter([0, 1, 2, 5])
        );
        assert!("\n".parse::<CpuSet>().unwrap().is_empty());
        for bad in [
            "a",
            "1-",
            "-1",
            "3-1",
            "1,,2",
            "+1",
            "0-99999",
            "99999999999",
        ] {
            assert!(bad.parse::<CpuSet>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(cpus in btree_set(0..600u32, 0..40)) {
            let set = CpuSet(cpus);
            prop_assert_eq!(set.to_string().parse::<CpuSet>().unwrap(), set);
        }

        #[test]
        fn any_text_is_taken_or_refused(text in "[0-9,\\- x]{0,24}") {
            let _ = text.parse::<CpuSet>();
        }

        #[test]
        fn algebra_holds(a in btree_set(0..64u32, 0..32), b in btree_set(0..64u32, 0..32)) {
            let (a, b) = (CpuSet(a), CpuSet(b));
            prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a.clone());
            prop_assert!(a.difference(&b).is_disjoint(&b));
            prop_assert!(a.intersection(&b).is_subset(&a.union(&b)));
        }
    }
}
