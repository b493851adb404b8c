//! The layout of trace records, as the kernel describes it: `events/*/*/format` and `events/header_page`.

/// Where an integer is in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    offset: usize,
    size: usize,
    signed: bool,
}

/// The layout of one kind of record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Format {
    /// The number that its records begin with; 0 where the text has none.
    pub(super) id: u16,
    fields: Vec<(String, Field)>,
}

/// A description that does not say what is needed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormatError {
    #[error("the kernel describes no field `{0}`")]
    NoField(String),
    #[error("the field `{name}` is {size} bytes long, which is no integer")]
    NoInteger { name: String, size: usize },
    #[error("the kernel describes a buffer page of {0} bytes")]
    Page(usize),
}

/// No record is longer: `TRACE_MAX_PRINT` and what a page holds.
const LONGEST: usize = 64 << 10;

impl Field {
    /// Its value in `record`, as the bits of a signed number; `None` in a record that is too short.
    pub(super) fn read(self, record: &[u8]) -> Option<i64> {
        let bytes = record.get(self.offset..self.offset.checked_add(self.size)?)?;
        Some(match (bytes, self.signed) {
            (&[a], true) => i64::from(i8::from_le_bytes([a])),
            (&[a], false) => i64::from(a),
            (&[a, b], true) => i64::from(i16::from_le_bytes([a, b])),
            (&[a, b], false) => i64::from(u16::from_le_bytes([a, b])),
            (&[a, b, c, d], true) => i64::from(i32::from_le_bytes([a, b, c, d])),
            (&[a, b, c, d], false) => i64::from(u32::from_le_bytes([a, b, c, d])),
            _ => i64::from_le_bytes(bytes.try_into().ok()?),
        })
    }

    /// Its `N` bytes in `record`.
    pub(super) fn bytes<const N: usize>(self, record: &[u8]) -> Option<[u8; N]> {
        record
            .get(self.offset..self.offset.checked_add(N)?)?
            .try_into()
            .ok()
    }

    pub(super) fn size(self) -> usize {
        self.size
    }

    pub(super) fn offset(self) -> usize {
        self.offset
    }
}

impl Format {
    /// Reads a description; lines of anything else are passed over.
    pub(super) fn parse(text: &str) -> Self {
        let id = text.lines().find_map(|line| line.strip_prefix("ID:"));
        Self {
            id: id.and_then(|id| id.trim().parse().ok()).unwrap_or(0),
            fields: text.lines().filter_map(field).collect(),
        }
    }

    /// The field of that name.
    pub(super) fn field(&self, name: &str) -> Result<Field, FormatError> {
        let found = self.fields.iter().find(|(known, _)| known == name);
        let found = found.map(|(_, field)| *field);
        found.ok_or_else(|| FormatError::NoField(name.to_owned()))
    }

    /// The field of that name, which must be an integer.
    pub(super) fn integer(&self, name: &str) -> Result<Field, FormatError> {
        let field = self.field(name)?;
        match field.size {
            1 | 2 | 4 | 8 => Ok(field),
            size => Err(FormatError::NoInteger {
                name: name.to_owned(),
                size,
            }),
        }
    }
}

/// `\tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;`
fn field(line: &str) -> Option<(String, Field)> {
    let rest = line.trim_start().strip_prefix("field:")?;
    let mut parts = rest.split(';').map(str::trim);
    let declared = parts.next()?.split('[').next()?;
    let name = declared.split([' ', '*']).next_back()?;
    let mut number = |key: &str| -> Option<usize> {
        let value = parts.next()?.strip_prefix(key)?;
        value.parse().ok().filter(|number| *number <= LONGEST)
    };
    let (offset, size) = (number("offset:")?, number("size:")?);
    let signed = number("signed:") == Some(1);
    let field = Field {
        offset,
        size,
        signed,
    };
    Some((name.to_owned(), field))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SWITCH: &str = "name: sched_switch\nID: 316\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
        \tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;\n\
        \tfield:long prev_state;\toffset:32;\tsize:8;\tsigned:1;\n\
        \tfield:__data_loc char[] name;\toffset:40;\tsize:3;\tsigned:0;\n\n\
        print fmt: \"prev_comm=%s\", REC->prev_comm\n";

    #[test]
    fn fields_are_found_and_read() {
        let format = Format::parse(SWITCH);
        assert_eq!(format.id, 316);
        let mut record = vec![0; 48];
        record[4..8].copy_from_slice(&(-7_i32).to_le_bytes());
        record[8..24].copy_from_slice(b"sixteen letters!");
        record[32..40].copy_from_slice(&256_u64.to_le_bytes());
        let read = |name: &str| format.integer(name).unwrap().read(&record);
        assert_eq!(read("common_pid"), Some(-7));
        assert_eq!(read("prev_state"), Some(256));
        let comm = format.field("prev_comm").unwrap();
        assert_eq!(comm.bytes(&record), Some(*b"sixteen letters!"));
        assert_eq!(comm.bytes::<16>(&record[..20]), None);
        let missing = format.field("next_pid").unwrap_err().to_string();
        assert_eq!(missing, "the kernel describes no field `next_pid`");
        assert!(format.integer("prev_comm").is_err());
    }

    proptest! {
        #[test]
        fn any_description_is_read_or_passed_over(text in "(\tfield:[a-z ]{0,9};?\toffset:[0-9]{0,22};\tsize:[0-9]{0,3};.{0,9}\n){0,9}",
            noise: String, record in prop::collection::vec(any::<u8>(), 0..64)) {
            for text in [text, noise] {
                for (name, field) in &Format::parse(&text).fields {
                    let _ = (name, field.read(&record), field.bytes::<16>(&record));
                }
            }
        }
    }
}
