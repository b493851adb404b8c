//! Where repositories are.

use gix::url::Scheme;

use super::GitError;
use crate::spec::without_secret;
use crate::text::line;

const NO_SCHEME: &str = "it is not an https://, http://, git://, ssh:// or file:// address";

/// An address that can be connected to.
#[derive(Debug, Clone)]
pub(super) struct Address {
    text: String,
    url: gix::Url,
}

/// What an address leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint<'a> {
    /// A directory of this machine.
    Local,
    /// A git daemon.
    Daemon { host: &'a str, port: Option<u16> },
    /// An account on another machine.
    Ssh {
        user: Option<&'a str>,
        host: &'a str,
        port: Option<u16>,
    },
    /// A web server; whether by TLS.
    Web { tls: bool },
}

impl Address {
    /// Reads `https://`, `http://`, `git://`, `ssh://` and `file://`.
    pub(super) fn parse(text: &str) -> Result<Self, GitError> {
        let error = |why| GitError::Address {
            // With its password it would be in every log.
            url: line(&without_secret(text)),
            why,
        };
        if text.len() > 2048 || text.bytes().any(|b| b.is_ascii_control()) {
            return Err(error("it is too long, or has control characters in it"));
        }
        // Git also reads `host:path`, and paths.
        if !text.contains("://") {
            return Err(error(NO_SCHEME));
        }
        let url = gix::url::parse(text.as_bytes()).map_err(|_| error("it cannot be read"))?;
        if url.password().is_some() {
            return Err(error(
                "a password in it would show in listings and logs; use ssh://, or an address that needs none",
            ));
        }
        if url.path.is_empty() || url.path_is_root() {
            return Err(error("it names no repository"));
        }
        let address = Self {
            text: text.to_owned(),
            url,
        };
        address.checked_endpoint().map_err(error)?;
        Ok(address)
    }

    /// As it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn url(&self) -> &gix::Url {
        &self.url
    }

    pub(super) fn path(&self) -> &[u8] {
        &self.url.path
    }

    /// The last part of its path: what a person calls the repository.
    pub(super) fn name(&self) -> String {
        let path = String::from_utf8_lossy(self.path()).into_owned();
        let path = path.trim_end_matches('/');
        path.rsplit('/').next().unwrap_or(path).to_owned()
    }

    pub(super) fn endpoint(&self) -> Endpoint<'_> {
        self.checked_endpoint()
            .unwrap_or(Endpoint::Web { tls: true })
    }

    fn checked_endpoint(&self) -> Result<Endpoint<'_>, &'static str> {
        let url = &self.url;
        let host = || match url.host() {
            None | Some("") => Err("it names no host"),
            // Programs would take it for an option.
            Some(host) if host.starts_with('-') => Err("its host starts with a dash"),
            Some(host) => Ok(host),
        };
        let port = url.port;
        match url.scheme {
            Scheme::File => {
                // Git reads `file://host/path` as `/path`.
                if url.host().is_some() || !url.path.starts_with(b"/") {
                    return Err("write file:/// and a whole path");
                }
                Ok(Endpoint::Local)
            }
            Scheme::Git => Ok(Endpoint::Daemon {
                host: host()?,
                port,
            }),
            Scheme::Ssh => {
                let user = url.user();
                if user.is_some_and(|user| user.starts_with('-')) {
                    return Err("its user starts with a dash");
                }
                let host = host()?;
                Ok(Endpoint::Ssh { user, host, port })
            }
            Scheme::Http => host().map(|_| Endpoint::Web { tls: false }),
            Scheme::Https => host().map(|_| Endpoint::Web { tls: true }),
            _ => Err(NO_SCHEME),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_scheme_leads_somewhere() {
        let place = |text: &str| format!("{:?}", Address::parse(text).unwrap().endpoint());
        assert_eq!(place("file:///srv/linux.git"), "Local");
        assert_eq!(
            place("git://h:9419/linux"),
            "Daemon { host: \"h\", port: Some(9419) }"
        );
        assert_eq!(
            place("ssh://me@h/~/linux"),
            "Ssh { user: Some(\"me\"), host: \"h\", port: None }"
        );
        assert_eq!(place("https://h/a/linux.git/"), "Web { tls: true }");
        assert_eq!(
            Address::parse("https://h/a/linux.git/").unwrap().name(),
            "linux.git"
        );
    }

    #[test]
    fn what_cannot_be_an_address_is_refused_without_its_password() {
        for (text, part) in [
            ("ssh://-oProxyCommand=x/repo", "dash"),
            ("ssh://-l@host/repo", "dash"),
            ("https://me:secret@host/repo", "password"),
            ("https://host", "names no repository"),
            ("https://host/", "names no repository"),
            ("git://host/a\nb", "control"),
            ("ext::sh -c x", "not an https://"),
            ("ftp://host/repo", "not an https://"),
            ("me@host:repo", "not an https://"),
            ("file://host/repo", "whole path"),
        ] {
            let message = Address::parse(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(https?|git|ssh|file)?(://)?[a-z:@/%~.\\[\\]0-9\\-é\u{0}]{0,40}") {
            if let Ok(address) = Address::parse(&text) {
                prop_assert_eq!(address.text(), text.as_str());
                let _ = (address.endpoint(), address.name());
                prop_assert!(address.checked_endpoint().is_ok());
            }
        }
    }
}
