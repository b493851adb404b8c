//! A workspace of 60 packages, 40 of which are schedulers with BPF sources, in a git repository of its own. Nothing in it
//! is compiled; what cargo would have left of a build is written.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ktstr_core::host::{Host, git_command};
use ktstr_driver::SchedulerUse;
use ktstr_driver::affected::TestBinary;

pub(crate) const LIBRARIES: usize = 20;
pub(crate) const SCHEDULERS: usize = 40;

/// A hash as cargo puts one behind names.
const HASH: &str = "0123456789abcdef";

pub(crate) struct Monorepo {
    dir: tempfile::TempDir,
}

pub(crate) fn lib(n: usize) -> String {
    format!("lib{n:02}")
}

pub(crate) fn sched(n: usize) -> String {
    format!("sched{n:02}")
}

impl Monorepo {
    /// On the branch `topic`, which is where `main` is; built once.
    pub(crate) fn new() -> Self {
        let repo = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        repo.write_all();
        repo.metadata();
        repo.git("init --quiet --initial-branch=main");
        repo.git("add .");
        // A submodule that is not checked out.
        fs::create_dir(repo.path("scheds/sched14/vendor")).unwrap();
        repo.gitlink("scheds/sched14/vendor", '1');
        repo.git("commit --quiet -m all");
        repo.git("checkout --quiet -b topic");
        repo.build();
        repo
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    /// Writes a file, and its directory.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes something else into a file.
    pub(crate) fn change(&self, path: &str) {
        let before = fs::read_to_string(self.path(path)).unwrap_or_default();
        self.write(path, &format!("{before}\n"));
    }

    pub(crate) fn git(&self, words: &str) -> String {
        git(self.root(), &words.split(' ').collect::<Vec<_>>())
    }

    pub(crate) fn commit_all(&self) {
        self.git("add --all");
        self.git("commit --quiet --allow-empty -m change");
    }

    /// Puts a commit into the index that nobody has.
    pub(crate) fn gitlink(&self, path: &str, digit: char) {
        let hash: String = [digit; 40].iter().collect();
        self.git(&format!(
            "update-index --add --cacheinfo 160000,{hash},{path}"
        ));
    }

    /// Back to what was first committed, on the branch `topic`.
    pub(crate) fn restore(&self) {
        self.git("update-index --no-assume-unchanged scheds/sched36/src/main.rs");
        self.git("checkout --quiet --force -B topic main");
        self.git("clean --quiet -ffdx --exclude=/target");
        fs::create_dir_all(self.path("scheds/sched14/vendor")).unwrap();
        self.build();
    }

    /// Has cargo read the workspace, and so write its lock file.
    pub(crate) fn metadata(&self) {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["metadata", "--offline", "--format-version", "1"]);
        let output = command.current_dir(self.root()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// What the test binaries would say: each scheduler has tests of its own, and the last two are tested by `lib19` too.
    pub(crate) fn binaries(&self) -> Vec<TestBinary> {
        let scheduler = |n: usize, declared: String| SchedulerUse {
            scheduler: sched(n),
            package: Some(sched(n)),
            program: None,
            config_file: (n == 31).then(|| self.path("crates/lib17/sched31.toml")),
            manifest_dir: Some(self.path(&declared)),
            tests: vec!["steady".to_owned()],
            programs: std::collections::BTreeMap::new(),
        };
        let own = |n: usize| TestBinary {
            id: format!("{}::sched", sched(n)),
            schedulers: vec![scheduler(n, format!("scheds/{}", sched(n)))],
        };
        let suite = TestBinary {
            id: "lib19::suite".to_owned(),
            schedulers: [38, 39]
                .map(|n| scheduler(n, "crates/lib19".to_owned()))
                .into(),
        };
        (0..SCHEDULERS).map(own).chain([suite]).collect()
    }

    fn write_all(&self) {
        self.write(
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\", \"scheds/*\"]\n",
        );
        self.write(".gitignore", "/target\n*.log\n");
        self.write("README.md", "# Schedulers\n");
        self.write("docs/flow.svg", "<svg/>\n");
        self.write("docs/manual.md", "How to use it.\n");
        self.write("ktstr.kconfig", "CONFIG_X=y\n");
        self.write(".github/workflows/ci.yml", "on: push\n");
        self.write("include/pair.bpf.h", "#include \"deep.bpf.h\"\n");
        self.write("include/deep.bpf.h", "");
        self.write("include/linked.bpf.h", "");
        self.write("include/with space.h", "");
        for n in 0..LIBRARIES {
            self.write_library(n);
        }
        for n in 0..SCHEDULERS {
            self.write_scheduler(n);
        }
        let link = self.path("scheds/sched19/src/bpf/shared.h");
        std::os::unix::fs::symlink("../../../../include/linked.bpf.h", link).unwrap();
    }

    fn write_library(&self, n: usize) {
        let name = lib(n);
        let dependencies = match n {
            1 => "[dev-dependencies]\nlib18 = { path = \"../lib18\" }\n",
            15 => "[dependencies]\nlib16 = { path = \"../lib16\" }\n",
            _ => "",
        };
        self.write(
            &format!("crates/{name}/Cargo.toml"),
            &manifest(&name, dependencies),
        );
        self.write(&format!("crates/{name}/src/lib.rs"), "//! A library.\n");
        self.write(&format!("crates/{name}/README.md"), "# A library\n");
        match n {
            2 => self.write("crates/lib02/include/lib02.bpf.h", ""),
            17 => self.write("crates/lib17/sched31.toml", "slice = 5\n"),
            19 => self.write("crates/lib19/tests/suite.rs", "fn main() {}\n"),
            _ => {}
        }
    }

    fn write_scheduler(&self, n: usize) {
        let name = sched(n);
        let dependency = |name: &str| format!("{name} = {{ path = \"../../crates/{name}\" }}\n");
        let mut text = format!(
            "[dependencies]\n{}{}",
            dependency("lib00"),
            dependency(&lib(1 + n % 10))
        );
        let mut section = |name: &str, library: &str| {
            text.push_str(name);
            text.push_str(&dependency(library));
        };
        match n {
            // In the section that is there already.
            13 => section("", "lib15"),
            0..10 => section("[build-dependencies]\n", "lib11"),
            10 => section("[dev-dependencies]\n", "lib12"),
            12 => section("[target.'cfg(windows)'.dependencies]\n", "lib14"),
            _ => {}
        }
        if n == 11 {
            text.push_str("lib13 = { path = \"../../crates/lib13\", optional = true }\n");
        }
        let file = |path: &str| format!("scheds/{name}/{path}");
        self.write(&file("Cargo.toml"), &manifest(&name, &text));
        self.write(&file("README.md"), "# A scheduler\n");
        let main = match n {
            28 => "const USAGE: &str = include_str!(\"usage.md\");\nfn main() {}\n",
            29 => "const USAGE: &str = include_str!(\"../../../docs/manual.md\");\nfn main() {}\n",
            _ => "mod extra;\nfn main() {}\n",
        };
        self.write(&file("src/main.rs"), main);
        self.write(
            &file("src/extra.rs"),
            &format!("//! Of {name}, which nothing else is like.\n"),
        );
        self.write(&file("src/usage.md"), "Usage\n");
        self.write(&file("tests/sched.rs"), "fn main() {}\n");
        let script = "fn main() {\n    build(\"src/bpf/main.bpf.c\");\n}\n";
        self.write(&file("build.rs"), script);
        let more = match n {
            19 => "#include \"shared.h\"\n",
            20 | 21 => "#include <pair.bpf.h>\n",
            22 => "#include \"with space.h\"\n",
            33 => "#include <lib02.bpf.h>\n",
            _ => "",
        };
        self.write(
            &file("src/bpf/main.bpf.c"),
            &format!("#include <linux/types.h>\n#include \"main.bpf.h\"\n{more}int x;\n"),
        );
        self.write(&file("src/bpf/main.bpf.h"), "#pragma once\n");
        if n == 22 {
            self.write(&file("src/bpf/with space.h"), "");
        }
    }

    /// Writes what a build of every scheduler leaves in the target directory.
    pub(crate) fn build(&self) {
        let root = self.root().display();
        for n in 0..SCHEDULERS {
            let name = sched(n);
            let dir = format!("scheds/{name}");
            let header = match n {
                23 => " include/with\\ space.h",
                29 => " docs/manual.md",
                28 => " scheds/sched28/src/usage.md",
                _ => "",
            };
            let listed = format!("{dir}/src/main.rs {dir}/src/extra.rs{header}");
            self.write(
                &format!("target/release/deps/{name}-{HASH}.d"),
                &format!(
                    "{root}/target/release/deps/{name}-{HASH}: {listed}\n\n{dir}/src/main.rs:\n"
                ),
            );
            self.write(
                &format!("target/release/{name}.d"),
                &format!("{root}/target/release/{name}: {root}/{dir}/src/main.rs {root}/{dir}/src/extra.rs\n"),
            );
            let script = format!("target/release/build/{name}-{HASH}");
            self.write(
                &format!("{script}/build_script_build-{HASH}.d"),
                &format!("{root}/{script}/build_script_build-{HASH}: {dir}/build.rs\n"),
            );
            let mut output = "cargo:rerun-if-changed=src/bpf/main.bpf.c\n\
                cargo::rerun-if-changed=src/bpf/main.bpf.h\n"
                .to_owned();
            if matches!(n, 20 | 21) {
                output += "cargo:rerun-if-changed=../../include/pair.bpf.h\n";
            }
            self.write(&format!("{script}/output"), &output);
        }
    }
}

fn manifest(name: &str, more: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n{more}")
}

/// Runs git in `dir`.
pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let mut command = git_command(&Host::of_this_process(), dir);
    let settings = [
        "user.name=a",
        "user.email=a@b",
        "commit.gpgsign=false",
        "protocol.file.allow=always",
    ];
    for setting in settings {
        command.args(["-c", setting]);
    }
    let output = command.args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
