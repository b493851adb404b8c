//! A release by its number, from a mirror on the loopback device to a test in a machine.
//!
//! `KTSTR_TEST_SOURCE` is a tarball of a whole kernel source, which stands for what kernel.org has; `make test` sets it.

#[path = "support/project.rs"]
mod project;
#[path = "../../ktstr-kernel/tests/support/server.rs"]
mod server;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ktstr_kernel::Release;
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
#[ignore = "builds a kernel, which takes minutes; `make test` runs it on its own"]
fn a_series_is_downloaded_verified_built_cached_and_booted() {
    let tarball = std::env::var_os("KTSTR_TEST_SOURCE").map(PathBuf::from);
    let tarball = tarball.expect("KTSTR_TEST_SOURCE: a tarball of a kernel source");
    if tarball.is_dir() {
        eprintln!("SKIP: KTSTR_TEST_SOURCE is a source tree, and a mirror serves tarballs");
        return;
    }
    let mirror = Mirror::new(&tarball);
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
