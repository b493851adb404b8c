//! Suggestions for texts that are almost kernel identifiers.

use super::Newest;
use crate::release::Release;

/// Why a text is not an identifier, and what was probably meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meant {
    pub(crate) why: &'static str,
    pub(crate) instead: String,
}

/// What `text` was probably meant to be; `None` for anything that may be an identifier.
pub(crate) fn meant(text: &str) -> Option<Meant> {
    address(text)
        .or_else(|| file_name(text))
        .or_else(|| several(text))
        .or_else(|| release(text))
        .or_else(|| word(text))
}

/// What a range was probably meant to be.
pub(crate) fn meant_range(start: &str, end: &str) -> Option<Meant> {
    // As other languages write ranges: `a...b`, `a..=b`.
    let end = end.trim_start_matches(['.', '=']);
    let (start, end) = (relaxed(start)?, relaxed(end)?);
    Some(Meant {
        why: "both ends of a range are plain releases",
        instead: format!("{start}..{end}"),
    })
}

const REFERENCES: [&str; 3] = ["#tag=", "#branch=", "#sha="];

/// Addresses as browsers and git have them.
fn address(text: &str) -> Option<Meant> {
    let has_reference = REFERENCES.iter().any(|sign| text.contains(sign));
    let git = |address: &str| {
        let address = address.trim_end_matches('/');
        Meant {
            why: "a git repository starts with git+ and names a commit",
            instead: if has_reference {
                format!("git+{address}")
            } else {
                let address = address.split(['#', '?']).next().unwrap_or_default();
                format!("git+{address}#tag=v6.14 (or #branch=, #sha=)")
            },
        }
    };
    let Some((scheme, rest)) = text.split_once("://") else {
        return ssh_address(text).map(|address| git(&address));
    };
    let scheme = scheme.to_ascii_lowercase();
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = path.split(['#', '?']).next().unwrap_or_default();
    let end = path.trim_end_matches('/').rsplit_once('.');
    let is_git = end.is_some_and(|(_, end)| end == "git");
    let name = path.rsplit('/').next().unwrap_or_default();
    match scheme.as_str() {
        "file" if has_reference => Some(git(&format!("file://{path}"))),
        "file" => Some(Meant {
            why: "a path is written without file://",
            instead: if is_git {
                format!("git+file://{path}#branch=master for a commit of that repository")
            } else if path.is_empty() {
                "the whole path, /src/linux".to_owned()
            } else {
                path.to_owned()
            },
        }),
        "http" | "https" | "ftp" if is_packed(name) => Some(Meant {
            why: "a release is named by its number, and other files are not downloaded",
            instead: match packed_release(name) {
                Some(release) => format!("{release} (or download the file and write ./{name})"),
                None => format!("./{name} after downloading it"),
            },
        }),
        "ssh" | "git" => Some(git(&format!("{scheme}://{host}{path}{}", fragment(text)))),
        "http" | "https" if is_git || has_reference || HOSTS.contains(&plain_host(host)) => {
            // A login in an address is refused anyway.
            let host = host.rsplit('@').next().unwrap_or_default();
            Some(git(&format!("{scheme}://{host}{path}{}", fragment(text))))
        }
        _ => Some(Meant {
            why: "addresses other than those of git repositories are not read",
            instead: "git+https://host/repository.git#tag=v6.14, or the path of a file that you downloaded"
                .to_owned(),
        }),
    }
}

/// Where repositories are that kernels come from; their addresses need not end in `.git`.
const HOSTS: &[&str] = &["github.com", "gitlab.com", "git.kernel.org", "codeberg.org"];

fn plain_host(host: &str) -> &str {
    host.rsplit('@').next().unwrap_or(host)
}

fn fragment(text: &str) -> &str {
    text.find('#').map_or("", |at| &text[at..])
}

/// `git@host:path`, as git takes it, in the form of an address.
pub(crate) fn ssh_address(text: &str) -> Option<String> {
    let (host, path) = text.split_once(':')?;
    let (_, domain) = host.rsplit_once('@')?;
    let is_host = !domain.is_empty()
        && domain
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b));
    let path = path.trim_start_matches('/');
    (is_host && !path.is_empty()).then(|| format!("ssh://{host}/{path}"))
}

const PACKED: [&str; 6] = [".tar.xz", ".tar.gz", ".tar.zst", ".tar.bz2", ".tgz", ".tar"];

fn is_packed(name: &str) -> bool {
    PACKED.iter().any(|end| name.ends_with(end))
}

/// The release that `linux-6.12.tar.xz` is of; there 6.12 is the first of its series.
fn packed_release(name: &str) -> Option<Release> {
    let stem = PACKED.iter().find_map(|end| name.strip_suffix(end))?;
    let mut release = Release::parse(stem.strip_prefix("linux-")?)?;
    if release.is_series() {
        release.patch = Some(0);
    }
    Some(release)
}

