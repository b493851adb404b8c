//! Type information of a scheduler's maps, as `Documentation/bpf/btf.rst` of the kernel lays it out.

/// The types of a BPF object.
#[derive(Debug)]
pub(super) struct Types {
    strings: Vec<u8>,
    /// By number, from 1.
    types: Vec<Type>,
}

/// A type: the head that all have, and what follows it.
#[derive(Debug)]
struct Type {
    name: u32,
    kind: Kind,
    /// Members have sizes of bit fields in their offsets.
    has_bit_fields: bool,
    /// Its size in bytes, or the number of another type.
    size_or_id: u32,
    words: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Int,
    Pointer,
    Array,
    Struct,
    Union,
    Enum,
    /// One that only stands for another: `typedef`, `const`, `volatile`, `restrict`, a tag.
    Alias,
    Variable,
    Section,
    Enum64,
    Other,
}

/// Where a value is within a map's, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// In bytes.
    pub(super) offset: usize,
    /// In bytes.
    pub(super) size: usize,
    pub(super) holds: Holds,
}

/// What is at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holds {
    /// An integer or an enumeration.
    Number {
        signed: bool,
    },
    Bool,
    /// An array of `char`.
    Text,
}

/// Most bytes of type information that are read: a scheduler has some hundred thousand.
pub(super) const LIMIT: u32 = 16 << 20;

/// Most types that one stands behind another, as in the kernel (`MAX_RESOLVE_DEPTH`).
const DEEPEST: usize = 32;

/// Names that an error lists.
const LISTED: usize = 24;

