//! A release by its number, from a mirror on the loopback device to a test in a machine.
//!
//! What the mirror has is a stand-in for the kernel's sources, which a moment builds: its image is the kernel that any test
//! would take. `make test-release` does the same with a whole kernel source, a tarball in `KTSTR_TEST_SOURCE`.

#[path = "support/project.rs"]
mod project;
#[path = "../../ktstr-kernel/tests/support/server.rs"]
mod server;
#[path = "../../ktstr-kernel/tests/support/standin_tree.rs"]
mod standin_tree;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ktstr_core::host::Host;
use ktstr_kernel::discover::discover;
use ktstr_kernel::{Cache, Release};
use project::Project;
use server::Server;
use sha2::{Digest, Sha256};

/// A mirror that has one release.
struct Mirror {
    server: Server,
    release: Release,
}

impl Mirror {
    fn new(tarball: &Path) -> Self {
        let release = release(tarball);
        let server = Server::start();
        let Release { major, minor, .. } = release;
        let index = format!(
            r#"{{"latest_stable": {{"version": "{release}"}}, "releases": [
                {{"iseol": false, "version": "{release}", "moniker": "longterm"}},
                {{"iseol": false, "version": "{major}.{}-rc1", "moniker": "mainline"}}]}}"#,
            minor + 1
        );
        server.put("/releases.json", index);
        let bytes = fs::read(tarball).unwrap();
        let sum = Sha256::digest(&bytes);
        let sum = sum.iter().fold(String::new(), |mut sum, byte| {
            let _ = write!(sum, "{byte:02x}");
            sum
        });
        let made = Self { server, release };
        let (dir, name) = made.paths();
        let sums = format!("{sum}  {name}\n");
        made.server.put(&format!("{dir}/sha256sums.asc"), sums);
        made.server.put(&format!("{dir}/{name}"), bytes);
        made
    }

    /// The folder and the name of the tarball.
    fn paths(&self) -> (String, String) {
        let release = self.release;
        (
            format!("/v{}.x", release.major),
            format!("linux-{release}.tar.xz"),
        )
    }
}

/// What the Makefile of a source says.
fn release(tarball: &Path) -> Release {
    let makefile = Command::new("tar")
        .args([
            "--extract",
            "--to-stdout",
            "--occurrence=1",
            "--wildcards",
            "--no-wildcards-match-slash",
        ])
        .arg("--file")
        .arg(tarball)
        .arg("linux*/Makefile")
        .output()
        .unwrap();
    let makefile = String::from_utf8(makefile.stdout).unwrap();
    let number = |name: &str| {
        let line = makefile.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {makefile}"))
            .trim()
    };
    let version = [
        number("VERSION = "),
        number("PATCHLEVEL = "),
        number("SUBLEVEL = "),
    ]
    .join(".");
    Release::parse(&version).unwrap()
}

#[test]
fn a_series_leads_from_a_mirror_to_a_machine() {
    let host = Host::of_this_process();
    let root = ktstr_core::env::cache_root(&host).expect("a cache");
    let found = discover(&host, &Cache::new(root), Path::new(".")).expect("a kernel");
    let release = Release::of_kernel(&found.kernel.version).expect("a release");
    let numbers = [release.major, release.minor, release.patch.unwrap_or(0)];
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let [major, minor, patch] = numbers;
    let name = format!("linux-{major}.{minor}.{patch}");
    let image = fs::read(&found.kernel.image).unwrap();
    let steps = dir.path().join("steps");
    standin_tree::write(&dir.path().join(&name), numbers, &image, &steps);
    let tarball = dir.path().join("source.tar.xz");
    let made = Command::new("tar")
        .arg("-cJf")
        .arg(&tarball)
        .arg("-C")
        .arg(dir.path())
        .arg(&name)
        .status()
        .unwrap();
    assert!(made.success());
    leads_to_a_machine(&tarball);
    let steps = fs::read_to_string(steps).unwrap();
    assert_eq!(steps.matches("bzImage").count(), 1, "{steps}");
}

#[test]
#[ignore = "builds a kernel, which takes minutes; `make test-release` runs it"]
fn a_series_is_downloaded_verified_built_cached_and_booted() {
    let tarball = std::env::var_os("KTSTR_TEST_SOURCE").map(PathBuf::from);
    let tarball = tarball.expect("KTSTR_TEST_SOURCE: a tarball of a kernel source");
    if tarball.is_dir() {
        eprintln!("SKIP: KTSTR_TEST_SOURCE is a source tree, and a mirror serves tarballs");
        return;
    }
    leads_to_a_machine(&tarball);
}

/// Has a mirror with the source in `tarball`, and a project whose test runs on the series that it belongs to: downloaded,
/// verified, built, cached and booted, and a second time from the cache.
fn leads_to_a_machine(tarball: &Path) {
    let mirror = Mirror::new(tarball);
    let Release { major, minor, .. } = mirror.release;
    let series = format!("{major}.{minor}");
    let project = Project::new(&format!(
        r#"#[ktstr_test(llcs = 2, cores = 1, threads = 1)]
fn is_the_release(_: &Ctx) -> Result<AssertResult> {{
    let running = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    assert!(running.starts_with("{}"), "this is Linux {{running}}");
    Ok(AssertResult::pass())
}}
"#,
        mirror.release
    ));
    let run = || -> Output {
        let mut command = project.cargo_ktstr("test");
        command.args(["--kernel", &series]);
        command.env("KTSTR_KERNEL_MIRROR", mirror.server.base());
        command.env("KTSTR_CACHE_DIR", project.path().join("cache"));
        command.env("KTSTR_BASE_CONFIG", "lean");
        command.output().unwrap()
    };
    let passed = |output: &Output| -> String {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let words = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}{words}");
        assert!(said.contains("1 passed"), "{said}{words}");
        said
    };
    let said = passed(&run());
    let resolved = format!("resolved kernel \"{series}\": {}", mirror.release);
    assert!(said.contains(&resolved), "{said}");
    let (dir, name) = mirror.paths();
    let asked = |path: &str| mirror.server.requests(path).len();
    assert_eq!(asked("/releases.json"), 1);
    assert_eq!(asked(&format!("{dir}/sha256sums.asc")), 1);
    assert_eq!(asked(&format!("{dir}/{name}")), 1);
    let kernels = fs::read_dir(project.path().join("cache/kernels")).unwrap();
    let keys: Vec<String> = kernels
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect();
    let start = format!("{}-tarball-x86_64-lean-kc", mirror.release);
    assert!(
        matches!(&keys[..], [key] if key.starts_with(&start)),
        "{keys:?}"
    );

    // Without the mirror, what is cached will do, and a line says so.
    fs::remove_file(project.path().join("cache/releases.json")).unwrap();
    mirror
        .server
        .fault("/releases.json", server::Fault::Status(503), usize::MAX);
    let said = passed(&run());
    assert!(said.contains("503"), "{said}");
    assert!(said.contains(&keys[0]), "{said}");
    assert_eq!(asked(&format!("{dir}/{name}")), 1);
}
