//! Options of fetching.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ktstr_core::host::Host;

/// How a [`Remote`](super::Remote) fetches: proxies, certificates, and bounds in time and size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteOptions {
    /// Do not compare tarballs with the published checksums; a note says so.
    pub skip_sha256: bool,
    /// The proxy for `http://` addresses.
    pub http_proxy: Option<ProxySetting>,
    /// The proxy for `https://` addresses.
    pub https_proxy: Option<ProxySetting>,
    /// Hosts that are asked directly: a name stands for its subdomains as well, `*` for every host. Networks (`10.0.0.0/8`)
    /// are not understood. Loopback addresses are always asked directly.
    pub no_proxy: Vec<String>,
    /// Certificates to check servers with (PEM), instead of the system's or, where it has none, Mozilla's.
    pub certificates: Option<PathBuf>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long a transfer may stall: receive nothing, or less than `slowest`.
    pub stall_timeout: Duration,
    /// The slowest transfer that is not a stall, bytes per second, averaged over `stall_timeout`.
    pub slowest: u64,
    /// How often a transfer is attempted without making progress; at least 1.
    pub tries: u32,
    /// How long to wait before the second attempt; twice as long before each further one, up to half a minute.
    pub backoff: Duration,
    /// Largest tarball that is accepted, bytes.
    pub size_limit: u64,
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self {
            skip_sha256: false,
            http_proxy: None,
            https_proxy: None,
            no_proxy: Vec::new(),
            certificates: None,
            connect_timeout: Duration::from_secs(20),
            stall_timeout: Duration::from_secs(30),
            slowest: 1 << 10,
            tries: 4,
            backoff: Duration::from_millis(500),
            size_limit: 1 << 30,
        }
    }
}

/// A proxy, and the variable that named it. Its address may hold a password, and is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxySetting {
    /// Its address: `http://`, `https://` or `socks5://`, `user:password@` where needed, host and port.
    pub address: String,
    /// The environment variable that held it, for messages.
    pub variable: String,
}

impl fmt::Debug for ProxySetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("ProxySetting");
        debug
            .field("variable", &self.variable)
            .finish_non_exhaustive()
    }
}

impl RemoteOptions {
    /// The defaults, with proxies and certificates as the environment of `host` has them: `https_proxy`, `http_proxy`, `all_proxy`,
    /// `no_proxy` and their spellings in capitals (but `HTTP_PROXY`, which a web client may set on a server), and
    /// `SSL_CERT_FILE`. What is empty counts as unset.
    pub fn from_env(host: &Host) -> Self {
        let set = |name: &str| host.non_empty_var(name);
        let proxy = |names: &[&str]| {
            let found = names.iter().find_map(|&name| Some((name, set(name)?)));
            found.map(|(name, value)| ProxySetting {
                address: value.to_string_lossy().trim().to_owned(),
                variable: name.to_owned(),
            })
        };
        let no_proxy = set("no_proxy").or_else(|| set("NO_PROXY"));
        let no_proxy = no_proxy.unwrap_or_default();
        let hosts = no_proxy.to_string_lossy();
        let hosts = hosts.split([',', ' ']).filter(|host| !host.is_empty());
        Self {
            http_proxy: proxy(&["http_proxy", "all_proxy", "ALL_PROXY"]),
            https_proxy: proxy(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            no_proxy: hosts.map(str::to_owned).collect(),
            certificates: set("SSL_CERT_FILE").map(PathBuf::from),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(variables: &[(&str, &str)]) -> RemoteOptions {
        RemoteOptions::from_env(&Host::default().with_vars(variables.iter().copied()))
    }

    fn variable(proxy: Option<&ProxySetting>) -> Option<&str> {
        proxy.map(|proxy| proxy.variable.as_str())
    }

    #[test]
    fn proxies_are_those_of_the_environment() {
        assert_eq!(options(&[]), RemoteOptions::default());
        let found = options(&[
            ("https_proxy", ""),
            ("HTTPS_PROXY", "http://me:secret@p:1"),
            ("HTTP_PROXY", "http://hostile:1"),
            ("ALL_PROXY", "socks5://p:2"),
            ("no_proxy", "localhost, .example.com,,10.0.0.1"),
        ]);
        assert_eq!(variable(found.https_proxy.as_ref()), Some("HTTPS_PROXY"));
        assert_eq!(variable(found.http_proxy.as_ref()), Some("ALL_PROXY"));
        assert_eq!(found.no_proxy, ["localhost", ".example.com", "10.0.0.1"]);
        assert!(!format!("{found:?}").contains("secret"), "{found:?}");
    }
}