impl Types {
    /// Reads what the kernel gives; it is `None` where that is cut short.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        const MAGIC: u16 = 0xeb9f;
        let word = |at: usize| -> Option<u32> {
            let bytes = bytes.get(at..at.checked_add(4)?)?;
            Some(u32::from_ne_bytes(bytes.try_into().ok()?))
        };
        let magic = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
        if magic != MAGIC {
            return None;
        }
        let header = word(4)? as usize;
        let part = |offset: u32, length: u32| {
            let start = header.checked_add(offset as usize)?;
            bytes.get(start..start.checked_add(length as usize)?)
        };
        let of_types = part(word(8)?, word(12)?)?;
        let strings = part(word(16)?, word(20)?)?.to_vec();
        let words: Vec<u32> = of_types
            .chunks_exact(4)
            .map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]))
            .collect();
        let mut types = Vec::new();
        let mut rest = words.as_slice();
        while let [name, info, size_or_id, after @ ..] = rest {
            let count = (info & 0xffff) as usize;
            let (kind, length) = match (info >> 24) & 0x1f {
                1 => (Kind::Int, 1),
                2 => (Kind::Pointer, 0),
                3 => (Kind::Array, 3),
                4 => (Kind::Struct, 3 * count),
                5 => (Kind::Union, 3 * count),
                6 => (Kind::Enum, 2 * count),
                8..=11 | 18 => (Kind::Alias, 0),
                7 | 12 | 16 => (Kind::Other, 0),
                13 => (Kind::Other, 2 * count),
                14 => (Kind::Variable, 1),
                15 => (Kind::Section, 3 * count),
                17 => (Kind::Other, 1),
                19 => (Kind::Enum64, 3 * count),
                _ => return None,
            };
            let (own, after) = after.split_at_checked(length)?;
            types.push(Type {
                name: *name,
                kind,
                has_bit_fields: info >> 31 == 1,
                size_or_id: *size_or_id,
                words: own.to_vec(),
            });
            rest = after;
        }
        Some(Self { strings, types })
    }

    /// The name of a type.
    pub(super) fn name(&self, id: u32) -> String {
        self.get(id)
            .map_or_else(String::new, |ty| self.text(ty.name))
    }

    /// Where `field` is within the type `id`, or what there is instead.
    pub(super) fn find(&self, id: u32, field: &str) -> Result<Place, String> {
        let mut here = Here {
            ty: self.resolved(id)?,
            offset: 0,
            path: String::new(),
        };
        for part in parts(field)? {
            here = match part {
                Part::Name(name) => self.member(&here, name)?,
                Part::Index(index) => self.element(&here, index)?,
            };
        }
        self.place(&here)
    }

    fn get(&self, id: u32) -> Option<&Type> {
        self.types.get((id as usize).checked_sub(1)?)
    }

    /// The type behind `typedef`, `const` and the like.
    fn resolved(&self, mut id: u32) -> Result<&Type, String> {
        for _ in 0..DEEPEST {
            let ty = self.get(id).ok_or("its type information is damaged")?;
            match ty.kind {
                Kind::Alias | Kind::Variable => id = ty.size_or_id,
                _ => return Ok(ty),
            }
        }
        Err("its type information is damaged".to_owned())
    }

    fn text(&self, at: u32) -> String {
        let rest = self.strings.get(at as usize..).unwrap_or_default();
        let end = rest.iter().position(|&byte| byte == 0);
        String::from_utf8_lossy(&rest[..end.unwrap_or(rest.len())]).into_owned()
    }

    /// The member of a struct, or the variable of a section.
    fn member<'t>(&'t self, here: &Here<'t>, name: &str) -> Result<Here<'t>, String> {
        if !matches!(here.ty.kind, Kind::Struct | Kind::Union | Kind::Section) {
            return Err(format!("{} has no fields", here.called()));
        }
        let found = self.member_of(here.ty, name, 0)?;
        let (id, offset) = found.ok_or_else(|| {
            let names = self.names(here.ty);
            format!("{} has no `{name}`; it has {names}", here.called())
        })?;
        Ok(Here {
            ty: self.resolved(id)?,
            offset: here.offset + offset,
            path: here.joined(name),
        })
    }

    /// Type and offset of a member, also of one of a struct without a name within.
    fn member_of(
        &self,
        of: &Type,
        name: &str,
        depth: usize,
    ) -> Result<Option<(u32, usize)>, String> {
        for words in of.words.chunks_exact(3) {
            let (own, id, offset) = if of.kind == Kind::Section {
                // Number of the variable, offset, size.
                (self.name(words[0]), words[0], words[1] as usize)
            } else {
                let (bits, length) = if of.has_bit_fields {
                    (words[2] & 0xff_ffff, words[2] >> 24)
                } else {
                    (words[2], 0)
                };
                let own = self.text(words[0]);
                if own == name && (length != 0 || bits % 8 != 0) {
                    return Err(format!(
                        "`{name}` is a bit field, which cannot be written alone"
                    ));
                }
                (own, words[1], bits as usize / 8)
            };
            if own == name {
                return Ok(Some((id, offset)));
            }
            if own.is_empty() && depth < DEEPEST {
                let inner = self.resolved(id)?;
                if matches!(inner.kind, Kind::Struct | Kind::Union)
                    && let Some((id, within)) = self.member_of(inner, name, depth + 1)?
                {
                    return Ok(Some((id, offset + within)));
                }
            }
        }
        Ok(None)
    }

    fn names(&self, of: &Type) -> String {
        let members = of.words.chunks_exact(3);
        let names = members.map(|words| match of.kind {
            Kind::Section => self.name(words[0]),
            _ => self.text(words[0]),
        });
        listed(names.filter(|name| !name.is_empty()))
    }

    fn element<'t>(&'t self, here: &Here<'t>, index: usize) -> Result<Here<'t>, String> {
        let (element, count) = array(here.ty).ok_or_else(|| {
            let called = here.called();
            format!("{called} is no array")
        })?;
        if index >= count {
            let called = here.called();
            return Err(format!("{called} has {count} elements, 0 to {}", count - 1));
        }
        let size = self.size(element, 0)?;
        let into = index
            .checked_mul(size)
            .ok_or("its type information is damaged")?;
        Ok(Here {
            ty: self.resolved(element)?,
            offset: here.offset + into,
            path: format!("{}[{index}]", here.path),
        })
    }

    fn size(&self, id: u32, depth: usize) -> Result<usize, String> {
        let ty = self.resolved(id)?;
        match (ty.kind, array(ty)) {
            (_, Some((element, count))) if depth < DEEPEST => {
                let whole = self.size(element, depth + 1)?.checked_mul(count);
                whole.ok_or_else(|| "its type information is damaged".to_owned())
            }
            (Kind::Pointer, _) => Ok(8),
            (Kind::Int | Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64, _) => {
                Ok(ty.size_or_id as usize)
            }
            _ => Err("its type has no size".to_owned()),
        }
    }

    /// What is here, where a value can be written.
    fn place(&self, here: &Here<'_>) -> Result<Place, String> {
        const SIGNED: u32 = 1 << 24;
        const CHAR: u32 = 1 << 25;
        const BOOL: u32 = 1 << 26;
        let ty = here.ty;
        let called = here.called();
        let (holds, size) = match ty.kind {
            Kind::Int => {
                let encoding = ty.words[0];
                let bits = encoding & 0xff;
                if (encoding >> 16) & 0xff != 0 || bits != ty.size_or_id.saturating_mul(8) {
                    return Err(format!(
                        "{called} is a bit field, which cannot be written alone"
                    ));
                }
                let holds = if encoding & BOOL != 0 {
                    Holds::Bool
                } else {
                    let signed = encoding & SIGNED != 0;
                    Holds::Number { signed }
                };
                (holds, ty.size_or_id as usize)
            }
            Kind::Enum | Kind::Enum64 => {
                let signed = ty.has_bit_fields;
                (Holds::Number { signed }, ty.size_or_id as usize)
            }
            Kind::Array => {
                let (element, count) =
                    array(ty).ok_or_else(|| format!("{called} is an array of no elements"))?;
                let of = self.resolved(element)?;
                let is_byte = of.kind == Kind::Int && of.size_or_id == 1;
                // Clang does not call `char` one.
                if !(is_byte && (of.words[0] & CHAR != 0 || self.text(of.name) == "char")) {
                    let last = count - 1;
                    return Err(format!(
                        "{called} is an array; name an element, such as `{}[{last}]`",
                        here.path
                    ));
                }
                (Holds::Text, count)
            }
            Kind::Struct | Kind::Union | Kind::Section => {
                let names = self.names(ty);
                return Err(format!(
                    "{called} is no number; name a field of it: {names}"
                ));
            }
            Kind::Pointer => return Err(format!("{called} is a pointer")),
            _ => return Err(format!("{called} is neither a number nor a text")),
        };
        if !matches!(size, 1 | 2 | 4 | 8) && holds != Holds::Text {
            return Err(format!(
                "{called} has {size} bytes; 1, 2, 4 or 8 can be written"
            ));
        }
        Ok(Place {
            offset: here.offset,
            size,
            holds,
        })
    }
}

