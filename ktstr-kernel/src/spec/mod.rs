//! Kernel identifiers: what a user writes to name a kernel.

mod meant;
mod parse;
mod secret;

use std::fmt;
use std::path::PathBuf;

use crate::key::CacheKey;
use crate::release::Release;
use crate::text::line;

pub(crate) use self::secret::without_secret;

/// A parsed kernel identifier. Parsing looks at neither disk nor network.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KernelSpec {
    /// Something on disk: a source tree, a source tarball or an image, told apart by its content.
    Path(PathBuf),
    /// An entry of the kernel cache.
    CacheKey(CacheKey),
    /// One release, such as `6.14.2`.
    Version(Release),
    /// The newest release of a series, such as `6.14`.
    Series(Release),
    /// The release that is the newest of its kind, such as `stable`.
    Newest(Newest),
    /// Every release from one to another, both included.
    Range {
        /// The oldest.
        start: Release,
        /// The newest.
        end: Release,
    },
    /// A commit of a git repository.
    Git {
        /// Where the repository is, without the `git+`.
        url: String,
        /// Which commit.
        reference: GitRef,
    },
}

/// Which release is wanted where none is named: kernel.org says which that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newest {
    /// The newest release that is not a candidate; also spelled `latest`.
    Stable,
    /// The newest of Linus' tree: a release candidate, or the release where no candidate followed yet.
    Mainline,
    /// The newest of the series that are maintained for years.
    Longterm,
}

/// Names a commit of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GitRef {
    /// A tag.
    Tag(String),
    /// The tip of a branch.
    Branch(String),
    /// A commit hash, 7 to 40 hexadecimal digits.
    Sha(String),
}

/// Why a text is not a kernel identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// It is empty.
    #[error(
        "the kernel identifier is empty; give a source tree (../linux), a source tarball, an image or a cache key"
    )]
    Empty,
    /// The home directory that `~` stands for is unknown.
    #[error(
        "`{}`: `~` cannot be expanded ({why}); write the whole path",
        line(text)
    )]
    Home {
        /// The identifier.
        text: String,
        /// Why not.
        why: &'static str,
    },
    /// It is a range whose ends are not releases, or that ends before it starts.
    #[error(
        "`{}`: {why}; write a range of releases, such as 6.12..6.14",
        line(text)
    )]
    Range {
        /// The identifier.
        text: String,
        /// What is wrong.
        why: &'static str,
    },
    /// It is an incomplete git source.
    #[error("`{}`: {why}; write {}", shown(text), shown(instead))]
    Git {
        /// The identifier.
        text: String,
        /// What is wrong.
        why: &'static str,
        /// The form that works.
        instead: String,
    },
    /// It is a relative path without a leading `./`, or has characters that no cache key has.
    #[error(
        "`{0}` is not a kernel identifier: {why}; for a path write ./{0}",
        shown(text)
    )]
    NotAKey {
        /// The identifier.
        text: String,
        /// What is wrong.
        why: &'static str,
    },
    /// It names a kernel in a form that is not used here, such as a URL of a tarball.
    #[error(
        "`{}` is not a kernel identifier: {why}; write {}",
        shown(text),
        line(instead)
    )]
    Instead {
        /// The identifier.
        text: String,
        /// What is wrong.
        why: &'static str,
        /// What was probably meant, as it is written here.
        instead: String,
    },
}

/// An identifier in a message: one line, without passwords.
fn shown(text: &str) -> String {
    line(&without_secret(text))
}

impl KernelSpec {
    /// Whether a kernel whose `uname -r` is `version` is one of the releases that this names. An identifier that names
    /// no releases admits none.
    pub fn admits_release(&self, version: &str) -> bool {
        Release::of_kernel(version).is_some_and(|release| self.admits(&release))
    }

    /// Whether `release`, which is not a series, is among those that this names.
    pub(crate) fn admits(&self, release: &Release) -> bool {
        match self {
            Self::Version(named) | Self::Series(named) => release.is_within(named, named),
            Self::Range { start, end } => release.is_within(start, end),
            // Which release that is changes with time: it takes the network to know.
            Self::Newest(_) | Self::Path(_) | Self::CacheKey(_) | Self::Git { .. } => false,
        }
    }
}

