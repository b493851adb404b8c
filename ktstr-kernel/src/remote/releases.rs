//! The index of releases.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::release::Release;
use crate::spec::Newest;
use crate::text::line;

/// Largest index that is read, bytes. kernel.org's has about 10 KiB.
pub(super) const INDEX_LIMIT: u64 = 1 << 20;

/// Most entries that are read. kernel.org's has about 10.
const ENTRIES: usize = 1000;

/// The kind of a release, as kernel.org lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moniker {
    /// The newest of Linus' tree: a release candidate, or the first release of a series.
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
    /// Its kind.
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
    /// It is not JSON, or not of that form.
    #[error("not in the form of kernel.org's releases.json ({0})")]
    Form(String),
    /// It is larger than any index.
    #[error("larger than any index of releases")]
    TooLarge,
    /// Nothing in it can be used.
    #[error("it lists no stable or longterm release")]
    Empty,
}

impl Releases {
    /// Reads kernel.org's `releases.json`. Entries that are not releases (`linux-next`), or of a kind not known here, are
    /// skipped; an index without any stable or longterm release is an error.
    pub fn parse(json: &[u8]) -> Result<Self, ReleasesError> {
        if json.len() as u64 > INDEX_LIMIT {
            return Err(ReleasesError::TooLarge);
        }
        let form = |why: &str| ReleasesError::Form(line(why));
        let index: Value =
            serde_json::from_slice(json).map_err(|error| form(&error.to_string()))?;
        let list = index.get("releases").and_then(Value::as_array);
        let list = list.ok_or_else(|| form("it has no list `releases`"))?;
        if list.len() > ENTRIES {
            return Err(ReleasesError::TooLarge);
        }
        let mut entries = Vec::new();
        for raw in list {
            entries.extend(listed(raw).map_err(|why| form(&why))?);
        }
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
        let release = |entry: &Listed| {
            json!({
                "version": entry.release.to_string(),
                "moniker": entry.moniker.as_str(),
                "iseol": entry.eol,
                "released": entry.released.as_ref().map(|day| json!({ "isodate": day })),
            })
        };
        self.entries.iter().map(release).collect()
    }

    /// The newest release of a series, named by its two numbers; a release candidate only where there is nothing else.
    pub fn newest_of(&self, series: (u16, u16)) -> Option<Release> {
        let of_series = self.entries.iter().rev().map(|entry| entry.release);
        // Candidates sort before releases.
        of_series
            .into_iter()
            .find(|release| series_of(*release) == series)
    }

    /// The newest of its kind. A release of Linus' that is no candidate is the newest stable one, until its series has a
    /// maintenance release.
    pub fn newest(&self, newest: Newest) -> Option<Release> {
        let is_wanted = |entry: &&Listed| match newest {
            Newest::Stable => entry.release.rc.is_none() && !entry.eol,
            Newest::Mainline => entry.moniker == Moniker::Mainline,
            Newest::Longterm => entry.moniker == Moniker::Longterm && entry.is_maintained(),
        };
        let found = self.entries.iter().rev().find(is_wanted);
        found.map(|entry| entry.release)
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

/// What an entry of the index lists; `None` for what is not a release, or of a kind not known here. What says more of a
/// release than its number and kind may be missing, or be something else.
fn listed(raw: &Value) -> Result<Option<Listed>, String> {
    let text = |name: &str| match raw.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("the `{name}` of a release is not text")),
    };
    let (version, moniker) = (text("version")?, text("moniker")?);
    let moniker = moniker.and_then(|moniker| Moniker::parse(moniker));
    let release = version.and_then(|version| Release::parse(version));
    let (Some(moniker), Some(mut release)) = (moniker, release) else {
        return Ok(None);
    };
    if release.is_series() {
        release.patch = Some(0);
    }
    let day = raw.get("released").and_then(|day| day.get("isodate"));
    let day = day.and_then(Value::as_str).filter(|day| is_day(day));
    Ok(Some(Listed {
        release,
        moniker,
        eol: raw.get("iseol").and_then(Value::as_bool) == Some(true),
        released: day.map(str::to_owned),
    }))
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
