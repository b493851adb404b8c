//! Where releases come from.

use ktstr_core::env;
use ktstr_core::host::Host;
use ureq::http::Uri;

use crate::release::Release;

/// Longest address that is taken, bytes.
const LONGEST: usize = 1024;

/// Where releases come from: kernel.org, or a mirror of it.
///
/// At kernel.org the index is `www.kernel.org/releases.json`, tarballs and their checksums are in
/// `cdn.kernel.org/pub/linux/kernel/v6.x/`, and release candidates are snapshots of Linus' tree, made by
/// `git.kernel.org/torvalds/t/`. A mirror has all of it below one base address: `releases.json`, `v6.x/linux-6.14.2.tar.xz`,
/// `v6.x/sha256sums.asc`, `testing/linux-6.15-rc3.tar.gz` and the repository `linux-stable.git`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Base address without a slash at its end; `None` for kernel.org.
    base: Option<String>,
}

/// An address that is not a mirror's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{base}` is not the address of a mirror: {why}; set KTSTR_KERNEL_MIRROR to the address above its releases.json, such as https://mirror.example.com/linux"
)]
pub struct MirrorError {
    /// The address.
    pub base: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Mirror {
    /// kernel.org itself.
    pub fn kernel_org() -> Self {
        Self { base: None }
    }

    /// The mirror that `KTSTR_KERNEL_MIRROR` of `host` names; kernel.org where it is unset or empty.
    pub fn from_env(host: &Host) -> Result<Self, MirrorError> {
        match host.non_empty_var(env::KERNEL_MIRROR) {
            Some(base) => Self::parse(&base.to_string_lossy()),
            None => Ok(Self::kernel_org()),
        }
    }

    /// The mirror below an `http://` or `https://` address.
    ///
    /// `http` is taken, for mirrors inside a company; a [`Remote`](super::Remote) says in a note that nothing shows whether
    /// such a mirror's files were changed on their way, since the checksums come the same way. A mirror at a loopback
    /// address, which has no way, gets no note.
    pub fn parse(base: &str) -> Result<Self, MirrorError> {
        let error = |why| {
            let shown: String = base.chars().take(80).flat_map(char::escape_debug).collect();
            MirrorError { base: shown, why }
        };
        let text = base.trim();
        if text.is_empty() {
            return Err(error("it is empty"));
        }
        if text.len() > LONGEST {
            return Err(error("it is too long"));
        }
        let uri: Uri = text.parse().map_err(|_| error("it is not a URL"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(error("it starts with neither https:// nor http://"));
        }
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return Err(error("it holds a user name, which would not be sent"));
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err(error("it names no host"));
        }
        if authority.rsplit_once(':').is_some_and(|(_, port)| {
            !port.ends_with(']') && port.parse::<u16>().map_or(true, |port| port == 0)
        }) {
            return Err(error("its port is not a number from 1 to 65535"));
        }
        if text.contains(['?', '#']) {
            return Err(error("it has a query"));
        }
        let base = Some(text.trim_end_matches('/').to_owned());
        Ok(Self { base })
    }

    /// The address of the stable releases' git repository: every release has its tag there.
    pub fn stable_git(&self) -> String {
        match &self.base {
            Some(base) => format!("{base}/linux-stable.git"),
            None => "https://git.kernel.org/pub/scm/linux/kernel/git/stable/linux.git".to_owned(),
        }
    }

    /// The address of the index of releases.
    pub(super) fn releases(&self) -> String {
        let base = self.base.as_deref().unwrap_or("https://www.kernel.org");
        format!("{base}/releases.json")
    }

    /// The address of a release's tarball.
    pub(super) fn tarball(&self, release: Release) -> String {
        let name = tarball_name(release);
        match (&self.base, release.rc) {
            (None, Some(_)) => format!("https://git.kernel.org/torvalds/t/{name}"),
            (Some(base), Some(_)) => format!("{base}/testing/{name}"),
            (_, None) => format!("{}/{name}", self.directory(release)),
        }
    }

    /// The address of the checksums of a release's tarball; none are published for release candidates.
    pub(super) fn checksums(&self, release: Release) -> Option<String> {
        let directory = self.directory(release);
        release
            .rc
            .is_none()
            .then(|| format!("{directory}/sha256sums.asc"))
    }

    fn directory(&self, release: Release) -> String {
        let base = self.base.as_deref();
        let base = base.unwrap_or("https://cdn.kernel.org/pub/linux/kernel");
        format!("{base}/v{}.x", release.major)
    }

    /// Whether its connections are encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        let scheme = |base: &str| base.get(..8).map(str::to_ascii_lowercase);
        self.base
            .as_deref()
            .is_none_or(|base| scheme(base).as_deref() == Some("https://"))
    }

