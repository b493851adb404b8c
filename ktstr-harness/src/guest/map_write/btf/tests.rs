//! Fields of a small object.

use proptest::prelude::*;

use super::*;

/// Types of a small object:
///
/// ```c
/// struct limits { u32 depth; s8 bias; bool on; char name[4]; union { u64 wide; int *pointer; }; u32 a:3; };
/// .data: const volatile struct limits limits; u32 table[3];
/// ```
fn object() -> Vec<u8> {
    let mut strings = vec![0_u8];
    let mut name = |text: &str| {
        let at = strings.len() as u32;
        strings.extend(text.as_bytes());
        strings.push(0);
        at
    };
    let kind = |kind: u32, count: u32| kind << 24 | count;
    let types: Vec<Vec<u32>> = vec![
        /* 1 */ vec![name("unsigned int"), kind(1, 0), 4, 32],
        /* 2 */ vec![name("signed char"), kind(1, 0), 1, 1 << 24 | 8],
        /* 3 */ vec![name("_Bool"), kind(1, 0), 1, 4 << 24 | 8],
        /* 4 */ vec![name("char"), kind(1, 0), 1, 1 << 24 | 8],
        /* 5 */ vec![0, kind(3, 0), 0, 4, 1, 4],
        /* 6 */ vec![name("unsigned long"), kind(1, 0), 8, 64],
        /* 7 */ vec![0, kind(2, 0), 1],
        /* 8 */
        vec![0, kind(5, 2), 8, name("wide"), 6, 0, name("pointer"), 7, 0],
        /* 9 */
        vec![
            name("limits"),
            1 << 31 | kind(4, 6),
            32,
            name("depth"),
            1,
            0,
            name("bias"),
            2,
            32,
            name("on"),
            3,
            40,
            name("name"),
            5,
            48,
            0,
            8,
            128,
            name("a"),
            1,
            3 << 24 | 0xc0,
        ],
        /* 10 */ vec![0, kind(10, 0), 9],
        /* 11 */ vec![0, kind(9, 0), 10],
        /* 12 */ vec![name("limits"), kind(14, 0), 11, 1],
        /* 13 */ vec![0, kind(3, 0), 0, 1, 1, 3],
        /* 14 */ vec![name("table"), kind(14, 0), 13, 1],
        /* 15 */
        vec![name(".data"), kind(15, 2), 48, 12, 0, 32, 14, 32, 12],
    ];
    let types = types.concat();
    let length = 4 * types.len() as u32;
    let header = [0x1_eb9f, 24, 0, length, length, strings.len() as u32];
    let words = header.into_iter().chain(types);
    let mut bytes: Vec<u8> = words.flat_map(u32::to_ne_bytes).collect();
    bytes.extend(strings);
    bytes
}

fn find(field: &str) -> Result<(usize, usize, Holds), String> {
    let types = Types::parse(&object()).unwrap();
    assert_eq!(types.name(15), ".data");
    let place = types.find(15, field)?;
    Ok((place.offset, place.size, place.holds))
}

#[test]
fn fields_are_where_the_compiler_put_them() {
    let unsigned = Holds::Number { signed: false };
    for (field, place) in [
        ("limits.depth", (0, 4, unsigned.clone())),
        ("limits.bias", (4, 1, Holds::Number { signed: true })),
        ("limits.on", (5, 1, Holds::Bool)),
        ("limits.name", (6, 4, Holds::Text)),
        ("limits.name[1]", (7, 1, Holds::Number { signed: true })),
        ("limits.wide", (16, 8, unsigned.clone())),
        ("table[2]", (40, 4, unsigned)),
    ] {
        assert_eq!(find(field), Ok(place), "{field}");
    }
    let types = Types::parse(&object()).unwrap();
    assert_eq!(types.find(1, "").unwrap().size, 4);
}

#[test]
fn what_is_no_field_is_told_with_what_there_is() {
    for (field, told) in [
        ("depth", "its value has no `depth`; it has limits, table"),
        (
            "limits.deep",
            "`limits` has no `deep`; it has depth, bias, on, name, a",
        ),
        (
            "limits",
            "`limits` is no number; name a field of it: depth, bias",
        ),
        (
            "",
            "its value is no number; name a field of it: limits, table",
        ),
        ("limits.pointer", "`limits.pointer` is a pointer"),
        ("limits.a", "`a` is a bit field"),
        (
            "table",
            "`table` is an array; name an element, such as `table[2]`",
        ),
        ("table[3]", "`table` has 3 elements, 0 to 2"),
        ("limits[0]", "`limits` is no array"),
        ("table[0].x", "`table[0]` has no fields"),
        ("table[x]", "`table[x]` is no field; write it as"),
        (".x", "`.x` is no field"),
    ] {
        let error = find(field).unwrap_err();
        assert!(error.contains(told), "{field}: {error}");
    }
}

proptest! {
    #[test]
    fn damaged_types_are_refused_or_read(at in 0_usize..400, byte: u8, field in "(limits|table)?(\\.[a-z]{1,5}|\\[[0-9]\\]){0,3}") {
        let mut bytes = object();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Some(types) = Types::parse(&bytes) {
            for id in 0..17 {
                let _ = types.find(id, &field);
            }
        }
    }

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = Types::parse(&[&[0x9f, 0xeb, 1, 0][..], &bytes].concat());
    }
}
