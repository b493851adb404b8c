//! Faults that the kernel under test reported of itself while a test ran.

use serde::{Deserialize, Serialize};

/// A line in which the kernel reports a fault of its own, such as `WARNING: CPU: 0 PID: 7 at …`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelWarning {
    /// The line, without its timestamp.
    pub line: String,
    /// Whether the test allows it (`allow_kernel_warnings`), or the kernel logged it before the test began.
    pub allowed: bool,
    /// Whether the kernel logged it before the scheduler and the body were started.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_boot: bool,
}

/// The kernel's taint flags, from `/proc/sys/kernel/tainted`, as letters.
///
/// ```
/// use ktstr_core::Taint;
///
/// let taint = Taint::between(1 << 12, 1 << 12 | 1 << 9);
/// assert_eq!((taint.before.as_str(), taint.added.as_str()), ("O", "W"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taint {
    /// Flags that were set before the scheduler and the body were started.
    pub before: String,
    /// Flags that were set while they ran.
    pub added: String,
}

/// Letters and meanings by bit: `Documentation/admin-guide/tainted-kernels.rst` of the kernel.
const FLAGS: &[(char, &str)] = &[
    ('P', "a proprietary module was loaded"),
    ('F', "a module was force loaded"),
    ('S', "a CPU is out of specification"),
    ('R', "a module was force unloaded"),
    ('M', "the processor reported a machine check"),
    ('B', "a bad page or an invalid memory access"),
    ('U', "user space asked for it"),
    ('D', "the kernel died: an oops or a BUG"),
    ('A', "an ACPI table was overridden"),
    ('W', "a warning"),
    ('C', "a staging driver was loaded"),
    ('I', "a workaround for a firmware bug"),
    ('O', "an out-of-tree module was loaded"),
    ('E', "an unsigned module was loaded"),
    ('L', "a soft lockup"),
    ('K', "the kernel was live patched"),
    ('X', "an auxiliary taint, of distributions"),
    ('T', "built with randomized structure layouts"),
    ('N', "an in-kernel test was run"),
    ('J', "fwctl's mutating debug interface was used"),
];

impl Taint {
    /// The difference of two values of `/proc/sys/kernel/tainted`.
    pub fn between(before: u64, after: u64) -> Self {
        Self {
            before: letters(before),
            added: letters(after & !before),
        }
    }

    /// A sentence for each bit that is set: `W (a warning)`.
    pub fn meanings(tainted: u64) -> Vec<String> {
        let meaning = |bit: usize| match FLAGS.get(bit) {
            Some((letter, meaning)) => format!("{letter} ({meaning})"),
            None => format!("bit {bit}"),
        };
        bits(tainted).map(meaning).collect()
    }
}

/// The letters of a value of `/proc/sys/kernel/tainted`; bits that have none appear as numbers.
fn letters(tainted: u64) -> String {
    let letter = |bit: usize| match FLAGS.get(bit) {
        Some((letter, _)) => letter.to_string(),
        None => format!("({bit})"),
    };
    bits(tainted).map(letter).collect()
}

fn bits(tainted: u64) -> impl Iterator<Item = usize> {
    (0..64).filter(move |bit| tainted & (1 << bit) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_have_the_kernels_letters() {
        // The second is the example of the kernel's documentation.
        assert_eq!(letters(0), "");
        assert_eq!(letters(4609), "PWO");
        assert_eq!(letters(1 << 14 | 1 << 7 | 1 << 40), "DL(40)");
        assert_eq!(Taint::meanings(1 << 14), ["L (a soft lockup)"]);
        assert_eq!(
            Taint::between(512, 512),
            Taint {
                before: "W".to_owned(),
                added: String::new()
            }
        );
    }
}