/// The name of an archive without its directory.
fn file_name(text: &str) -> Option<Meant> {
    let is_name = is_packed(text) && !text.contains(['/', ':']);
    is_name.then(|| Meant {
        why: "the path of a file here starts with ./",
        instead: match packed_release(text) {
            Some(release) => format!("./{text}, or {release} for the release"),
            None => format!("./{text}"),
        },
    })
}

/// `6.12-6.14`, `6.12,6.13`
fn several(text: &str) -> Option<Meant> {
    let pair = |separator: &str| {
        let (start, end) = text.split_once(separator)?;
        let parse = |text: &str| Release::parse(text.trim());
        Some((parse(start)?, parse(end)?))
    };
    let range = ["-", ":", "–"].iter().find_map(|separator| pair(separator));
    if let Some((start, end)) = range.filter(|_| Release::parse(text).is_none()) {
        return Some(Meant {
            why: "a range has two dots",
            instead: format!("{start}..{end}"),
        });
    }
    let (first, second) = pair(",").or_else(|| pair(" "))?;
    Some(Meant {
        why: "it names several kernels",
        instead: format!("{first} and {second}, each by itself"),
    })
}

/// `v6.14`, `linux-6.12.y`, `6.12.x`, `6.15.0-rc3`, `6`
fn release(text: &str) -> Option<Meant> {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let major = text.trim_start_matches(['v', 'V']).trim_end_matches(".x");
    if number(major) && major.len() <= 2 {
        return Some(Meant {
            why: "a series has two numbers",
            instead: format!("a series such as {major}.1, or a range such as {major}.0..{major}.9"),
        });
    }
    let release = relaxed(text)?;
    let why = if is_wild(text) {
        "a series is named by its two numbers and stands for its newest release"
    } else if text.contains("-rc") && text.starts_with(|c: char| c.is_ascii_digit()) {
        "the candidates of a series are named as kernel.org names them"
    } else {
        "a release is named by its number alone"
    };
    let instead = if text.starts_with("linux-") && !is_wild(text) {
        format!("{release}, or ./{text} for a directory here")
    } else {
        release.to_string()
    };
    Some(Meant { why, instead })
}

/// What stands for the last number of a release.
const WILD: [&str; 4] = [".x", ".y", ".*", ".X"];

fn is_wild(text: &str) -> bool {
    WILD.iter().any(|end| text.ends_with(end))
}

/// A release in the dress that tags, branches and directories give it.
fn relaxed(text: &str) -> Option<Release> {
    let text = text.trim();
    let bare = text
        .strip_prefix("linux-")
        .or_else(|| text.strip_prefix("Linux "))
        .unwrap_or(text);
    let bare = bare.strip_prefix(['v', 'V']).unwrap_or(bare);
    let wild = WILD.iter().find_map(|end| bare.strip_suffix(end));
    if let Some(series) = wild.and_then(Release::parse) {
        return series.is_series().then_some(series);
    }
    let first = bare.replacen(".0-rc", "-rc", 1);
    Release::parse(bare).or_else(|| Release::parse(&first))
}

