//! What a repository lists: tags and branches, and the commits they are at.

use std::path::Path;

use gix::ObjectId;
use gix::bstr::ByteSlice;
use gix::progress::Discard;
use gix::protocol::handshake::Ref;
use gix::protocol::ls_refs::RefPrefixes;
use gix::protocol::{LsRefsCommand, handshake, indicate_end_of_interaction};
use gix_transport::Service;

use super::meter::Meter;
use super::transport::{Line, connect};
use super::{GitError, Repository};
use crate::release::Release;
use crate::spec::GitRef;

/// A commit, and how to ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundCommit {
    /// 40 hexadecimal digits.
    pub(crate) commit: String,
    /// The whole name of the reference that was at it; `None` where it was asked for by its hash.
    pub(super) name: Option<String>,
    /// As it was asked for: `tag v6.14`.
    pub(super) asked: String,
}

/// A reference of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tip {
    /// Its whole name.
    name: String,
    /// What it is at; for an annotated tag, what that is of.
    at: ObjectId,
}

impl Tip {
    /// The release that a tag such as `refs/tags/v6.14.2` is of.
    pub(super) fn release(&self) -> Option<Release> {
        let version = self.name.strip_prefix("refs/tags/v")?;
        // Longer ones and odd ones (`v2.6.11-tree`, `v6.14-dontuse`) are none.
        let release = Release::parse(version)?;
        (release.to_string() == version).then_some(release)
    }
}

/// The commit that `reference` names.
pub(super) fn find(
    repository: &Repository<'_>,
    reference: &GitRef,
) -> Result<FoundCommit, GitError> {
    let (kind, namespace, short) = match reference {
        GitRef::Tag(name) => ("tag", "refs/tags/", name),
        GitRef::Branch(name) => ("branch", "refs/heads/", name),
        GitRef::Sha(sha) => return find_commit(repository, &sha.to_ascii_lowercase()),
    };
    let asked = format!("{kind} {short}");
    let name = format!("{namespace}{short}");
    let is_name = gix::validate::reference::name(name.as_str().into()).is_ok();
    let named = |tips: &[Tip]| tips.iter().find(|tip| tip.name == name).map(|tip| tip.at);
    let mut at = None;
    if is_name {
        at = named(&list(repository, &[&name])?);
    }
    let mut all = Vec::new();
    if at.is_none() {
        all = list(repository, &["refs/tags/", "refs/heads/"])?;
        at = named(&all);
    }
    if let Some(at) = at {
        return Ok(FoundCommit {
            commit: at.to_string(),
            name: Some(name),
            asked,
        });
    }
    Err(GitError::UnknownRef {
        url: repository.url().to_owned(),
        reference: crate::text::line(&asked),
        near: near(namespace, short, &all),
    })
}

fn find_commit(repository: &Repository<'_>, sha: &str) -> Result<FoundCommit, GitError> {
    let found = |commit| FoundCommit {
        asked: format!("commit {commit}"),
        commit,
        name: None,
    };
    if sha.len() == 40 {
        return Ok(found(sha.to_owned()));
    }
    let mut tips = list(repository, &["refs/tags/", "refs/heads/"])?;
    tips.retain(|tip| tip.at.to_string().starts_with(sha));
    tips.sort_by_key(|tip| tip.at);
    tips.dedup_by_key(|tip| tip.at);
    match tips.as_slice() {
        [] => Err(GitError::Abbreviated {
            url: repository.url().to_owned(),
            sha: sha.to_owned(),
        }),
        [tip] => Ok(FoundCommit {
            // Every server gives what it lists.
            name: Some(tip.name.clone()),
            ..found(tip.at.to_string())
        }),
        several => Err(GitError::Ambiguous {
            sha: sha.to_owned(),
            commits: several
                .iter()
                .take(4)
                .map(|tip| tip.at.to_string())
                .collect(),
        }),
    }
}

/// The references whose names start with one of `prefixes`. Servers may list others as well; they are left out.
pub(super) fn list(repository: &Repository<'_>, prefixes: &[&str]) -> Result<Vec<Tip>, GitError> {
    let limits = &repository.access.limits;
    let meter = Meter::new(limits.silence, limits.listing, limits.listing_size);
    let listed = connect(repository, &meter)
        .ok_or_else(String::new)
        .and_then(|line| listing(line, prefixes, &meter));
    let refs = listed.map_err(|why| meter.error(&repository.address, Path::new(""), why))?;
    let tips = refs.iter().filter_map(|listed| {
        let (name, at, peeled) = listed.unpack();
        // Names that are no UTF-8 cannot be asked for.
        let name = name.to_str().ok()?;
        let at = peeled.or(at)?.to_owned();
        let wanted = prefixes.iter().any(|prefix| name.starts_with(prefix));
        wanted.then(|| Tip {
            name: name.to_owned(),
            at,
        })
    });
    Ok(tips.collect())
}

