//! The index of releases.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::release::Release;

/// Largest index that is read, bytes. kernel.org's has about 10 KiB.
pub(super) const INDEX_LIMIT: u64 = 1 << 20;

/// Most entries that are read. kernel.org's has about 10.
const ENTRIES: usize = 1000;

/// What a release is to kernel.org.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moniker {
    /// Linus' newest: a release candidate, or the first release of a series.
    Mainline,
    /// Maintained until the next series is out.
    Stable,
    /// Maintained for years.
    Longterm,
}

impl Moniker {
    /// As kernel.org spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mainline => "mainline",
            Self::Stable => "stable",
            Self::Longterm => "longterm",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let all = [Self::Mainline, Self::Stable, Self::Longterm];
        all.into_iter().find(|moniker| moniker.as_str() == text)
    }
}

/// A release that kernel.org lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its number. The first release of a series has patch 0 here: `6.14.0`, which kernel.org spells `6.14`.
    pub release: Release,
    /// What it is.
    pub moniker: Moniker,
    /// Whether its series gets no more releases.
    pub eol: bool,
    /// The day it was released, `2025-04-20`; `None` where the index does not say.
    pub released: Option<String>,
}

/// The releases that kernel.org lists: the newest of each active series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Releases {
    entries: Vec<Listed>,
    age: Duration,
}

/// An index that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReleasesError {
    /// It is no JSON, or not of that form.
    #[error("not in the form of kernel.org's releases.json ({0})")]
    Form(String),
    /// It is larger than any index.
    #[error("larger than any index of releases")]
    TooLarge,
    /// Nothing in it can be used.
    #[error("no stable or longterm release in it")]
    Empty,
}

#[derive(Serialize, Deserialize)]
struct RawIndex {
    releases: Vec<RawRelease>,
}

#[derive(Serialize, Deserialize)]
struct RawRelease {
    version: String,
    moniker: String,
    #[serde(default)]
    iseol: bool,
    #[serde(default)]
    released: Option<RawDay>,
}

#[derive(Serialize, Deserialize)]
struct RawDay {
    #[serde(default)]
    isodate: Option<String>,
}

impl Releases {
    /// Reads kernel.org's `releases.json`. Entries that are no releases (`linux-next`), or of a kind not known here, are
    /// passed over; an index without any stable or longterm release is an error.
    pub fn parse(json: &[u8]) -> Result<Self, ReleasesError> {
        if json.len() as u64 > INDEX_LIMIT {
            return Err(ReleasesError::TooLarge);
        }
        let raw: RawIndex = serde_json::from_slice(json)
            .map_err(|error| ReleasesError::Form(super::http::one_line(&error.to_string())))?;
        if raw.releases.len() > ENTRIES {
            return Err(ReleasesError::TooLarge);
        }
        let mut entries: Vec<Listed> = raw.releases.into_iter().filter_map(listed).collect();
        entries.sort_by_key(|entry| entry.release);
        let mut seen = BTreeSet::new();
        entries.retain(|entry| seen.insert(entry.release));
        if !entries.iter().any(Listed::is_maintained_kind) {
            return Err(ReleasesError::Empty);
        }
        let age = Duration::ZERO;
        Ok(Self { entries, age })
    }

    /// Every release listed, oldest first.
    pub fn entries(&self) -> &[Listed] {
        &self.entries
    }

    /// How long ago the index was fetched.
    pub fn age(&self) -> Duration {
        self.age
    }

    pub(super) fn with_age(self, age: Duration) -> Self {
        Self { age, ..self }
    }

    /// As `releases.json` has it, for the cache.
    pub(super) fn to_json(&self) -> serde_json::Value {
        let release = |entry: &Listed| RawRelease {
            version: entry.release.to_string(),
            moniker: entry.moniker.as_str().to_owned(),
            iseol: entry.eol,
            released: entry
                .released
                .clone()
                .map(|day| RawDay { isodate: Some(day) }),
        };
        let releases: Vec<RawRelease> = self.entries.iter().map(release).collect();
        serde_json::to_value(releases).unwrap_or_default()
    }

    /// The newest release of a series, named by its two numbers; a release candidate only where there is nothing else.
    pub fn newest_of(&self, series: (u16, u16)) -> Option<Release> {
        let of_series = self.entries.iter().rev().map(|entry| entry.release);
        // Candidates sort before releases.
        of_series
            .into_iter()
            .find(|release| series_of(*release) == series)
    }

    /// The stable and longterm releases from `start` to `end` (see [`Release::is_within`]) whose series are maintained,
    /// oldest first.
    pub fn within(&self, start: Release, end: Release) -> Vec<Release> {
        let maintained = self.entries.iter().filter(|entry| entry.is_maintained());
        maintained
            .map(|entry| entry.release)
            .filter(|release| release.is_within(&start, &end))
            .collect()
    }

    /// The newest release of the newest maintained series that has had at least 8 maintenance releases: where a series is
    /// younger than that, the one before it counts.
    pub fn latest_settled(&self) -> Option<Release> {
        let maintained = self
            .entries
            .iter()
            .rev()
            .filter(|entry| entry.is_maintained());
        maintained
            .map(|entry| entry.release)
            .find(|release| release.patch >= Some(8))
    }

    /// Whether a series gets no more releases: it is marked so, or is listed no more. `None` for one that is newer than
    /// everything listed.
    pub fn is_eol(&self, series: (u16, u16)) -> Option<bool> {
        let mut of_series = self
            .entries
            .iter()
            .filter(|entry| series_of(entry.release) == series)
            .peekable();
        if of_series.peek().is_some() {
            return Some(of_series.all(|entry| entry.eol));
        }
        let newest = self.entries.last().map(|entry| series_of(entry.release));
        newest.is_none_or(|newest| series < newest).then_some(true)
    }
}

impl Listed {
    fn is_maintained_kind(&self) -> bool {
        self.moniker != Moniker::Mainline && self.release.rc.is_none()
    }

    fn is_maintained(&self) -> bool {
        self.is_maintained_kind() && !self.eol
    }
}

fn series_of(release: Release) -> (u16, u16) {
    (release.major, release.minor)
}

fn listed(raw: RawRelease) -> Option<Listed> {
    let moniker = Moniker::parse(&raw.moniker)?;
    let mut release = Release::parse(&raw.version)?;
    if release.is_series() {
        release.patch = Some(0);
    }
    let day = raw.released.and_then(|day| day.isodate);
    Some(Listed {
        release,
        moniker,
        eol: raw.iseol,
        released: day.filter(|day| is_day(day)),
    })
}

/// Whether it looks like `2025-04-20`.
fn is_day(text: &str) -> bool {
    text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

#[cfg(test)]
#[path = "releases_tests.rs"]
mod tests;