/// Names that others use.
fn word(text: &str) -> Option<Meant> {
    const NEXT: &str = "git+https://git.kernel.org/pub/scm/linux/kernel/git/next/linux-next.git";
    let lower = text.to_ascii_lowercase();
    let day = lower.strip_prefix("next-").filter(|day| {
        let digits = day.bytes().all(|b| b.is_ascii_digit());
        day.len() == 8 && digits
    });
    let next = "linux-next is not released; it is a git repository";
    if let Some(day) = day {
        return Some(Meant {
            why: next,
            instead: format!("{NEXT}#tag=next-{day}"),
        });
    }
    let newest = |newest: Newest| Meant {
        why: "it is called otherwise here",
        instead: newest.to_string(),
    };
    match lower.as_str() {
        "next" | "linux-next" => Some(Meant {
            why: next,
            instead: format!("{NEXT}#branch=master"),
        }),
        "lts" | "longterm" => Some(newest(Newest::Longterm)),
        "master" | "main" | "head" | "torvalds" | "mainline" => Some(newest(Newest::Mainline)),
        "newest" | "current" | "stable" | "latest" => Some(newest(Newest::Stable)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use ktstr_core::host::Host;

    use super::*;
    use crate::spec::KernelSpec;
    use crate::spec::without_secret;
    use proptest::prelude::*;

    #[test]
    fn each_mistake_has_its_answer() {
        const GIT: &str = "#tag=v6.14 (or #branch=, #sha=)";
        for (text, instead) in [
            ("v6.14", "6.14".to_owned()),
            ("v6.14.2", "6.14.2".into()),
            ("v6.15-rc3", "6.15-rc3".into()),
            ("6.15.0-rc3", "6.15-rc3".into()),
            ("6.12.x", "6.12".into()),
            ("6.12.*", "6.12".into()),
            ("linux-6.12.y", "6.12".into()),
            (
                "linux-6.12",
                "6.12, or ./linux-6.12 for a directory here".into(),
            ),
            (
                "6",
                "a series such as 6.1, or a range such as 6.0..6.9".into(),
            ),
            ("6.12-6.14", "6.12..6.14".into()),
            ("v6.12..v6.14", "6.12..6.14".into()),
            ("6.12...6.14", "6.12..6.14".into()),
            ("6.12..=6.14.x", "6.12..6.14".into()),
            ("6.12,6.14.1", "6.12 and 6.14.1, each by itself".into()),
            ("Latest", "stable".into()),
            ("lts", "longterm".into()),
            ("master", "mainline".into()),
            (
                "linux-6.12.tar.xz",
                "./linux-6.12.tar.xz, or 6.12.0 for the release".into(),
            ),
            ("sources.tar.gz", "./sources.tar.gz".into()),
            (
                "next-20260101",
                "git+https://git.kernel.org/pub/scm/linux/kernel/git/next/linux-next.git#tag=next-20260101".into(),
            ),
            (
                "https://cdn.kernel.org/pub/linux/kernel/v6.x/linux-6.12.tar.xz",
                "6.12.0 (or download the file and write ./linux-6.12.tar.xz)".into(),
            ),
            (
                "https://git.kernel.org/torvalds/t/linux-6.15-rc3.tar.gz?x=y",
                "6.15-rc3 (or download the file and write ./linux-6.15-rc3.tar.gz)".into(),
            ),
            (
                "http://h/a/mine.tar.gz",
                "./mine.tar.gz after downloading it".into(),
            ),
            ("file:///src/linux", "/src/linux".into()),
            (
                "file:///srv/linux.git",
                "git+file:///srv/linux.git#branch=master for a commit of that repository".into(),
            ),
            (
                "https://github.com/me/linux",
                format!("git+https://github.com/me/linux{GIT}"),
            ),
            ("https://h/linux.git/", format!("git+https://h/linux.git{GIT}")),
            (
                "https://h/linux.git#tag=v6.1",
                "git+https://h/linux.git#tag=v6.1".into(),
            ),
            ("ssh://me@h/linux", format!("git+ssh://me@h/linux{GIT}")),
            (
                "git@github.com:me/linux.git",
                format!("git+ssh://git@github.com/me/linux.git{GIT}"),
            ),
            (
                "git@h:linux#branch=b",
                "git+ssh://git@h/linux#branch=b".into(),
            ),
            (
                "https://me:secret@h/linux.git",
                format!("git+https://h/linux.git{GIT}"),
            ),
        ] {
            let error = KernelSpec::parse(text, &Host::default()).unwrap_err().to_string();
            assert!(error.ends_with(&format!("; write {instead}")), "{error}");
            assert!(error.contains("is not a kernel identifier: "), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn keys_and_names_of_releases_are_left_alone() {
        for text in [
            "6.14",
            "6.14.2",
            "6.15-rc3",
            "6.12..6.14",
            "stable",
            "latest",
            "mainline",
            "longterm",
            "linux",
            "bzImage",
            "6.14.2-tarball-x86_64-kcabd40422",
            "local-b4dc42d-x86_64-cfg1982ad42-kcabd40422",
            "git-b4dc42d-x86_64-lean-kcabd40422",
        ] {
            KernelSpec::parse(text, &Host::default()).unwrap();
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        for (text, shown) in [
            ("https://me:secret@h/x", "https://…@h/x"),
            ("git+https://token@h/x#tag=a@b", "git+https://…@h/x#tag=a@b"),
            ("git+ssh://git@h/x", "git+ssh://git@h/x"),
            ("ssh://me:secret@h/x", "ssh://…@h/x"),
            ("https://h/x@y", "https://h/x@y"),
            ("a@b:c", "a@b:c"),
        ] {
            assert_eq!(without_secret(text), shown);
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(
            text in "(https?|file|git|ssh)?(://)?[a-z0-9@:/#=.*,v-]{0,30}(\\.git|\\.tar\\.xz|\\.x|-rc1)?",
            odd in "(?s:.{0,20})",
        ) {
            for text in [&text, &odd] {
                let _ = (meant(text), meant_range(text, text), without_secret(text));
            }
        }

        /// What is advised works, where it is one word.
        #[test]
        fn advice_is_an_identifier(text in "(v|linux-|linux-v)?[0-9]{1,2}\\.[0-9]{1,2}(\\.[0-9]{1,2}|\\.[xy*])?") {
            if let Some(Meant { instead, .. }) = meant(&text) {
                let first = instead.split(", or ").next().unwrap();
                prop_assert!(KernelSpec::parse(first, &Host::default()).is_ok(), "{} {}", text, instead);
            }
        }
    }
}
