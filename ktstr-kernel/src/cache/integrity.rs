//! Checks that the files of an entry are those that were stored.
//!
//! A listing compares sizes only. Booting an entry compares times too, and the content of a file whose time is another than
//! the one it was stored with (a copied cache, a wrong clock). Resolving a name and cleaning compare the content of image
//! and configuration whatever their times are: a disk that returns wrong data changes no time. The content of the ELF
//! kernel, which is several times as large, is compared only where its time changed.

use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ktstr_core::host::files::open_regular;
use xxhash_rust::xxh3::Xxh3Default;

use super::FileRecord;

/// How closely to look at a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Is it there, and as large as it was?
    Size,
    /// Was it touched? If so, what is in it?
    Time,
    /// What is in it?
    Content,
}

/// Looks at the file that `record` tells of; the error is one clause, for a person.
pub(super) fn check(dir: &Path, record: &FileRecord, look: Look) -> Result<(), String> {
    let FileRecord {
        name, size: was, ..
    } = record;
    let path = dir.join(name);
    let named = |error: io::Error| format!("{name}: {error}");
    let found = fs::symlink_metadata(&path).map_err(named)?;
    if !found.is_file() {
        return Err(format!("{name} is not a regular file"));
    }
    let size = found.len();
    if size != *was {
        return Err(format!("{name} has {size} bytes, was {was}"));
    }
    // Entries of older versions have none: their size is all there is to see.
    let Some(expected) = record.xxh3.as_ref().filter(|_| look != Look::Size) else {
        return Ok(());
    };
    let untouched = record.modified == Some(modified(&found));
    if look == Look::Time && untouched || digest(&path).map_err(named)? == *expected {
        return Ok(());
    }
    Err(format!("{name} has other content than was stored"))
}

/// When a file was last modified, nanoseconds since 1970; what is beyond 1678 to 2262 is cut to that.
pub(super) fn modified(found: &Metadata) -> i64 {
    let nanos = i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
    i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
}

/// The XXH3 of a file, 16 hexadecimal digits. Read piece by piece: a file may shrink under a map.
pub(super) fn digest(path: &Path) -> io::Result<String> {
    let mut file = open_regular(path)?;
    let mut hash = Xxh3Default::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(format!("{:016x}", hash.digest())),
            Ok(n) => hash.update(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
