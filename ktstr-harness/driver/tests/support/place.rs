//! A directory with programs that stand in for real ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory that goes when dropped, with programs in `bin`.
pub(crate) struct Programs {
    dir: tempfile::TempDir,
}

impl Programs {
    /// There is a nextest, and a cargo that knows `project`, runs `nextest` for `cargo nextest run` and prints the project's
    /// `list.json` for `cargo nextest list`.
    pub(crate) fn new(nextest: &str) -> Self {
        let made = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        for dir in ["bin", "project"] {
            fs::create_dir(made.path().join(dir)).unwrap();
        }
        fs::write(made.project().join("Cargo.toml"), "").unwrap();
        let metadata = r#"{"packages":[],"workspace_members":[],"workspace_root":"/w","version":1,"target_directory":"%s/target"}"#;
        let script = format!(
            "case \"$1 $2\" in
            'metadata '*) printf '{metadata}' \"$PWD\" ;;
            'nextest --version') echo cargo-nextest 0.9.143 ;;
            'nextest list') cat list.json ;;
            'nextest run') {nextest} ;;
            *) exit 1 ;;
            esac"
        );
        made.add("cargo", &script);
        made.add("cargo-nextest", "exit 1");
        made
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn project(&self) -> PathBuf {
        self.path().join("project")
    }

    /// Adds a program to `bin`.
    pub(crate) fn add(&self, name: &str, script: &str) {
        let text = self.path().join(format!("{name}.sh"));
        fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
        // A program that was open for writing here while another thread forks cannot be executed.
        let mut install = Command::new("install");
        install.args(["-m", "755"]).arg(text);
        let installed = install.arg(self.path().join("bin").join(name)).status();
        assert!(installed.unwrap().success());
    }
}
