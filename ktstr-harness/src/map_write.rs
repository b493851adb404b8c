//! Values that a test writes into its scheduler's BPF maps while it runs.
//!
//! A test names them by its key `bpf_map_write`. The guest's init writes them, above the scheduler's tasks: before the body
//! starts, or some time after that.

use std::fmt;
use std::time::Duration;

/// A value for a field of a map's value, named as BPF C names it.
///
/// The map is the one of that name among those that the scheduler has loaded. A section of variables is a map as well:
/// `.data`, `.bss` and such as `.data.live`; its fields are the variables. What is not there, is no number, or is too small
/// for the value is an error of the test that names what there is.
///
/// The kernel keeps sections of constants (`.rodata`) as they are loaded, and refuses to write into them.
///
/// ```
/// use ktstr_harness::prelude::*;
///
/// declare_scheduler!(MINE, { name = "mine", binary = "scx_mine" });
///
/// #[ktstr_test(
///     scheduler = MINE,
///     bpf_map_write = [
///         MapWrite::number(".bss", "slice_ns", 1_000_000),
///         MapWrite::number("limits", "depth", 4).key(2).after_ms(1500),
///     ],
/// )]
/// fn slices_shrink(ctx: &Ctx) -> Result<AssertResult> {
///     scenarios::steady(ctx)
/// }
/// # fn main() {}
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapWrite {
    /// Name of the map, or of the section of variables.
    pub map: &'static str,
    /// The field: names parted by dots, elements of arrays in brackets, such as `table[3].depth`. In a map whose value is a
    /// number it is empty.
    pub field: &'static str,
    /// What is written.
    pub value: MapValue,
    /// The element of an array or a hash map.
    pub key: u64,
    /// When it is written, from the start of the body: at 0 before that.
    pub after_ms: u32,
}

/// A value that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapValue {
    /// Into an integer, a `bool` or an enumeration.
    Number(i128),
    /// Into an array of `char`, whose rest is filled with zeroes.
    Text(&'static str),
}

impl fmt::Display for MapValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

impl MapWrite {
    /// A number for a field, written before the body starts.
    pub const fn number(map: &'static str, field: &'static str, value: i128) -> Self {
        Self::new(map, field, MapValue::Number(value))
    }

    /// A text for an array of `char`, written before the body starts.
    pub const fn text(map: &'static str, field: &'static str, text: &'static str) -> Self {
        Self::new(map, field, MapValue::Text(text))
    }

    const fn new(map: &'static str, field: &'static str, value: MapValue) -> Self {
        assert!(!map.is_empty(), "the name of the map is empty");
        Self {
            map,
            field,
            value,
            key: 0,
            after_ms: 0,
        }
    }

    /// The element of an array map or a hash map; 0 where nothing is said.
    #[must_use]
    pub const fn key(mut self, key: u64) -> Self {
        self.key = key;
        self
    }

    /// Written so many milliseconds after the body has started.
    #[must_use]
    pub const fn after_ms(mut self, ms: u32) -> Self {
        self.after_ms = ms;
        self
    }

    /// When it is written, from the start of the body.
    pub(crate) fn after(&self) -> Duration {
        Duration::from_millis(u64::from(self.after_ms))
    }
}

impl fmt::Display for MapWrite {
    /// As messages name it: `.bss slice_ns = 1000000`, `limits[2] depth = 4`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.map)?;
        if self.key != 0 {
            write!(f, "[{}]", self.key)?;
        }
        if !self.field.is_empty() {
            write!(f, " {}", self.field)?;
        }
        write!(f, " = {}", self.value)
    }
}
