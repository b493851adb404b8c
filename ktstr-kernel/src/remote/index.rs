//! The index as it was last fetched.

use std::io::{self, Read};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ktstr_core::host::files::{open_regular, write_atomic};
use ktstr_core::timestamp::rfc3339;
use serde::Deserialize;

use super::releases::{INDEX_LIMIT, Releases};
use crate::cache::Cache;

/// How much later than now an index may have been fetched: clocks are corrected.
const SKEW: Duration = Duration::from_secs(300);

/// `{cache}/releases.json`: the form of kernel.org's, and `fetched` and `from` beside its releases.
#[derive(Debug, Clone)]
pub(super) struct CachedIndex {
    path: PathBuf,
}

#[derive(Deserialize)]
struct Origin {
    fetched: String,
    from: String,
}

impl CachedIndex {
    pub(super) fn new(cache: &Cache) -> Self {
        Self {
            path: cache.root().join("releases.json"),
        }
    }

    /// The index that was fetched from `address`, with its age. Half a file, one that somebody else made, and one from the
    /// future count as none.
    pub(super) fn read(&self, address: &str, now: SystemTime) -> Option<Releases> {
        let mut json = Vec::new();
        let file = open_regular(&self.path).ok()?;
        file.take(INDEX_LIMIT + 1).read_to_end(&mut json).ok()?;
        let releases = Releases::parse(&json).ok()?;
        let origin: Origin = serde_json::from_slice(&json).ok()?;
        let fetched = humantime::parse_rfc3339(&origin.fetched).ok()?;
        let age = match now.duration_since(fetched) {
            Ok(age) => age,
            Err(error) if error.duration() <= SKEW => Duration::ZERO,
            Err(_) => return None,
        };
        let is_plausible = fetched > UNIX_EPOCH && origin.from == address;
        is_plausible.then(|| releases.with_age(age))
    }

    /// Keeps an index that was just fetched from `address`.
    pub(super) fn write(
        &self,
        releases: &Releases,
        address: &str,
        now: SystemTime,
    ) -> io::Result<()> {
        let json = serde_json::json!({
            "fetched": rfc3339(now),
            "from": address,
            "releases": releases.to_json(),
        });
        write_atomic(&self.path, &serde_json::to_vec_pretty(&json)?)
    }
}