impl fmt::Display for Newest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stable => "stable",
            Self::Mainline => "mainline",
            Self::Longterm => "longterm",
        })
    }
}

impl fmt::Display for GitRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(name) => write!(f, "tag={name}"),
            Self::Branch(name) => write!(f, "branch={name}"),
            Self::Sha(name) => write!(f, "sha={name}"),
        }
    }
}

impl fmt::Display for KernelSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::CacheKey(key) => write!(f, "{key}"),
            Self::Version(release) | Self::Series(release) => write!(f, "{release}"),
            Self::Newest(newest) => write!(f, "{newest}"),
            Self::Range { start, end } => write!(f, "{start}..{end}"),
            Self::Git { url, reference } => write!(f, "git+{url}#{reference}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use ktstr_core::host::Host;

    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<KernelSpec, SpecError> {
        KernelSpec::parse(text, &Host::default().with_vars([("HOME", "/home/me")]))
    }

    #[test]
    fn each_form_has_its_variant() {
        let path = |text: &str| Ok(KernelSpec::Path(text.into()));
        assert_eq!(parse("../linux"), path("../linux"));
        assert_eq!(parse("."), path("."));
        assert_eq!(parse("/src/linux.tar.xz"), path("/src/linux.tar.xz"));
        assert_eq!(parse("~/linux"), path("/home/me/linux"));
        assert_eq!(parse("~"), path("/home/me/"));
        assert!(matches!(parse("6.14.2"), Ok(KernelSpec::Version(_))));
        assert!(matches!(parse("6.15-rc1"), Ok(KernelSpec::Version(_))));
        assert!(matches!(parse("6.14"), Ok(KernelSpec::Series(_))));
        assert!(matches!(parse("6.12..6.14"), Ok(KernelSpec::Range { .. })));
        assert!(matches!(
            parse("6.12.9..6.12"),
            Ok(KernelSpec::Range { .. })
        ));
        for (text, newest) in [
            ("stable", Newest::Stable),
            ("latest", Newest::Stable),
            ("mainline", Newest::Mainline),
            ("longterm", Newest::Longterm),
        ] {
            assert_eq!(parse(text), Ok(KernelSpec::Newest(newest)));
        }
        let key = "6.14.2-tarball-x86_64-kcabd40422";
        assert!(matches!(parse(key), Ok(KernelSpec::CacheKey(k)) if k.as_str() == key));
        assert!(matches!(parse("linux"), Ok(KernelSpec::CacheKey(_))));
        assert_eq!(
            parse("git+https://example.com/r.git#tag=v6.14"),
            Ok(KernelSpec::Git {
                url: "https://example.com/r.git".into(),
                reference: GitRef::Tag("v6.14".into())
            })
        );
    }

    #[test]
    fn releases_are_compared_with_kernels() {
        for (text, version, admitted) in [
            ("6.12", "6.12.117-amd64", true),
            ("6.12", "6.13.1", false),
            ("6.12", "6.12.0-rc2", true),
            ("6.12.3", "6.12.3+", true),
            ("6.12.3", "6.12.30", false),
            ("6.15-rc2", "6.15.0-rc2", true),
            ("6.15-rc2", "6.15.0", false),
            ("6.12..6.14", "6.14.9", true),
            ("6.12..6.14", "6.12.0-rc1", true),
            ("6.12..6.14", "6.15.0-rc1", false),
            ("6.12.3..6.14.2", "6.12.2", false),
            ("6.12.3..6.14.2", "6.14.2", true),
            ("6.12.3..6.14.2", "6.14.3", false),
            ("6.15-rc2..6.15.1", "6.15.0-rc1", false),
            ("6.15-rc2..6.15.1", "6.15.0", true),
            ("6.12", "next-20260101", false),
            ("./linux", "6.12.1", false),
        ] {
            let spec = parse(text).unwrap();
            assert_eq!(spec.admits_release(version), admitted, "{text} {version}");
        }
    }

    #[test]
    fn what_is_mutated_is_valid_before() {
        for text in VALID {
            parse(text).unwrap();
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        for (text, part) in [
            ("", "empty"),
            ("~root/linux", "other users"),
            ("6.14..6.12", "ends before"),
            ("6.14..", "the end is not a release"),
            ("a..b", "the start is not a release"),
            (
                "git+https://x/y.git",
                "no commit; write git+https://x/y.git#tag=",
            ),
            (
                "git+me@x:y.git#tag=a",
                "address; write git+ssh://me@x/y.git#",
            ),
            ("git+/x/y#tag=a", "address; write git+file:///x/y#tag="),
            ("git+https://x/y.git#v6", "tag="),
            ("git+https://x/y.git#sha=xyz", "hexadecimal"),
            ("git+https://x/y.git#branch=-o", "usable name"),
            ("git+/tmp/x#tag=a", "repository address"),
            ("arch/x86/boot/bzImage", "./arch/x86/boot/bzImage"),
            ("a b", "write ./a b"),
            (".hidden", "./.hidden"),
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
            assert!(!message.contains('\n'), "{message}");
        }
        let homeless = KernelSpec::parse("~/linux", &Host::default()).unwrap_err();
        assert!(homeless.to_string().contains("HOME is not set"));
    }

    /// Identifiers of every kind, to be mutated.
    const VALID: &[&str] = &[
        "../linux",
        "~/src/linux-6.14.2.tar.xz",
        "6.14.2",
        "6.15-rc3",
        "6.14",
        "6.12..6.14",
        "6.12.9..6.15-rc1",
        "stable",
        "longterm",
        "git+https://example.com/r.git#tag=v6.14",
        "git+ssh://git@example.com/r.git#branch=for-next",
        "git+https://example.com/r.git#sha=38fec10eb60d687e30c8c6b5420d86e8149f7557",
        "6.14.2-tarball-x86_64-kcabd40422-xkc0123abcd",
        "local-b4dc42d-x86_64-cfg1982ad42-kcabd40422",
    ];

    /// Takes it, so that it is read back as it is written, or refuses it in a line.
    fn check(text: &str) -> Result<(), TestCaseError> {
        match parse(text) {
            Ok(spec) => {
                let _ = spec.admits_release("6.14.2");
                let written = spec.to_string();
                // A home directory is expanded once.
                if !text.trim().starts_with('~') {
                    prop_assert_eq!(parse(&written), Ok(spec));
                }
            }
            Err(error) => {
                let message = error.to_string();
                prop_assert!(!message.chars().any(char::is_control), "{:?}", message);
                prop_assert!(message.len() < 4000, "{} bytes", message.len());
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn any_text_is_taken_or_refused_in_a_line(
            text in "(?s:.{0,60})",
            words in "(git\\+|https://|ssh:|#tag=|#sha=|#branch=|\\.\\.|[0-9]{1,6}|[./~#+=@ -]|rc|\n|kc){0,9}",
            long in 0..300usize,
        ) {
            check(&text)?;
            check(&words)?;
            check(&format!("{words}{}", "a/".repeat(long)))?;
        }

        #[test]
        fn mutated_identifiers_are_taken_or_refused_in_a_line(
            which in 0..VALID.len(),
            at in 0..90usize,
            cut in 0..9usize,
            noise in prop_oneof!["(?s:.{0,4})", "[0-9.]{0,5}", "[#=+:/~ -]{0,3}"],
        ) {
            let mut text: Vec<char> = VALID[which].chars().collect();
            let at = at % text.len();
            let end = (at + cut).min(text.len());
            text.splice(at..end, noise.chars());
            check(&text.into_iter().collect::<String>())?;
        }

        #[test]
        fn what_is_spelled_is_read_back(text in "(git\\+(https|ssh)://[a-z/.]{1,9}#(tag|branch)=[a-z0-9.]{1,9})|[0-9]{1,2}\\.[0-9]{1,3}(\\.[0-9]{1,3}|-rc[0-9])?|(\\./|/|\\.\\./)[a-z./]{0,20}|[a-z0-9][a-z0-9._+-]{0,20}") {
            if let Ok(spec) = parse(&text) {
                prop_assert_eq!(parse(&spec.to_string()), Ok(spec));
            }
        }
    }
}
