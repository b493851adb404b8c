//! Writes what a test says into its scheduler's maps, at its times.

mod btf;
mod maps;

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use crate::map_write::{MapValue, MapWrite};
use btf::{Holds, Place, Types, listed};
use maps::{Map, MapKind};

/// Longest name of a map that the kernel keeps, in bytes.
const NAME_BYTES: usize = 15;

/// The writes of a test that are still to come.
#[derive(Debug, Default)]
pub(super) struct MapWrites {
    /// The next one is the last.
    left: Vec<MapWrite>,
    /// Maps that are not the scheduler's.
    others: BTreeSet<u32>,
}

impl MapWrites {
    /// The writes of a test. To be called before its scheduler is started: the maps that come then are the scheduler's.
    pub(super) fn new(writes: &[MapWrite]) -> Self {
        if writes.is_empty() {
            return Self::default();
        }
        let mut left = writes.to_vec();
        // In the order of the declaration where several are due at one time.
        left.sort_by_key(MapWrite::after);
        left.reverse();
        Self {
            left,
            others: maps::ids().into_iter().collect(),
        }
    }

    /// How long after the start of the body the next write is due.
    pub(super) fn due_at(&self) -> Option<Duration> {
        self.left.last().map(MapWrite::after)
    }

    /// Writes what is due so long after the start of the body.
    pub(super) fn write_due(&mut self, elapsed: Duration) -> Result<(), String> {
        while let Some(write) = self.left.pop_if(|write| write.after() <= elapsed) {
            self.write(&write)
                .map_err(|why| format!("{write}, {} ms into the test: {why}", write.after_ms))?;
        }
        Ok(())
    }

    /// What was never written, as the body ended before; in words.
    pub(super) fn left(&self) -> Option<String> {
        let first = self.left.last()?;
        let more = match self.left.len() - 1 {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        Some(format!(
            "{first} was due {} ms into the test, which ended before that{more}",
            first.after_ms
        ))
    }

    fn write(&self, write: &MapWrite) -> Result<(), String> {
        let maps = self.of_scheduler();
        let found = maps.iter().find(|map| map.is_called(write.map));
        let found = found.ok_or_else(|| {
            let names = listed(maps.iter().map(SchedulerMap::told));
            format!("the scheduler has no map `{}`; it has {names}", write.map)
        })?;
        found.write(write)
    }

    fn of_scheduler(&self) -> Vec<SchedulerMap> {
        let ids = maps::ids().into_iter();
        ids.filter(|id| !self.others.contains(id))
            .filter_map(|id| Map::open(id).ok())
            .map(SchedulerMap::new)
            .collect()
    }
}

/// A map of the scheduler, with the types of its values.
#[derive(Debug)]
struct SchedulerMap {
    map: Map,
    name: String,
    /// The section whose variables it holds, where it does.
    section: Option<String>,
    types: Option<Types>,
}

impl SchedulerMap {
    fn new(map: Map) -> Self {
        let types = map.value_type().and_then(|_| map.btf().ok());
        let types = types.and_then(|bytes| Types::parse(&bytes));
        let named = types.as_ref().zip(map.value_type());
        let section = named.map(|(types, id)| types.name(id));
        Self {
            name: map.name(),
            section: section.filter(|name| name.starts_with('.')),
            map,
            types,
        }
    }

    /// What it is called: libbpf puts a part of the object's name before `.bss` and the like.
    fn told(&self) -> String {
        self.section.clone().unwrap_or_else(|| self.name.clone())
    }

    fn is_called(&self, wanted: &str) -> bool {
        // The kernel cuts longer names.
        let cut = self.name.len() == NAME_BYTES && wanted.starts_with(&self.name);
        self.section.as_deref() == Some(wanted) || self.name == wanted || cut
    }

    fn write(&self, write: &MapWrite) -> Result<(), String> {
        let name = self.told();
        let kind = self.map.kind().map_err(|why| format!("`{name}` {why}"))?;
        let types = self.types.as_ref().zip(self.map.value_type());
        let (types, id) = types.ok_or_else(|| {
            format!("`{name}` has no type information (BTF); compile the scheduler with -g")
        })?;
        let place = types
            .find(id, write.field)
            .map_err(|why| format!("in `{name}`, {why}"))?;
        let bytes = encoded(write.value, &place).map_err(|why| format!("in `{name}`, {why}"))?;
        let (key, index) = self.key(kind, write.key)?;
        self.map
            .write(&key, index, place.offset, &bytes)
            .map_err(|error| refused(&name, &error))
    }

