//! Which releases a name stands for.

use std::cell::OnceCell;

use ktstr_core::host::Host;

use super::Setup;
use super::release::newest_cached;
use crate::error::Error;
use crate::progress::{Event, Progress};
use crate::release::Release;
use crate::remedy::Remedy;
use crate::remote::Releases;
use crate::spec::{KernelSpec, Newest};

/// Says which releases names stand for. Asks the network for each thing once, however many names need it.
pub(crate) struct Names<'r> {
    setup: &'r Setup,
    progress: &'r dyn Progress,
    maintained: OnceCell<Result<Releases, String>>,
    tagged: OnceCell<Result<Vec<Release>, String>>,
}

impl<'r> Names<'r> {
    pub(super) fn new(setup: &'r Setup, progress: &'r dyn Progress) -> Self {
        Self {
            setup,
            progress,
            maintained: OnceCell::new(),
            tagged: OnceCell::new(),
        }
    }

    /// The releases of a version, a series or a range, oldest first; at least one.
    pub(crate) fn releases(&self, spec: &KernelSpec) -> Result<Vec<Release>, Error> {
        match spec {
            KernelSpec::Version(release) => Ok(vec![*release]),
            KernelSpec::Series(series) => Ok(vec![self.newest_of(spec, series)?]),
            KernelSpec::Newest(newest) => Ok(vec![self.newest(spec, *newest)?]),
            KernelSpec::Range { start, end } => self.within(spec, start, end),
            KernelSpec::Path(_) | KernelSpec::CacheKey(_) | KernelSpec::Git { .. } => {
                let why = "it names no release; give a version (6.14.2), a series (6.14) or a range (6.12..6.14)";
                Err(unresolved(spec, why))
            }
        }
    }

    /// The newest release of the newest series that has had its share of maintenance releases.
    pub(crate) fn latest(&self) -> Result<Release, Error> {
        let maintained = self.maintained();
        let latest = maintained.and_then(|maintained| {
            let latest = maintained.latest_settled();
            latest.ok_or("no series has had eight maintenance releases yet; give a version")
        });
        latest.map_err(|why| Error::Unresolved {
            name: "latest".to_owned(),
            why: why.to_owned(),
            remedy: None,
        })
    }

    fn newest(&self, spec: &KernelSpec, newest: Newest) -> Result<Release, Error> {
        let maintained = self.maintained().map_err(|why| unresolved(spec, why))?;
        let found = maintained.newest(newest).ok_or_else(|| {
            unresolved(
                spec,
                "kernel.org lists no such release now; give a version, such as 6.14.2",
            )
        })?;
        self.note(&format!("{newest} kernel: {found}"));
        Ok(found)
    }

    /// The newest of a series that is named by itself: one that has ended too.
    fn newest_of(&self, spec: &KernelSpec, series: &Release) -> Result<Release, Error> {
        let maintained = match self.maintained() {
            Ok(maintained) => maintained,
            // Without any index, a cached one of the series is the best there is.
            Err(why) => {
                let cached = newest_cached(self.setup, |release| spec.admits(release));
                let (release, key) = cached.ok_or_else(|| unresolved(spec, why))?;
                self.note(why);
                self.note(&format!("taking {key}, the newest {series}.x in the cache"));
                return Ok(release);
            }
        };
        let newest = match maintained.newest_of((series.major, series.minor)) {
            Some(newest) => newest,
            None => self.newest_tagged(spec, series)?,
        };
        self.note(&format!("latest {series}.x kernel: {newest}"));
        Ok(newest)
    }

    fn newest_tagged(&self, spec: &KernelSpec, series: &Release) -> Result<Release, Error> {
        let tagged = self.tagged().map_err(|why| {
            let why = format!("{series} is not maintained any more, and its last release cannot be looked up ({why}); give one, e.g. {series}.1");
            unresolved(spec, &why)
        })?;
        let newest = tagged
            .iter()
            .filter(|release| release.rc.is_none() && release.is_within(series, series))
            .max();
        let none = || {
            unresolved(
                spec,
                "there is no such series; see kernel.org for existing ones",
            )
        };
        newest.copied().ok_or_else(none)
    }

    fn within(
        &self,
        spec: &KernelSpec,
        start: &Release,
        end: &Release,
    ) -> Result<Vec<Release>, Error> {
        let maintained = self.maintained().map_err(|why| unresolved(spec, why))?;
        let mut releases = maintained.within(*start, *end);
        let include_eol = self.setup.include_eol;
        if include_eol {
            let tagged = self.tagged().map_err(|why| unresolved(spec, why))?;
            let ended = last_of_each(tagged, |release| {
                release.is_within(start, end)
                    && maintained
                        .newest_of((release.major, release.minor))
                        .is_none()
            });
            releases.extend(ended);
            releases.sort();
        }
        if releases.is_empty() {
            let (why, remedy) = none_within(maintained, start, end, include_eol);
            return Err(Error::Unresolved {
                name: spec.to_string(),
                why,
                remedy,
            });
        }
        Ok(releases)
    }

