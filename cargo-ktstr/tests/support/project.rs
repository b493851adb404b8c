//! A project as a user's would be, and the real command in it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A package with one test target, which depends on `ktstr-harness` alone. It goes when dropped.
pub(crate) struct Project {
    dir: TempDir,
}

impl Project {
    /// Its test target holds `items`.
    pub(crate) fn new(items: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        fs::create_dir(dir.path().join("tests")).unwrap();
        let manifest = format!(
            "[package]\nname = \"user\"\nversion = \"{}\"\nedition = \"2024\"\n\n\
             [lib]\npath = \"lib.rs\"\n\n[[test]]\nname = \"user\"\nharness = false\n\n\
             [dev-dependencies]\nktstr-harness = {{ path = {:?} }}\n\n[workspace]\n",
            version(),
            workspace.join("ktstr-harness").display().to_string()
        );
        fs::write(dir.path().join("Cargo.toml"), manifest).unwrap();
        // The versions that the workspace was tested with.
        fs::copy(workspace.join("Cargo.lock"), dir.path().join("Cargo.lock")).unwrap();
        fs::write(dir.path().join("lib.rs"), "").unwrap();
        let head = "use ktstr_harness::prelude::*;\n\nktstr_harness::main!();\n";
        fs::write(dir.path().join("tests/user.rs"), format!("{head}\n{items}")).unwrap();
        Self { dir }
    }

    /// Adds a program to its workspace, whose `main.rs` holds `source`.
    #[allow(dead_code, reason = "not every test has schedulers of its own")]
    pub(crate) fn add_program(&self, name: &str, source: &str) {
        let dir = self.path().join(name);
        fs::create_dir_all(dir.join("src")).unwrap();
        let version = version();
        let manifest =
            format!("[package]\nname = {name:?}\nversion = {version:?}\nedition = \"2024\"\n");
        fs::write(dir.join("Cargo.toml"), manifest).unwrap();
        fs::write(dir.join("src/main.rs"), source).unwrap();
        let root = self.path().join("Cargo.toml");
        let mut manifest = fs::read_to_string(&root).unwrap();
        if !manifest.contains("\nmembers = ") {
            manifest.push_str("members = []\n");
        }
        let manifest = manifest.replace("\nmembers = [", &format!("\nmembers = [{name:?}, "));
        fs::write(root, manifest).unwrap();
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// `cargo ktstr {command}` in it, as if nothing had been run before.
    pub(crate) fn cargo_ktstr(&self, command: &str) -> Command {
        let mut made = self.command(Path::new(env!("CARGO_BIN_EXE_cargo-ktstr")));
        made.args(["ktstr", command]);
        made
    }

    /// `program` in it, as if nothing had been run before.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let binary = Path::new(env!("CARGO_BIN_EXE_cargo-ktstr"));
        let target = binary.ancestors().nth(2).expect("target/debug/…");
        let mut made = Command::new(program);
        made.current_dir(self.path())
            // Kept from run to run, beside this workspace's own.
            .env("CARGO_TARGET_DIR", target.join("user-projects"))
            .env("KTSTR_SIDECAR_DIR", self.path().join("results"))
            .stdin(Stdio::null());
        let inherited = [
            "KTSTR_KERNEL_LIST",
            "KTSTR_SCHEDULER",
            "KTSTR_RUN_EPOCH",
            "KTSTR_SESSION",
            "NEXTEST_RUN_ID",
        ];
        for name in inherited {
            made.env_remove(name);
        }
        made
    }
}

/// A version for the packages of this test. The projects of all tests share a target directory, where packages of one name
/// and version are the same to cargo whatever directory they are in.
fn version() -> String {
    let test = std::thread::current();
    let name = test.name().unwrap_or_default();
    let number = name.bytes().fold(7_u32, |number, byte| {
        number.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    format!("0.1.{number}")
}