/// Type of the elements of an array, and how many there are: one at least.
fn array(ty: &Type) -> Option<(u32, usize)> {
    match (ty.kind, ty.words.as_slice()) {
        (Kind::Array, [element, _, count]) if *count > 0 => Some((*element, *count as usize)),
        _ => None,
    }
}

/// A type on the way to a field.
struct Here<'t> {
    ty: &'t Type,
    offset: usize,
    /// How it was come by.
    path: String,
}

impl Here<'_> {
    fn called(&self) -> String {
        if self.path.is_empty() {
            "its value".to_owned()
        } else {
            format!("`{}`", self.path)
        }
    }

    fn joined(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }
}

/// Some of these names, in words.
pub(super) fn listed(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.collect();
    let more = names.len().saturating_sub(LISTED);
    names.truncate(LISTED);
    match (names.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (_, 0) => names.join(", "),
        _ => format!("{} and {more} more", names.join(", ")),
    }
}

/// A part of a field's path.
#[derive(Debug, PartialEq, Eq)]
enum Part<'f> {
    Name(&'f str),
    Index(usize),
}

fn parts(field: &str) -> Result<Vec<Part<'_>>, String> {
    let odd = || format!("`{field}` is no field; write it as `table[3].depth`");
    let mut parts = Vec::new();
    let mut rest = field;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('[') {
            let (index, after) = after.split_once(']').ok_or_else(odd)?;
            parts.push(Part::Index(index.trim().parse().map_err(|_| odd())?));
            rest = after;
            continue;
        }
        if !parts.is_empty() {
            rest = rest.strip_prefix('.').ok_or_else(odd)?;
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if name.is_empty() {
            return Err(odd());
        }
        parts.push(Part::Name(name));
        rest = after;
    }
    Ok(parts)
}

#[cfg(test)]
mod tests;
