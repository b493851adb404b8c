//! Version numbers of kernel releases.

use std::fmt;

/// A release as kernel.org numbers them: `6.14`, `6.14.2` or `6.15-rc3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    /// First number.
    pub major: u16,
    /// Second number: with the first it names a series.
    pub minor: u16,
    /// Maintenance release within the series.
    pub patch: Option<u16>,
    /// Release candidate; only where there is no `patch`.
    pub rc: Option<u16>,
}

impl Release {
    /// Reads `major.minor`, `major.minor.patch` or `major.minor-rcN`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (numbers, rc) = match text.split_once("-rc") {
            Some((numbers, rc)) => (numbers, Some(number(rc)?)),
            None => (text, None),
        };
        let mut parts = numbers.split('.');
        let release = Self {
            major: number(parts.next()?)?,
            minor: number(parts.next()?)?,
            patch: parts
                .next()
                .map_or(Some(None), |part| number(part).map(Some))?,
            rc,
        };
        let whole = parts.next().is_none() && !(release.patch.is_some() && rc.is_some());
        whole.then_some(release)
    }

    /// Reads the release at the start of a longer name, such as `6.12.117` in `6.12.117-amd64+`.
    pub fn leading(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
        Self::parse(text.get(..end.unwrap_or(text.len()))?)
    }

    /// Reads what a kernel calls itself, such as `6.12.117-amd64` or `6.15.0-rc3+`: the release it was made from.
    pub fn of_kernel(version: &str) -> Option<Self> {
        let release = Self::leading(version)?;
        let rc = version.split_once("-rc").and_then(|(_, rest)| {
            let end = rest.find(|c: char| !c.is_ascii_digit());
            number(&rest[..end.unwrap_or(rest.len())])
        });
        Some(match rc {
            Some(_) => Self {
                patch: None,
                rc,
                ..release
            },
            // The first of a series calls itself `6.14.0`.
            None => Self {
                patch: Some(release.patch.unwrap_or(0)),
                ..release
            },
        })
    }

    /// Whether it lies between the two, which are included: all of a series that is named by its two numbers.
    pub fn is_within(&self, start: &Self, end: &Self) -> bool {
        let series = |release: &Self| (release.major, release.minor);
        // Candidates come before the first release.
        let order = |release: &Self| {
            let patch = release.patch.map_or(0, |patch| u32::from(patch) + 1);
            (series(release), patch, release.rc)
        };
        let is_after_start = if start.is_series() {
            series(self) >= series(start)
        } else {
            order(self) >= order(start)
        };
        let is_before_end = if end.is_series() {
            series(self) <= series(end)
        } else {
            order(self) <= order(end)
        };
        is_after_start && is_before_end
    }

    /// Whether this names a whole series (`6.14`) instead of one release.
    pub fn is_series(&self) -> bool {
        self.patch.is_none() && self.rc.is_none()
    }
}

/// Digits only: `u16::from_str` would also take a sign.
fn number(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        if let Some(patch) = self.patch {
            write!(f, ".{patch}")?;
        }
        if let Some(rc) = self.rc {
            write!(f, "-rc{rc}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_spells_releases() {
        for text in ["6.14", "6.14.2", "6.15-rc3", "7.0.14"] {
            assert_eq!(Release::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "6",
            "6.",
            "6.x",
            "6.14.2.1",
            "6.14.2-rc1",
            "+6.1",
            "6.1-rc",
            "99999.1",
        ] {
            assert_eq!(Release::parse(text), None, "{text}");
        }
        assert_eq!(
            Release::leading("6.12.117-amd64+"),
            Release::parse("6.12.117")
        );
        assert!(Release::parse("6.14").unwrap().is_series());
        for (version, release) in [
            ("6.12.117-amd64+", "6.12.117"),
            ("6.15.0-rc3+", "6.15-rc3"),
            ("6.15-rc3", "6.15-rc3"),
            ("6.14.0", "6.14.0"),
            ("6.14-local", "6.14.0"),
        ] {
            assert_eq!(Release::of_kernel(version), Release::parse(release));
        }
        assert_eq!(Release::of_kernel("linux"), None);
        assert!(Release::parse("6.9") < Release::parse("6.10.1"));
    }
}
