//! The project in the scratch work tree of a commit.

use std::path::Path;

use cargo_metadata::MetadataCommand;

use crate::perf_delta::trees::Tree;
use crate::{Session, cargo, process};

/// Whether there is a `Cargo.toml` above `dir`, up to `root`.
pub(super) fn cargo_toml_above(dir: &Path, root: &Path) -> bool {
    let above = dir.ancestors().take_while(|dir| dir.starts_with(root));
    let mut above = above.filter(|dir| dir.join("Cargo.toml").is_file());
    dir.is_dir() && above.next().is_some()
}

/// Makes what packages of `session` depend on beside the project's work tree reachable from the scratch one, as far as
/// cargo tells. What is missing then, cargo names when it builds.
pub(super) fn link_neighbours(tree: &Tree<'_>, session: &Session) {
    let mut command = process::command(session.host(), cargo::program(session.host()));
    command
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(session.dir());
    let Ok(output) = command.output() else {
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(json) = text.lines().find(|line| line.starts_with('{')) else {
        return;
    };
    let Ok(metadata) = MetadataCommand::parse(json) else {
        return;
    };
    let packages = metadata.packages.iter();
    let dependencies = packages.flat_map(|package| &package.dependencies);
    for path in dependencies.filter_map(|dependency| dependency.path.as_ref()) {
        let _ = tree.link_neighbour(path.as_std_path());
    }
}