    /// The bytes of a key, and its number as an index.
    fn key(&self, kind: MapKind, key: u64) -> Result<(Vec<u8>, usize), String> {
        let (name, entries) = (self.told(), self.map.max_entries());
        if kind == MapKind::Array && key >= entries {
            let last = entries.saturating_sub(1);
            return Err(format!("`{name}` has the keys 0 to {last}, and not {key}"));
        }
        let size = self.map.key_size();
        let bytes = match size {
            4 => u32::try_from(key)
                .ok()
                .map(|key| key.to_ne_bytes().to_vec()),
            8 => Some(key.to_ne_bytes().to_vec()),
            _ => None,
        };
        let bytes = bytes.ok_or_else(|| {
            format!("`{name}` has keys of {size} bytes; numbers of 4 and 8 bytes can be given")
        })?;
        Ok((bytes, usize::try_from(key).unwrap_or(usize::MAX)))
    }
}

/// What the kernel said, and what to do.
fn refused(name: &str, error: &io::Error) -> String {
    let hint = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "; it is constant once it is loaded, as `.rodata` is: put the variable into `.data` or `.bss`"
        }
        Some(libc::E2BIG) => "; it is full",
        _ => "",
    };
    format!("the kernel refuses it in `{name}`: {error}{hint}")
}

/// A value as the bytes of its place.
fn encoded(value: MapValue, place: &Place) -> Result<Vec<u8>, String> {
    let size = place.size;
    match (value, &place.holds) {
        (MapValue::Number(number), Holds::Bool) if !(0..=1).contains(&number) => {
            Err(format!("{number} is no bool; use 0 or 1"))
        }
        (MapValue::Number(number), Holds::Number { .. } | Holds::Bool) => {
            let bits = 8 * size as u32;
            let (least, most) = match place.holds {
                Holds::Number { signed: true } => {
                    (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1)
                }
                _ => (0, (1_i128 << bits) - 1),
            };
            if !(least..=most).contains(&number) {
                return Err(format!(
                    "the field has {size} bytes, which hold {least} to {most}, and not {number}"
                ));
            }
            // The machine is little-endian: the low bytes come first.
            Ok(number.to_le_bytes()[..size].to_vec())
        }
        (MapValue::Text(text), Holds::Text) if text.len() < size => {
            let mut bytes = text.as_bytes().to_vec();
            bytes.resize(size, 0);
            Ok(bytes)
        }
        (MapValue::Text(text), Holds::Text) => Err(format!(
            "the field holds texts of {} bytes, and {text:?} has {}",
            size - 1,
            text.len()
        )),
        (MapValue::Text(_), _) => Err("the field is a number, not an array of char".to_owned()),
        (MapValue::Number(_), Holds::Text) => {
            Err("the field is an array of char; give it a text, or name an element".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(size: usize, holds: Holds) -> Place {
        Place {
            offset: 0,
            size,
            holds,
        }
    }

    #[test]
    fn values_fit_or_are_refused_with_what_fits() {
        let signed = || place(2, Holds::Number { signed: true });
        let wide = place(8, Holds::Number { signed: false });
        let number = MapValue::Number;
        assert_eq!(encoded(number(-2), &signed()), Ok(vec![0xfe, 0xff]));
        assert_eq!(encoded(number(u64::MAX.into()), &wide), Ok(vec![0xff; 8]));
        assert_eq!(encoded(number(1), &place(1, Holds::Bool)), Ok(vec![1]));
        let text = place(4, Holds::Text);
        assert_eq!(encoded(MapValue::Text("ab"), &text), Ok(b"ab\0\0".to_vec()));
        for (value, place, told) in [
            (
                number(40_000),
                signed(),
                "hold -32768 to 32767, and not 40000",
            ),
            (
                number(-1),
                wide,
                "hold 0 to 18446744073709551615, and not -1",
            ),
            (number(2), self::place(1, Holds::Bool), "2 is no bool"),
            (MapValue::Text("abcd"), text.clone(), "texts of 3 bytes"),
            (MapValue::Text("a"), signed(), "is a number"),
            (number(1), text, "give it a text"),
        ] {
            let error = encoded(value, &place).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn writes_are_due_in_order_and_what_is_left_is_told() {
        let write = |field, ms| MapWrite::number("m", field, 1).after_ms(ms);
        let writes = [write("c", 20), write("a", 10), write("b", 10)];
        let mut writes = MapWrites::new(&writes);
        let order: Vec<&str> = writes.left.iter().rev().map(|it| it.field).collect();
        // The reversed sort keeps the order of the declaration.
        assert_eq!(order, ["a", "b", "c"]);
        assert_eq!(writes.due_at(), Some(Duration::from_millis(10)));
        assert_eq!(writes.write_due(Duration::from_millis(9)), Ok(()));
        let left = writes.left().unwrap();
        assert_eq!(
            left,
            "m a = 1 was due 10 ms into the test, which ended before that, and 2 more"
        );
        assert_eq!(MapWrites::default().left(), None);
    }
}
