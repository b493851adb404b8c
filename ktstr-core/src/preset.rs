//! The named topologies of the gauntlet.

use crate::Topology;

/// A named topology that every test can be run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// Name as it appears in test names, such as `8cpu-2llc-smt`.
    pub name: &'static str,
    /// The shape it stands for.
    pub topology: Topology,
}

macro_rules! presets {
    ($($name:literal $n:literal $l:literal $c:literal $t:literal;)*) => {
        &[$(Preset { name: $name, topology: Topology::constant($n, $l, $c, $t) }),*]
    };
}

impl Preset {
    /// Every preset, in the order the gauntlet lists them.
    pub const ALL: &'static [Self] = presets! {
        "4cpu-1llc-nosmt" 1 1 4 1;
        "4cpu-2llc-nosmt" 1 2 2 1;
        "9cpu-3llc-nosmt" 1 3 3 1;
        "15cpu-5llc-nosmt" 1 5 3 1;
        "14cpu-7llc-nosmt" 1 7 2 1;
        "8cpu-2llc-smt" 1 2 2 2;
        "12cpu-3llc-smt" 1 3 2 2;
        "32cpu-4llc-smt" 1 4 4 2;
        "64cpu-8llc-smt" 1 8 4 2;
        "128cpu-4llc-smt" 1 4 16 2;
        "128cpu-8llc-smt" 1 8 8 2;
        "240cpu-15llc-smt" 1 15 8 2;
        "252cpu-14llc-smt" 1 14 9 2;
        "32cpu-4llc-nosmt" 1 4 8 1;
        "64cpu-8llc-nosmt" 1 8 8 1;
        "128cpu-4llc-nosmt" 1 4 32 1;
        "128cpu-8llc-nosmt" 1 8 16 1;
        "240cpu-15llc-nosmt" 1 15 16 1;
        "252cpu-14llc-nosmt" 1 14 18 1;
        "2numa-32cpu-2llc-smt" 2 2 8 2;
        "2numa-16cpu-4llc-nosmt" 2 4 4 1;
        "2numa-128cpu-8llc-smt" 2 8 8 2;
        "2numa-128cpu-8llc-nosmt" 2 8 16 1;
        "4numa-32cpu-8llc-nosmt" 4 8 4 1;
        "4numa-192cpu-12llc-smt" 4 12 8 2;
    };

    /// [`Preset::by_name`] for constants: an unknown name is a compile error.
    ///
    /// # Panics
    /// If there is no preset of that name.
    #[must_use]
    pub const fn constant(name: &str) -> Self {
        let mut at = 0;
        while at < Self::ALL.len() {
            if is_same(Self::ALL[at].name, name) {
                return Self::ALL[at];
            }
            at += 1;
        }
        panic!("no preset is called so; `Preset::ALL` has them, such as \"8cpu-2llc-smt\"")
    }

    /// The preset called `name`.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|preset| preset.name == name).copied()
    }
}

/// `==` of strings is not const yet.
const fn is_same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_truth() {
        assert_eq!(Preset::ALL.len(), 25);
        for Preset { name, topology } in Preset::ALL {
            let smt = if topology.has_smt() { "smt" } else { "nosmt" };
            let mut spelled = format!("{}cpu-{}llc-{smt}", topology.cpus(), topology.llcs());
            if topology.numa_nodes() > 1 {
                spelled = format!("{}numa-{spelled}", topology.numa_nodes());
            }
            assert_eq!(*name, spelled);
            assert_eq!(Preset::by_name(name).unwrap().topology, *topology);
            assert_eq!(Preset::constant(name).topology, *topology);
        }
        assert_eq!(Preset::by_name("3cpu"), None);
    }
}