    /// Whether it is on this machine.
    pub(super) fn is_loopback(&self) -> bool {
        let uri: Option<Uri> = self.base.as_deref().and_then(|base| base.parse().ok());
        let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        let address: Option<std::net::IpAddr> = address.parse().ok();
        host.eq_ignore_ascii_case("localhost")
            || address.is_some_and(|address| address.is_loopback())
    }
}

/// What kernel.org calls the tarball of a release. The first of a series has two numbers there: `linux-6.14.tar.xz`.
pub(super) fn tarball_name(release: Release) -> String {
    let Release { major, minor, .. } = release;
    match (release.patch, release.rc) {
        (_, Some(rc)) => format!("linux-{major}.{minor}-rc{rc}.tar.gz"),
        (None | Some(0), None) => format!("linux-{major}.{minor}.tar.xz"),
        (Some(patch), None) => format!("linux-{major}.{minor}.{patch}.tar.xz"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn release(text: &str) -> Release {
        Release::parse(text).unwrap()
    }

    #[test]
    fn each_file_has_its_address() {
        let org = Mirror::kernel_org();
        let own = Mirror::parse(" http://[::1]:8080/linux// ").unwrap();
        assert!(org.is_encrypted() && !org.is_loopback());
        assert!(!own.is_encrypted() && own.is_loopback());
        assert_eq!(org.releases(), "https://www.kernel.org/releases.json");
        assert_eq!(own.releases(), "http://[::1]:8080/linux/releases.json");
        for (text, at_org, at_own) in [
            (
                "6.14.2",
                "https://cdn.kernel.org/pub/linux/kernel/v6.x/linux-6.14.2.tar.xz",
                "v6.x/linux-6.14.2.tar.xz",
            ),
            (
                "7.0.0",
                "https://cdn.kernel.org/pub/linux/kernel/v7.x/linux-7.0.tar.xz",
                "v7.x/linux-7.0.tar.xz",
            ),
            (
                "6.15-rc3",
                "https://git.kernel.org/torvalds/t/linux-6.15-rc3.tar.gz",
                "testing/linux-6.15-rc3.tar.gz",
            ),
        ] {
            assert_eq!(org.tarball(release(text)), at_org);
            let at_own = format!("http://[::1]:8080/linux/{at_own}");
            assert_eq!(own.tarball(release(text)), at_own);
        }
        assert_eq!(org.tarball(release("6.14")), org.tarball(release("6.14.0")));
        assert_eq!(
            own.checksums(release("6.14.2")).unwrap(),
            "http://[::1]:8080/linux/v6.x/sha256sums.asc"
        );
        assert_eq!(own.checksums(release("6.15-rc3")), None);
        assert_eq!(own.stable_git(), "http://[::1]:8080/linux/linux-stable.git");
        assert!(org.stable_git().starts_with("https://git.kernel.org/"));
    }

    #[test]
    fn what_is_no_mirror_is_said() {
        for (base, part) in [
            ("", "is empty"),
            (" / ", "starts with neither"),
            ("mirror.example.com", "starts with neither"),
            ("ftp://mirror.example.com", "starts with neither"),
            ("https://me:secret@mirror.example.com", "holds a user name"),
            ("https://mirror.example.com/?a=b", "a query"),
            ("https://mirror.example.com/#a", "a query"),
            ("https://mirror.example.com:0", "port"),
            ("https://mirror.example.com:99999", "port"),
            ("https://", "not a URL"),
            ("https://a b", "not a URL"),
            ("https://a\nb", "not a URL"),
        ] {
            let message = Mirror::parse(base).unwrap_err().to_string();
            assert!(message.contains(part), "{base}: {message}");
            assert!(!message.contains('\n'), "{message}");
        }
        assert!(Mirror::parse(&format!("https://{}", "a".repeat(9999))).is_err());
        assert!(
            Mirror::parse("HTTPS://mirror.example.com")
                .unwrap()
                .is_encrypted()
        );
    }

    proptest! {
        #[test]
        fn never_panics(text in "(https?://)?\\PC{0,40}") {
            if let Ok(mirror) = Mirror::parse(&text) {
                prop_assert!(mirror.releases().parse::<Uri>().is_ok());
                let _ = mirror.is_loopback();
            }
        }
    }
}
