//! A place of its own for every test: cache, locks, project and a cargo that only pretends.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use ktstr_kernel::cache::{ConfigOrigin, FileRecord, SourceRecord};
use ktstr_kernel::{BaseConfig, Cache, CacheKey, Metadata};

pub(crate) use crate::bz_image::bz_image;

/// `cargo-ktstr` as cargo calls it.
pub(crate) fn cargo_ktstr() -> Command {
    let mut command = command(env!("CARGO_BIN_EXE_cargo-ktstr"));
    command.arg("ktstr");
    command
}

/// The other binary.
pub(crate) fn ktstr() -> Command {
    command(env!("CARGO_BIN_EXE_ktstr"))
}

/// A command that inherits nothing of ktstr's variables.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KTSTR_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).env("COLUMNS", "80");
    command
}

pub(crate) struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        for dir in ["home", "proj", "cargo-home/bin"] {
            fs::create_dir_all(place.dir.path().join(dir)).unwrap();
        }
        // There is a project and a nextest, as far as anybody looks.
        place.file("Cargo.toml", b"");
        place.program("cargo-home/bin/cargo-nextest", "exit 1");
        place.fake_cargo(
            r#"case "$1 $2" in
            "nextest --version") echo cargo-nextest 0.9.0 ;;
            "metadata "*) metadata ;;
            "nextest run") (printf '%s\n' "$@"; env) > cargo.log; cp "$KTSTR_SESSION" session.json; exit 100 ;;
            *) exit 1 ;;
            esac"#,
        );
        place
    }

    /// The project: where commands are run.
    pub(crate) fn dir(&self) -> PathBuf {
        self.dir.path().join("proj")
    }

    /// What the tests of the last session were told.
    pub(crate) fn told(&self) -> serde_json::Value {
        let text = fs::read(self.dir().join("session.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) {
        fs::write(self.dir().join(name), bytes).unwrap();
    }

    /// What looks like a kernel source tree, as far as nobody runs make in it.
    pub(crate) fn tree(&self, name: &str) {
        let dir = self.dir().join(name);
        fs::create_dir_all(dir.join("arch")).unwrap();
        let makefile = "VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 9\nEXTRAVERSION =\n";
        fs::write(dir.join("Makefile"), makefile).unwrap();
        fs::write(dir.join("Kconfig"), "").unwrap();
    }

    /// Replaces cargo by a script, in which `metadata` prints what `cargo metadata` does of this project.
    pub(crate) fn fake_cargo(&self, script: &str) {
        let metadata = r#"metadata() {
            printf '{"packages":[],"workspace_members":[],"workspace_root":"/w","version":1,'
            printf '"target_directory":"%s/target"}\n' "$PWD"
        }"#;
        self.program("cargo", &format!("{metadata}\n{script}"));
    }

    fn program(&self, name: &str, script: &str) {
        let text = self.dir.path().join("program.sh");
        fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
        // A program that was open for writing here while another thread forks cannot be executed.
        let mut install = Command::new("install");
        install.args(["-m", "755"]).arg(text);
        let installed = install.arg(self.dir.path().join(name)).status();
        assert!(installed.unwrap().success());
    }

    /// Runs `command` here. Variables that it sets already stay.
    pub(crate) fn run(&self, command: &mut Command) -> Output {
        self.prepare(command).output().unwrap()
    }

    /// Makes `command` one that runs here.
    pub(crate) fn prepare<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let set: Vec<_> = command
            .get_envs()
            // What was only removed from the environment is to be set here.
            .filter_map(|(name, value)| value.map(|_| name.to_owned()))
            .collect();
        let variables = [
            ("KTSTR_CACHE_DIR", self.cache().root().to_owned()),
            ("KTSTR_LOCK_DIR", self.dir.path().join("locks")),
            ("HOME", self.dir.path().join("home")),
            ("CARGO_HOME", self.dir.path().join("cargo-home")),
            ("CARGO", self.dir.path().join("cargo")),
            // Nobody is there.
            ("KTSTR_KERNEL_MIRROR", "http://127.0.0.1:9".into()),
        ];
        for (name, value) in variables {
            if !set.iter().any(|other| other == name) {
                command.env(name, value);
            }
        }
        command.current_dir(self.dir())
    }

    /// Runs `command`, which must fail with `code` and one line; returns that.
    pub(crate) fn fails(&self, command: &mut Command, code: i32) -> String {
        let output = self.run(command);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{command:?}: {stderr}");
        assert_eq!(text(&output.stdout), "", "{command:?}");
        let errors = error_lines(&output);
        let [error] = errors.as_slice() else {
            panic!("{command:?}: {stderr}")
        };
        error.clone()
    }

    /// Puts a kernel into the cache.
    pub(crate) fn entry(&self, key: &str, built: &str, change: impl FnOnce(&mut Metadata)) {
        let dir = self.cache_entry(key);
        fs::create_dir_all(&dir).unwrap();
        let file = |name: &str, bytes: &[u8]| {
            fs::write(dir.join(name), bytes).unwrap();
            FileRecord {
                name: name.to_owned(),
                size: bytes.len() as u64,
                sha256: "0".repeat(64),
                xxh3: None,
                modified: None,
            }
        };
        let config_origin = ConfigOrigin::Base(BaseConfig::Lean);
        let mut metadata = Metadata {
            schema: Metadata::SCHEMA,
            key: CacheKey::parse(key).unwrap(),
            version: "6.12.9".to_owned(),
            arch: "x86_64".to_owned(),
            source: SourceRecord::Tarball {
                name: "linux-6.12.9.tar.xz".to_owned(),
                sha256: "1".repeat(64),
            },
            kconfig_hash: config_origin.kconfig_hash(),
            toolchain: None,
            extra_kconfig: None,
            config_origin,
            built: built.to_owned(),
            build_seconds: 300,
            make_steps: 2000,
            image: file("bzImage", &bz_image("6.12.9")),
            vmlinux: file("vmlinux", b"\x7fELF"),
            config: file(".config", b""),
        };
        change(&mut metadata);
        let json = serde_json::to_vec(&metadata).unwrap();
        fs::write(dir.join(Metadata::FILE), json).unwrap();
    }

    pub(crate) fn cache(&self) -> Cache {
        Cache::new(self.dir.path().join("cache"))
    }

    pub(crate) fn cache_entry(&self, key: &str) -> PathBuf {
        self.cache().entry_dir(&CacheKey::parse(key).unwrap())
    }
}

/// `command` as a shell's command line.
pub(crate) fn quoted(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.display())).collect();
    words.join(" ")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The `error:` lines of standard error, without that word.
pub(crate) fn error_lines(output: &Output) -> Vec<String> {
    let stderr = text(&output.stderr);
    let lines = stderr
        .lines()
        .filter_map(|line| line.strip_prefix("error: "));
    lines.map(str::to_owned).collect()
}