fn listing(mut line: Line, prefixes: &[&str], meter: &Meter) -> Result<Vec<Ref>, String> {
    let agent = gix::protocol::agent(concat!("ktstr-", env!("CARGO_PKG_VERSION")));
    let mut greeting = handshake(
        &mut line,
        Service::UploadPack,
        |_| Ok(None),
        Vec::new(),
        &mut Discard,
    )
    .map_err(|error| meter.causes(&error))?;
    // Servers of the first version list everything at once.
    if let Some(refs) = greeting.refs.take() {
        whole(meter)?;
        let _ = indicate_end_of_interaction(&mut line, false);
        return Ok(refs);
    }
    let mut asked = RefPrefixes::new();
    asked.extend(prefixes.iter().map(|prefix| (*prefix).into()));
    let agent = ("agent", Some(agent));
    let command = LsRefsCommand::new(Some(asked), &greeting.capabilities, agent);
    meter.begins();
    let refs = command
        .invoke_blocking(&mut line, &mut Discard, false)
        .map_err(|error| meter.causes(&error))?;
    whole(meter)?;
    let _ = indicate_end_of_interaction(&mut line, false);
    Ok(refs)
}

/// Refuses a listing that just ends: what is missing would seem not to be there.
fn whole(meter: &Meter) -> Result<(), String> {
    if meter.is_at_end() {
        return Ok(());
    }
    Err("the listing ended too early".to_owned())
}

/// Up to four names in `all` that look like `short`, as one would write them.
fn near(namespace: &str, short: &str, all: &[Tip]) -> Vec<String> {
    let spelled = |tip: &Tip| {
        let tag = tip.name.strip_prefix("refs/tags/").map(|n| ("tag", n));
        let branch = || tip.name.strip_prefix("refs/heads/").map(|n| ("branch", n));
        tag.or_else(branch)
            .map(|(kind, name)| (kind, name.to_owned()))
    };
    let distance = |name: &str| {
        let pairs = short.chars().zip(name.chars());
        let shared = pairs.take_while(|(a, b)| a == b).count();
        let longer = short.chars().count().max(name.chars().count());
        longer - shared
    };
    let mut names: Vec<(usize, bool, &str, String)> = all
        .iter()
        .filter_map(|tip| {
            let (kind, name) = spelled(tip)?;
            let other = !tip.name.starts_with(namespace);
            // The same name as the other kind is the likeliest mistake.
            let distance = if name == short { 0 } else { distance(&name) };
            let alike = distance < short.chars().count() || name.contains(short);
            alike.then_some((distance, other, kind, name))
        })
        .collect();
    names.sort();
    names.truncate(4);
    names
        .into_iter()
        .map(|(_, _, kind, name)| crate::text::line(&format!("{kind} {name}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tip(name: &str) -> Tip {
        Tip {
            name: name.to_owned(),
            at: ObjectId::null(gix::hash::Kind::Sha1),
        }
    }

    #[test]
    fn only_plain_tags_are_releases() {
        let release = |name: &str| tip(name).release().map(|release| release.to_string());
        for (name, expected) in [
            ("refs/tags/v6.13.12", Some("6.13.12")),
            ("refs/tags/v6.14", Some("6.14")),
            ("refs/tags/v6.15-rc2", Some("6.15-rc2")),
            ("refs/tags/v2.6.11-tree", None),
            ("refs/tags/v2.6.12.3", None),
            ("refs/tags/v6.014", None),
            ("refs/tags/6.14", None),
            ("refs/heads/v6.14", None),
        ] {
            assert_eq!(release(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn names_that_look_alike_are_told() {
        let all = [
            "refs/tags/v6.14",
            "refs/tags/v6.14.1",
            "refs/tags/v5.4",
            "refs/heads/master",
            "refs/heads/v6.14",
        ]
        .map(tip);
        assert_eq!(
            near("refs/tags/", "v6.14.2", &all),
            ["tag v6.14.1", "tag v6.14", "branch v6.14", "tag v5.4"]
        );
        assert_eq!(near("refs/tags/", "master", &all), ["branch master"]);
        assert_eq!(near("refs/heads/", "zzz", &all), [""; 0]);
    }

    proptest! {
        #[test]
        fn any_names_are_compared(short in ".{1,12}", names in proptest::collection::vec("refs/(tags|heads)/.{0,12}", 0..8)) {
            let all: Vec<Tip> = names.iter().map(|name| tip(name)).collect();
            let near = near("refs/tags/", &short, &all);
            prop_assert!(near.len() <= 4);
            prop_assert!(near.iter().all(|name| !name.contains(char::is_control)));
            for tip in all {
                if let Some(release) = tip.release() {
                    prop_assert_eq!(tip.name, format!("refs/tags/v{release}"));
                }
            }
        }
    }
}