    fn maintained(&self) -> Result<&Releases, &str> {
        let answer = self.maintained.get_or_init(|| {
            let remote = self.setup.remote.as_ref().ok_or(NOTHING_TO_ASK)?;
            let answer = remote.releases(self.progress);
            answer.map_err(|error| error.to_string())
        });
        answer.as_ref().map_err(String::as_str)
    }

    /// Every release that linux-stable has a tag of.
    fn tagged(&self) -> Result<&[Release], &str> {
        let answer = self.tagged.get_or_init(|| {
            let remote = self.setup.remote.as_ref().ok_or(NOTHING_TO_ASK)?;
            tags(&remote.mirror().stable_git(), &self.setup.options.host)
        });
        answer.as_deref().map_err(String::as_str)
    }

    fn note(&self, text: &str) {
        self.progress.event(Event::Note(text));
    }
}

const NOTHING_TO_ASK: &str = "releases are not looked up here; give a source tree (../linux), a source tarball, an image or a cache key";

/// The tags of the repository at `url` that name releases; `path` is the search path for git's helpers.
#[cfg(feature = "git")]
fn tags(url: &str, host: &Host) -> Result<Vec<Release>, String> {
    let limits = crate::repository::Limits::default();
    let access = crate::repository::Access { host, limits };
    let tags = crate::repository::tags(url, access).map_err(|error| error.to_string())?;
    // The first of a series is tagged by its two numbers.
    let first = |release: &mut Release| {
        if release.is_series() {
            release.patch = Some(0);
        }
    };
    Ok(tags
        .into_iter()
        .map(|mut release| {
            first(&mut release);
            release
        })
        .collect())
}

#[cfg(not(feature = "git"))]
fn tags(_: &str, _: &OsStr) -> Result<Vec<Release>, String> {
    Err("this build of ktstr cannot read tags".to_owned())
}

/// Why a range stands for nothing: what its series have reached, where they are maintained.
fn none_within(
    maintained: &Releases,
    start: &Release,
    end: &Release,
    include_eol: bool,
) -> (String, Option<Remedy>) {
    const SHOWN: usize = 3;
    let series = |release: &Release| Release {
        patch: None,
        rc: None,
        ..*release
    };
    let all = maintained.within(series(start), series(end));
    if let Some(newest) = all.last() {
        let texts = all.iter().rev().take(SHOWN);
        let texts: Vec<String> = texts
            .map(|newest| format!("the newest of {} is {newest}", series(newest)))
            .collect();
        let why = format!(
            "a range stands for the newest release of each series, and {}; give {} for that, or one release by its number",
            texts.join(", "),
            series(newest)
        );
        return (why, None);
    }
    match maintained.newest(Newest::Stable) {
        Some(newest) if newest < *start => {
            let why = format!("no release lies within: the newest is {newest}");
            (why, None)
        }
        _ if include_eol => {
            let why = "no release lies within; see kernel.org for existing ones";
            (why.to_owned(), None)
        }
        _ => {
            let why = "no maintained release lies within";
            (why.to_owned(), Some(Remedy::IncludeEol))
        }
    }
}

fn unresolved(spec: &KernelSpec, why: &str) -> Error {
    Error::Unresolved {
        name: spec.to_string(),
        why: why.to_owned(),
        remedy: None,
    }
}

/// Of the releases that are `wanted`, the last of each series. Candidates are no releases.
fn last_of_each(releases: &[Release], wanted: impl Fn(&Release) -> bool) -> Vec<Release> {
    let series = |release: &Release| (release.major, release.minor);
    let mut found: Vec<Release> = releases
        .iter()
        .filter(|release| release.rc.is_none() && wanted(release))
        .copied()
        .collect();
    found.sort();
    // Of neighbours of one series the later one stays.
    found.reverse();
    found.dedup_by_key(|release| series(release));
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_each_series_stays() {
        let releases = |texts: &[&str]| -> Vec<Release> {
            let parsed = texts.iter().map(|text| Release::parse(text).unwrap());
            parsed.collect()
        };
        let tagged = releases(&[
            "6.13.9", "6.13.12", "6.12.2", "6.13-rc7", "6.13.2", "6.15-rc1",
        ]);
        assert_eq!(
            last_of_each(&tagged, |_| true),
            releases(&["6.12.2", "6.13.12"])
        );
        assert_eq!(
            last_of_each(&tagged, |release| release.minor == 13),
            releases(&["6.13.12"])
        );
        assert!(last_of_each(&[], |_| true).is_empty());
    }
}
