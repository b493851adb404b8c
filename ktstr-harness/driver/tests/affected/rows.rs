//! Changes of files, by what they are.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};

use ktstr_driver::affected::Rule;

use crate::monorepo::SCHEDULERS;
use crate::table::Expected::{Everything, Nothing, Schedulers};
use crate::table::{Row, only};

/// Changes of what many or all are made from.
#[allow(clippy::too_many_lines, reason = "a table")]
pub(crate) fn shared() -> Vec<Row> {
    let all: Vec<usize> = (0..SCHEDULERS).collect();
    vec![
        ("nothing", |_| {}, Nothing),
        (
            "a shared crate",
            |repo| repo.change("crates/lib00/src/lib.rs"),
            Schedulers(all),
        ),
        (
            "a crate that some use",
            |repo| repo.change("crates/lib04/src/lib.rs"),
            Schedulers(vec![3, 13, 23, 33]),
        ),
        (
            "a crate that one uses by way of another",
            |repo| repo.change("crates/lib16/src/lib.rs"),
            only(13),
        ),
        (
            "a build dependency",
            |repo| repo.change("crates/lib11/src/lib.rs"),
            Schedulers((0..10).collect()),
        ),
        (
            "a dependency of tests",
            |repo| repo.change("crates/lib12/src/lib.rs"),
            only(10),
        ),
        (
            "a dependency of a feature",
            |repo| repo.change("crates/lib13/src/lib.rs"),
            only(11),
        ),
        (
            "a dependency of another platform",
            |repo| repo.change("crates/lib14/src/lib.rs"),
            only(12),
        ),
        (
            "a crate that no scheduler uses",
            |repo| repo.change("crates/lib17/src/lib.rs"),
            Schedulers(vec![]),
        ),
        (
            // It does not go into what users of lib01 are made from.
            "a dependency of a library's tests",
            |repo| repo.change("crates/lib18/src/lib.rs"),
            Schedulers(vec![]),
        ),
        (
            "tests of two schedulers in a package of their own",
            |repo| repo.change("crates/lib19/tests/suite.rs"),
            Schedulers(vec![38, 39]),
        ),
        (
            "the file that a scheduler is started with",
            |repo| repo.change("crates/lib17/sched31.toml"),
            only(31),
        ),
        (
            "the lock file",
            |repo| repo.change("Cargo.lock"),
            Everything(Rule::Lockfile),
        ),
        (
            "a toolchain",
            |repo| {
                repo.write(
                    "rust-toolchain.toml",
                    "[toolchain]\nprofile = \"minimal\"\n",
                );
            },
            Everything(Rule::Toolchain),
        ),
        (
            "the workspace's manifest",
            |repo| repo.change("Cargo.toml"),
            Everything(Rule::WorkspaceManifest),
        ),
        (
            "cargo's configuration",
            |repo| repo.write(".cargo/config.toml", "[net]\nretry = 1\n"),
            Everything(Rule::CargoConfig),
        ),
        (
            "a build script",
            |repo| repo.change("scheds/sched03/build.rs"),
            Everything(Rule::BuildScript),
        ),
        (
            "a build script that is gone",
            |repo| fs::remove_file(repo.path("scheds/sched03/build.rs")).unwrap(),
            Everything(Rule::BuildScript),
        ),
        (
            "a kernel fragment",
            |repo| repo.change("ktstr.kconfig"),
            Everything(Rule::Unattributed),
        ),
        (
            "a workflow",
            |repo| repo.change(".github/workflows/ci.yml"),
            Everything(Rule::Unattributed),
        ),
        (
            "a file that nobody knows",
            |repo| repo.write("include/new.bpf.h", ""),
            Everything(Rule::Unattributed),
        ),
        (
            "a package that is gone",
            |repo| fs::remove_dir_all(repo.path("scheds/sched35")).unwrap(),
            Everything(Rule::Unattributed),
        ),
    ]
}

