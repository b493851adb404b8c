//! `/etc/ld.so.cache`: maps library names to files; `ldconfig` writes it.

use std::collections::HashMap;
use std::path::PathBuf;

/// The cache of the system loader.
pub(super) const PATH: &str = "/etc/ld.so.cache";

// The format (sysdeps/generic/dl-cache.h of glibc): header, entries, strings.
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const OLD_MAGIC: &[u8] = b"ld.so-1.7.0";
const HEADER: usize = 48;
const ENTRY: usize = 24;
const OLD_HEADER: usize = 16;
const OLD_ENTRY: usize = 12;
/// `FLAG_X8664_LIB64 | FLAG_ELF_LIBC6`
const X86_64: u32 = 0x0303;

/// Libraries for x86-64 by name; empty if the format of `cache` is unknown.
pub(super) fn parse(cache: &[u8]) -> HashMap<String, PathBuf> {
    try_parse(cache).unwrap_or_default()
}

fn try_parse(file: &[u8]) -> Option<HashMap<String, PathBuf>> {
    let cache = if file.starts_with(OLD_MAGIC) {
        // The old format may come first, and the new one, aligned, after it.
        let count = u32_at(file, 12)? as usize;
        let end = OLD_HEADER.checked_add(count.checked_mul(OLD_ENTRY)?)?;
        file.get(end.next_multiple_of(8)..)?
    } else {
        file
    };
    if !cache.starts_with(MAGIC) {
        return None;
    }
    let count = u32_at(cache, 20)? as usize;
    let mut libraries = HashMap::new();
    for entry in cache.get(HEADER..)?.chunks_exact(ENTRY).take(count) {
        let hwcap = u32_at(entry, 16)? | u32_at(entry, 20)?;
        // Variants for newer processors are skipped, as the guest's processor is not known.
        if u32_at(entry, 0)? != X86_64 || hwcap != 0 {
            continue;
        }
        let name = string_at(cache, u32_at(entry, 4)? as usize)?;
        let path = string_at(cache, u32_at(entry, 8)? as usize)?;
        libraries
            .entry(name.to_owned())
            .or_insert_with(|| PathBuf::from(path));
    }
    Some(libraries)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn string_at(bytes: &[u8], at: usize) -> Option<&str> {
    let bytes = bytes.get(at..)?;
    let end = bytes.iter().position(|&byte| byte == 0)?;
    std::str::from_utf8(&bytes[..end]).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cache() -> Vec<u8> {
        let strings = b"libone.so.1\0/opt/lib/libone.so.1\0";
        let mut bytes = MAGIC.to_vec();
        bytes.extend(1u32.to_le_bytes());
        bytes.extend((strings.len() as u32).to_le_bytes());
        bytes.resize(HEADER, 0);
        let base = (HEADER + ENTRY) as u32;
        for word in [X86_64, base, base + 12, 0, 0, 0] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn names_lead_to_files_in_both_formats() {
        let expected = Some(&PathBuf::from("/opt/lib/libone.so.1"));
        assert_eq!(parse(&cache()).get("libone.so.1"), expected);
        let mut old = OLD_MAGIC.to_vec();
        old.resize(OLD_HEADER, 0);
        old.extend(cache());
        assert_eq!(parse(&old).get("libone.so.1"), expected);
        assert!(parse(b"something else").is_empty());
    }

    proptest! {
        #[test]
        fn damaged_caches_never_panic(at in 0..100usize, byte: u8, cut in 0..120usize) {
            let mut bytes = cache();
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.truncate(cut);
            let _ = parse(&bytes);
        }
    }
}
