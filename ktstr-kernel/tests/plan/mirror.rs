//! A mirror on the loopback device whose releases are stand-ins that build in a moment.

use std::fmt::Write;
use std::fs;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use ktstr_core::host::Host;
use ktstr_kernel::{
    Failures, KernelSpec, Mirror, Release, Remote, RemoteOptions, ResolvedKernel, Resolver,
};
use sha2::{Digest, Sha256};

use crate::server::{Fault, Server};
use crate::standin::{Told, World, bz_image, git};

/// A cache, sources, and where releases come from.
pub(crate) struct Place {
    pub(crate) world: World,
    pub(crate) server: Server,
    pub(crate) include_eol: bool,
    /// Checksums, by file name.
    sums: Mutex<String>,
}

impl Place {
    /// A mirror with these releases; an index lists them as maintained, and 6.15-rc3 beside them.
    pub(crate) fn new(releases: &[&str]) -> Self {
        let place = Self {
            world: World::new(),
            server: Server::start(),
            include_eol: false,
            sums: Mutex::default(),
        };
        place.index(releases);
        for release in releases {
            place.publish(release, release);
        }
        place
    }

    /// Lists these as maintained.
    pub(crate) fn index(&self, releases: &[&str]) {
        let mut listed =
            r#"{"iseol": false, "version": "6.15-rc3", "moniker": "mainline"}"#.to_owned();
        for release in releases {
            let _ = write!(
                listed,
                r#", {{"iseol": false, "version": "{release}", "moniker": "longterm"}}"#
            );
        }
        let index =
            format!(r#"{{"latest_stable": {{"version": "6.14.2"}}, "releases": [{listed}]}}"#);
        self.server.put("/releases.json", index);
    }

    /// Publishes a tarball of `release` whose Makefile says `version`.
    pub(crate) fn publish(&self, release: &str, version: &str) {
        let tree = self.world.tree(&format!("linux-{release}"));
        let makefile = fs::read_to_string(tree.join("Makefile")).unwrap();
        let parsed = Release::parse(version).unwrap();
        let makefile = makefile
            .replace("VERSION = 6\n", &format!("VERSION = {}\n", parsed.major))
            .replace(
                "PATCHLEVEL = 99\n",
                &format!("PATCHLEVEL = {}\n", parsed.minor),
            )
            .replace(
                "SUBLEVEL = 1\n",
                &format!("SUBLEVEL = {}\n", parsed.patch.unwrap_or(0)),
            );
        fs::write(tree.join("Makefile"), makefile).unwrap();
        fs::write(tree.join("image"), bz_image(&format!("{version}-standin"))).unwrap();
        let name = format!("linux-{release}.tar.xz");
        let tarball = fs::read(self.world.tarball(&tree, &name)).unwrap();
        let sum = Sha256::digest(&tarball);
        let mut sums = self.sums.lock().unwrap();
        for byte in sum {
            let _ = write!(sums, "{byte:02x}");
        }
        let _ = writeln!(sums, "  {name}");
        let dir = format!("/v{}.x", parsed.major);
        self.server
            .put(&format!("{dir}/sha256sums.asc"), sums.clone());
        self.server.put(&format!("{dir}/{name}"), tarball);
    }

    /// Serves a linux-stable with these tags, of which only the listing can be had.
    pub(crate) fn tags(&self, tags: &[&str]) {
        let tree = self.world.git_tree("stable");
        for tag in tags {
            git(&tree, &["tag", tag]);
        }
        let listing = Command::new("git")
            .args(["upload-pack", "--http-backend-info-refs"])
            .arg(&tree)
            .output()
            .unwrap();
        assert!(listing.status.success(), "{listing:?}");
        let mut body = b"001e# service=git-upload-pack\n0000".to_vec();
        body.extend(listing.stdout);
        let kind = "application/x-git-upload-pack-advertisement";
        let path = "/linux-stable.git/info/refs?service=git-upload-pack";
        self.server
            .fault(path, Fault::Instead(kind, body), usize::MAX);
    }

    pub(crate) fn remote(&self) -> Remote {
        let options = RemoteOptions {
            backoff: Duration::from_millis(1),
            ..RemoteOptions::default()
        };
        let mirror = Mirror::parse(&self.server.base()).unwrap();
        Remote::new(mirror, self.world.cache(), options).unwrap()
    }

    pub(crate) fn resolver(&self) -> Resolver {
        Resolver::new(self.world.cache(), self.world.options.clone())
            .fetching(self.remote())
            .including_eol(self.include_eol)
    }

    pub(crate) fn resolve(&self, names: &[&str]) -> (Result<Vec<ResolvedKernel>, Failures>, Told) {
        let told = Told::default();
        let specs: Vec<KernelSpec> = names.iter().map(|name| spec(name)).collect();
        let resolver = self.resolver();
        (resolver.resolve_all(&specs, &told, &mut |_, _| {}), told)
    }

    /// The versions that `names` come to, all of which must be there in the end.
    pub(crate) fn versions(&self, names: &[&str]) -> (Vec<String>, Told) {
        let (kernels, told) = self.resolve(names);
        let kernels = kernels.unwrap_or_else(|failures| panic!("{failures}\n{}", told.all()));
        assert!(kernels.iter().all(|kernel| kernel.image.is_file()));
        assert_eq!(self.world.leftovers(), [""; 0]);
        (
            kernels.into_iter().map(|kernel| kernel.version).collect(),
            told,
        )
    }

    /// What each of `names` fails with that does.
    pub(crate) fn failures(&self, names: &[&str]) -> Vec<(String, String)> {
        let (kernels, _) = self.resolve(names);
        let failures = kernels.unwrap_err().0;
        let texts = failures.iter().map(|failed| {
            let text = failed.error.to_string();
            assert!(!text.contains('\n'), "{text}");
            (failed.kernel.clone(), text)
        });
        texts.collect()
    }
}

pub(crate) fn spec(name: &str) -> KernelSpec {
    KernelSpec::parse(name, &Host::default()).unwrap()
}
