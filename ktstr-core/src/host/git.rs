//! How git is asked about a work tree.

use std::path::Path;
use std::process::{Command, Stdio};

use super::Host;

/// Variables that override which repository git uses. Git sets them for its hooks; they would hide the repository
/// around a directory. `git rev-parse --local-env-vars` lists them.
pub(super) const OF_ANOTHER_REPOSITORY: &[&str] = &[
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_INDEX_VERSION",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_GRAFT_FILE",
    "GIT_REPLACE_REF_BASE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_SHALLOW_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
];

/// The git of `host`, to be asked about the work tree around `dir`: whatever repository the environment names is not
/// asked, no index is written, and nothing is read from standard input.
pub fn git_command(host: &Host, dir: &Path) -> Command {
    let mut command = host.command("git");
    for name in OF_ANOTHER_REPOSITORY {
        command.env_remove(name);
    }
    command
        // A commit in progress may hold the index lock; this only reads.
        .arg("--no-optional-locks")
        .current_dir(dir)
        .stdin(Stdio::null());
    command
}