/// Changes of one scheduler's files, and of headers.
#[allow(clippy::too_many_lines, reason = "a table")]
pub(crate) fn sources() -> Vec<Row> {
    vec![
        (
            "a source",
            |repo| repo.change("scheds/sched07/src/main.rs"),
            only(7),
        ),
        (
            "a manifest",
            |repo| repo.change("scheds/sched30/Cargo.toml"),
            only(30),
        ),
        (
            "a test",
            |repo| repo.change("scheds/sched06/tests/sched.rs"),
            only(6),
        ),
        (
            "BPF",
            |repo| repo.change("scheds/sched07/src/bpf/main.bpf.c"),
            only(7),
        ),
        (
            "its own header",
            |repo| repo.change("scheds/sched07/src/bpf/main.bpf.h"),
            only(7),
        ),
        (
            "a header that two include",
            |repo| repo.change("include/pair.bpf.h"),
            Schedulers(vec![20, 21]),
        ),
        (
            "a header that a header includes",
            |repo| repo.change("include/deep.bpf.h"),
            Schedulers(vec![20, 21]),
        ),
        (
            "a header that is gone",
            |repo| fs::remove_file(repo.path("include/pair.bpf.h")).unwrap(),
            Schedulers(vec![20, 21]),
        ),
        (
            "a header of another package",
            |repo| repo.change("crates/lib02/include/lib02.bpf.h"),
            Schedulers(vec![1, 11, 21, 31, 33]),
        ),
        (
            "a header behind a symbolic link",
            |repo| repo.change("include/linked.bpf.h"),
            only(19),
        ),
        (
            "a symbolic link that leads elsewhere",
            |repo| {
                let link = repo.path("scheds/sched19/src/bpf/shared.h");
                fs::remove_file(&link).unwrap();
                symlink("../../../../include/deep.bpf.h", link).unwrap();
            },
            only(19),
        ),
        (
            "a header with a space in its name, told by dep-info",
            |repo| repo.change("include/with space.h"),
            only(23),
        ),
        (
            "a header of that name of another's own",
            |repo| repo.change("scheds/sched22/src/bpf/with space.h"),
            only(22),
        ),
        (
            "a name that is no UTF-8",
            |repo| {
                let name = OsStr::from_bytes(b"scheds/sched18/src/\xff.bin");
                fs::write(repo.root().join(name), "").unwrap();
            },
            only(18),
        ),
        (
            "a mode",
            |repo| {
                let path = repo.path("scheds/sched17/src/main.rs");
                fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
            },
            only(17),
        ),
        (
            "a file that is gone",
            |repo| fs::remove_file(repo.path("scheds/sched09/src/extra.rs")).unwrap(),
            only(9),
        ),
        (
            "a new package",
            |repo| {
                let text = fs::read_to_string(repo.path("scheds/sched05/Cargo.toml")).unwrap();
                repo.write(
                    "scheds/sched40/Cargo.toml",
                    &text.replace("sched05", "sched40"),
                );
                repo.write("scheds/sched40/src/main.rs", "fn main() {}\n");
            },
            only(40),
        ),
        (
            "a new package in the lock file",
            |repo| {
                let text = fs::read_to_string(repo.path("scheds/sched05/Cargo.toml")).unwrap();
                repo.write(
                    "scheds/sched40/Cargo.toml",
                    &text.replace("sched05", "sched40"),
                );
                repo.write("scheds/sched40/src/main.rs", "fn main() {}\n");
                repo.metadata();
            },
            Everything(Rule::Lockfile),
        ),
    ]
}

/// Documentation, and what looks like it.
pub(crate) fn texts() -> Vec<Row> {
    vec![
        (
            "documentation",
            |repo| {
                repo.change("README.md");
                repo.change("docs/flow.svg");
                repo.change("scheds/sched05/README.md");
                repo.write("docs/new/page.md", "");
            },
            Nothing,
        ),
        (
            "documentation that a package includes",
            |repo| repo.change("docs/manual.md"),
            only(29),
        ),
        (
            "documentation among sources, which one includes",
            |repo| repo.change("scheds/sched28/src/usage.md"),
            only(28),
        ),
        (
            "documentation among sources",
            |repo| repo.change("scheds/sched06/src/usage.md"),
            only(6),
        ),
        (
            "documentation and code",
            |repo| {
                repo.change("README.md");
                repo.change("scheds/sched05/src/main.rs");
            },
            only(5),
        ),
    ]
}
