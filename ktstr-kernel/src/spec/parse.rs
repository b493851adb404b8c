//! Parsing identifiers.

use std::ffi::OsString;
use std::path::PathBuf;

use ktstr_core::host::Host;

use super::meant::{Meant, meant, meant_range, ssh_address};
use super::{GitRef, KernelSpec, Newest, SpecError};
use crate::key::CacheKey;
use crate::release::Release;

impl KernelSpec {
    /// Parses an identifier. Paths start with `./`, `../`, `/` or `~`; a bare name is a cache key.
    ///
    /// `~` is the `HOME` of `host`.
    pub fn parse(text: &str, host: &Host) -> Result<Self, SpecError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(SpecError::Empty);
        }
        if let Some(rest) = text.strip_prefix('~') {
            return Ok(Self::Path(expand_home(text, rest, host.var("HOME"))?));
        }
        let is_path = text.starts_with('/')
            || [".", ".."].contains(&text)
            || text.starts_with("./")
            || text.starts_with("../");
        if is_path {
            return Ok(Self::Path(PathBuf::from(text)));
        }
        if let Some(git) = text.strip_prefix("git+") {
            return parse_git(text, git);
        }
        let instead = |meant: Meant| SpecError::Instead {
            text: text.to_owned(),
            why: meant.why,
            instead: meant.instead,
        };
        if let Some((start, end)) = text.split_once("..")
            && !text.contains("://")
        {
            return parse_range(text, start, end).map_err(|error| {
                let meant = meant_range(start, end);
                // Ends that are releases already are wrong in another way.
                let meant = meant.filter(|meant| meant.instead != text);
                meant.map_or(error, instead)
            });
        }
        if let Some(newest) = Newest::parse(text) {
            return Ok(Self::Newest(newest));
        }
        if let Some(release) = Release::parse(text) {
            return Ok(if release.is_series() {
                Self::Series(release)
            } else {
                Self::Version(release)
            });
        }
        if let Some(meant) = meant(text) {
            return Err(instead(meant));
        }
        match CacheKey::parse(text) {
            Ok(key) => Ok(Self::CacheKey(key)),
            Err(error) => Err(SpecError::NotAKey {
                text: text.to_owned(),
                why: if text.contains('/') {
                    "a relative path starts with ./ or ../"
                } else {
                    error.why
                },
            }),
        }
    }
}

impl Newest {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "stable" | "latest" => Some(Self::Stable),
            "mainline" => Some(Self::Mainline),
            "longterm" => Some(Self::Longterm),
            _ => None,
        }
    }
}

fn expand_home(text: &str, rest: &str, home: Option<OsString>) -> Result<PathBuf, SpecError> {
    let error = |why| SpecError::Home {
        text: text.to_owned(),
        why,
    };
    if !rest.is_empty() && !rest.starts_with('/') {
        return Err(error("homes of other users are not looked up"));
    }
    let home = home.filter(|home| !home.is_empty());
    let home = home.ok_or_else(|| error("HOME is not set"))?;
    Ok(PathBuf::from(home).join(rest.trim_start_matches('/')))
}

fn parse_range(text: &str, start: &str, end: &str) -> Result<KernelSpec, SpecError> {
    let error = |why| SpecError::Range {
        text: text.to_owned(),
        why,
    };
    let start = Release::parse(start).ok_or_else(|| error("the start is not a release"))?;
    let end = Release::parse(end).ok_or_else(|| error("the end is not a release"))?;
    // The end of a series lies behind each of its releases.
    let series = |release: Release| (release.major, release.minor);
    let backwards = series(end) < series(start) || (!end.is_series() && end < start);
    if backwards {
        return Err(error("it ends before it starts"));
    }
    Ok(KernelSpec::Range { start, end })
}

fn parse_git(text: &str, git: &str) -> Result<KernelSpec, SpecError> {
    let (url, fragment) = git.split_at(git.rfind('#').unwrap_or(git.len()));
    let schemes = ["https://", "http://", "git://", "ssh://", "file://"];
    let rest = schemes.iter().find_map(|scheme| url.strip_prefix(scheme));
    let has_address = rest.is_some_and(|rest| !rest.is_empty());
    let address = if has_address {
        Some(url.to_owned())
    } else if url.starts_with('/') {
        Some(format!("file://{url}"))
    } else {
        ssh_address(url)
    };
    let address = address.unwrap_or_else(|| "https://host/repository.git".to_owned());
    let error = |why| SpecError::Git {
        text: text.to_owned(),
        why,
        instead: format!("git+{address}#tag=v6.14 (or #branch=, #sha=)"),
    };
    let reference = fragment
        .strip_prefix('#')
        .ok_or_else(|| error("it names no commit"))?;
    if !has_address {
        return Err(error("it has no repository address"));
    }
    let (kind, name) = reference
        .split_once('=')
        .ok_or_else(|| error("what follows # is not tag=, branch= or sha="))?;
    // Git itself would take a leading dash for an option.
    if name.is_empty() || name.starts_with('-') || name.contains(char::is_whitespace) {
        return Err(error("the commit has no usable name"));
    }
    let name = name.to_owned();
    let hex = (7..=40).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_hexdigit());
    let reference = match kind {
        "tag" => GitRef::Tag(name),
        "branch" => GitRef::Branch(name),
        "sha" if hex => GitRef::Sha(name),
        "sha" => return Err(error("a commit hash has 7 to 40 hexadecimal digits")),
        _ => return Err(error("what follows # is not tag=, branch= or sha=")),
    };
    Ok(KernelSpec::Git {
        url: url.to_owned(),
        reference,
    })
}
