//! A cache and a mirror to fill it from.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ktstr_kernel::progress::{Event, Progress, Transfer};
use ktstr_kernel::{
    Cache, FetchError, Mirror, Release, Releases, Remote, RemoteOptions, SourceTarball,
};
use tempfile::TempDir;

use crate::server::Server;

/// Where the one tarball is that most tests fetch.
pub(crate) const TARBALL: &str = "/v6.x/linux-6.14.2.tar.xz";
pub(crate) const SUMS: &str = "/v6.x/sha256sums.asc";
pub(crate) const INDEX: &str = "/releases.json";

pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) server: Server,
    pub(crate) options: RemoteOptions,
}

/// Everything that was told, one line each.
#[derive(Default)]
pub(crate) struct Told(Mutex<Vec<String>>);

impl Progress for Told {
    fn event(&self, event: Event<'_>) {
        let text = match event {
            Event::Note(text) => format!("note {text}"),
            Event::Transfer { name, state } => match state {
                Transfer::Started { done, total } => format!("started {name} {done} {total:?}"),
                Transfer::Advanced { done } => format!("advanced {name} {done}"),
                Transfer::Retrying { why, .. } => format!("retrying {name} {why}"),
                Transfer::Finished { size, .. } => format!("finished {name} {size}"),
                Transfer::Failed => format!("failed {name}"),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        assert!(!text.contains('\n'), "{text}");
        self.lines().push(text);
    }
}

impl Told {
    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has(&self, start: &str) -> bool {
        self.lines().iter().any(|line| line.starts_with(start))
    }

    pub(crate) fn all(&self) -> String {
        self.lines().join("\n")
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.lines().is_empty()
    }
}

impl World {
    /// A mirror with an index and 6.14.2, and an empty cache.
    pub(crate) fn new() -> Self {
        let world = Self {
            dir: tempfile::tempdir().unwrap(),
            server: Server::start(),
            options: quick(),
        };
        world.server.put(INDEX, index());
        world.publish(&[("linux-6.14.2.tar.xz", tarball(3 << 20, 1))]);
        world
    }

    /// Puts tarballs and their checksums into `v6.x`.
    pub(crate) fn publish(&self, tarballs: &[(&str, Vec<u8>)]) {
        let mut list = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n".to_owned();
        for (name, bytes) in tarballs {
            let _ = writeln!(list, "{}  {name}", sha256(bytes));
            self.server.put(&format!("/v6.x/{name}"), bytes.clone());
        }
        list.push_str("-----BEGIN PGP SIGNATURE-----\n\niQIz\n-----END PGP SIGNATURE-----\n");
        self.server.put(SUMS, list);
    }

    pub(crate) fn cache(&self) -> Cache {
        Cache::new(self.dir.path().join("cache"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("cache").join(name)
    }

    pub(crate) fn remote(&self) -> Remote {
        let mirror = Mirror::parse(&self.server.base()).unwrap();
        Remote::new(mirror, self.cache(), self.options.clone()).unwrap()
    }

    pub(crate) fn tarball(&self, release: &str) -> (Result<SourceTarball, FetchError>, Told) {
        let told = Told::default();
        let release = Release::parse(release).unwrap();
        (self.remote().tarball(release, &told), told)
    }

    /// A tarball that must be there, with the right content.
    pub(crate) fn fetched(&self, release: &str) -> (SourceTarball, Told) {
        let (tarball, told) = self.tarball(release);
        let tarball = tarball.unwrap_or_else(|error| panic!("{error}\n{}", told.all()));
        let bytes = fs::read(&tarball.path).unwrap();
        assert_eq!(sha256(&bytes), tarball.sha256);
        (tarball, told)
    }

    /// The line that a fetch fails with. Nothing is left that could be taken for the tarball.
    pub(crate) fn refused(&self, release: &str) -> (String, Told) {
        let (tarball, told) = self.tarball(release);
        let text = tarball.unwrap_err().to_string();
        assert!(!text.contains('\n'), "{text}");
        let left = self.downloads();
        assert!(
            left.iter().all(|name| name.contains(".part")),
            "{text}: {left:?}"
        );
        (text, told)
    }

    pub(crate) fn releases(&self) -> (Result<Releases, FetchError>, Told) {
        let told = Told::default();
        (self.remote().releases(&told), told)
    }

    /// What is in the directory of downloads.
    pub(crate) fn downloads(&self) -> Vec<String> {
        let items = fs::read_dir(self.path("downloads")).into_iter().flatten();
        let mut names: Vec<String> = items
            .map(|item| item.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Options that let a test end soon; deadlines are short only where the server keeps silent on purpose.
pub(crate) fn quick() -> RemoteOptions {
    RemoteOptions {
        backoff: Duration::from_millis(5),
        ..RemoteOptions::default()
    }
}

/// Something that starts like an xz archive and is otherwise noise.
pub(crate) fn tarball(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = b"\xfd7zXZ\0".to_vec();
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

pub(crate) fn index() -> &'static str {
    r#"{"latest_stable": {"version": "6.14.2"}, "releases": [
        {"iseol": false, "version": "6.15-rc3", "moniker": "mainline", "released": {"isodate": "2025-04-20"}},
        {"iseol": false, "version": "6.14.2", "moniker": "stable", "released": {"isodate": "2025-04-10"}},
        {"iseol": false, "version": "6.12.23", "moniker": "longterm", "released": {"isodate": "2025-04-10"}},
        {"iseol": false, "version": "next-20250422", "moniker": "linux-next"}]}"#
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        sleep(Duration::from_millis(5));
    }
}
