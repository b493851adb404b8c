//! Running out of room.

use std::io;

/// Advice where the file system of the cache is full.
pub(crate) const CACHE_HINT: &str = ", or set KTSTR_CACHE_DIR to a directory with more room";

/// Whether there was no room to write.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}
