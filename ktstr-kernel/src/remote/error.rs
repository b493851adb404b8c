//! Why something could not be fetched.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ktstr_core::host::LockError;

use crate::cache::CacheError;
use crate::no_space::{CACHE_HINT, is_full};
use crate::release::Release;
use crate::remedy::Remedy;

/// Why something could not be fetched. One line each.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// A variable of the environment does not name a proxy.
    #[error(
        "{variable}: {why}; set it to the proxy's address, such as http://proxy.example.com:3128, or unset it"
    )]
    Proxy {
        /// The variable.
        variable: String,
        /// What is wrong with its value, which may hold a password and is not shown.
        why: &'static str,
    },
    /// The certificates to check servers with cannot be read.
    #[error("{path}: {why}; set SSL_CERT_FILE to a file of certificates (PEM), or unset it")]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The server cannot be reached, or the transfer broke off.
    #[error(
        "{address}: {why}; check the network and https_proxy, set KTSTR_KERNEL_MIRROR to a mirror, or give a source tree or tarball"
    )]
    Unreachable {
        /// What was asked for.
        address: String,
        /// What happened, in one clause.
        why: String,
    },
    /// The server answers with an error.
    #[error(
        "{address}: {}; {}, or give a source tree or tarball",
        status_text(*status, *wait),
        status_advice(*status, *wait)
    )]
    Status {
        /// What was asked for.
        address: String,
        /// The status code of HTTP.
        status: u16,
        /// After which time the server wants to be asked again, where it said so.
        wait: Option<Duration>,
    },
    /// There is no such release.
    #[error("{}", no_release_text(*release, address, *newest))]
    NoRelease {
        /// What was asked for.
        release: Release,
        /// Where it would be.
        address: String,
        /// The newest release of its series, where that is known.
        newest: Option<Release>,
    },
    /// The server sends something else.
    #[error(
        "{address}: {why}; a proxy or captive portal may have answered: check https_proxy, or set KTSTR_KERNEL_MIRROR to a mirror"
    )]
    Content {
        /// What was asked for.
        address: String,
        /// What it is, in one clause.
        why: String,
    },
    /// The release exists, but no checksum of it is published.
    #[error(
        "{address}: it has no checksum of {name}; try again later (it may follow within the hour)"
    )]
    NoChecksum {
        /// The list of checksums.
        address: String,
        /// The file.
        name: String,
    },
    /// The checksum is wrong, on a second transfer too.
    #[error(
        "{address}: its SHA-256 is {found}, but {expected} is published; nothing of it is kept: try again, or set KTSTR_KERNEL_MIRROR to another mirror"
    )]
    Checksum {
        /// What was asked for.
        address: String,
        /// What is published.
        expected: String,
        /// What was sent.
        found: String,
    },
    /// It is larger than it can be.
    #[error(
        "{address}: larger than {} MiB, so that it is not a {kind}; set KTSTR_KERNEL_MIRROR to another mirror, or give a source tree or tarball",
        limit >> 20
    )]
    TooLarge {
        /// What was asked for.
        address: String,
        /// What it should be.
        kind: &'static str,
        /// The bound, bytes.
        limit: u64,
    },
    /// There is no space for it.
    #[error("{dir}: no space left on the device for {name}{}; free some{CACHE_HINT}", needed_text(*needed))]
    NoSpace {
        /// Where.
        dir: PathBuf,
        /// The file.
        name: String,
        /// How many bytes of it are missing, where that is known.
        needed: Option<u64>,
    },
    /// The cache cannot be written.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Another process fetches it, for longer than an hour.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl FetchError {
    /// What helps.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::NoChecksum { .. } => Some(Remedy::SkipChecksums),
            Self::Cache(error) => error.remedy(),
            _ => None,
        }
    }

    /// Whether the server is away, or something else answers in its place; as opposed to an answer of its own.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Content { .. } => true,
            Self::Status { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }

    /// What happened, without address and advice.
    pub(super) fn why(&self) -> String {
        match self {
            Self::Unreachable { why, .. } | Self::Content { why, .. } => why.clone(),
            Self::Status { status, wait, .. } => status_text(*status, *wait),
            other => other.to_string(),
        }
    }

    pub(super) fn unreachable(address: &str, why: impl Into<String>) -> Self {
        let (address, why) = (address.to_owned(), why.into());
        Self::Unreachable { address, why }
    }

    pub(super) fn content(address: &str, why: impl Into<String>) -> Self {
        let (address, why) = (address.to_owned(), why.into());
        Self::Content { address, why }
    }

    pub(super) fn too_large(address: &str, kind: &'static str, limit: u64) -> Self {
        let address = address.to_owned();
        Self::TooLarge {
            address,
            kind,
            limit,
        }
    }

    /// A file of the cache that cannot be written or read.
    pub(super) fn io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        if is_full(&source) {
            return Self::NoSpace {
                name: path.file_name().unwrap_or_default().display().to_string(),
                dir: path.parent().unwrap_or(&path).to_owned(),
                needed: None,
            };
        }
        CacheError::Write { path, source }.into()
    }
}

/// What a server answers.
fn status_text(status: u16, wait: Option<Duration>) -> String {
    match wait {
        Some(wait) => {
            let wait = humantime::format_duration(Duration::from_secs(wait.as_secs()));
            format!("the server answers {status} and asks to wait {wait}")
        }
        None => format!("the server answers {status}"),
    }
}

fn status_advice(status: u16, wait: Option<Duration>) -> &'static str {
    match status {
        _ if wait.is_some() => "try again after that, set KTSTR_KERNEL_MIRROR to another mirror",
        407 => "the proxy wants a name and a password: https_proxy=http://name:password@host:port",
        401 | 403 => "check https_proxy, set KTSTR_KERNEL_MIRROR to a mirror that lets you in",
        404 | 410 => "check KTSTR_KERNEL_MIRROR: releases.json is below it",
        _ => "try again later, set KTSTR_KERNEL_MIRROR to another mirror",
    }
}

fn no_release_text(release: Release, address: &str, newest: Option<Release>) -> String {
    let Release { major, minor, .. } = release;
    let none = format!("there is no release {release} ({address}: 404)");
    match newest {
        Some(newest) if newest >= release => format!(
            "{address}: 404, though {release} is a release; try again later, set KTSTR_KERNEL_MIRROR to a mirror that has it"
        ),
        Some(newest) => format!("{none}; the newest of {major}.{minor} is {newest}"),
        None => format!("{none}; check its number"),
    }
}

fn needed_text(needed: Option<u64>) -> String {
    needed.map_or_else(String::new, |bytes| {
        format!(" ({} MiB more)", bytes.div_ceil(1 << 20))
    })
}
