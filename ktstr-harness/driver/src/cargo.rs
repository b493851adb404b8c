//! What cargo is asked, and where it is looked for.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

use cargo_metadata::{Metadata, MetadataCommand};
use ktstr_core::host::Host;
use ktstr_core::host::files::{is_program, write_atomic};
pub(crate) use ktstr_harness::runner::build::cargo as program;

use crate::{process, programs};

/// The program of cargo-nextest.
pub(crate) fn find_nextest(host: &Host) -> Option<PathBuf> {
    find_subcommand(host, "cargo-nextest")
}

/// A program that cargo runs as its subcommand: in `PATH`, or where `cargo install` puts programs.
pub(crate) fn find_subcommand(host: &Host, name: &str) -> Option<PathBuf> {
    let home = host
        .var("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(host.var("HOME")?).join(".cargo")));
    let installed = home.map(|home| home.join("bin").join(name));
    programs::find(name, &host.path).or_else(|| installed.filter(|program| is_program(program)))
}

/// Whether `dir` is in a cargo project.
pub(crate) fn is_project(dir: &Path) -> bool {
    absolute(dir)
        .ancestors()
        .any(|dir| dir.join("Cargo.toml").is_file())
}

/// The target directory of the project around `dir`; `args` are more arguments for `cargo metadata`. `None` where cargo
/// does not say.
pub(crate) fn target_dir(host: &Host, dir: &Path, args: Vec<OsString>) -> Option<PathBuf> {
    Some(metadata(host, dir, args)?.target_directory.into())
}

/// What cargo tells of the project around `dir`, but for its dependencies; `args` are more arguments.
pub(crate) fn metadata(host: &Host, dir: &Path, args: Vec<OsString>) -> Option<Metadata> {
    let mut command = process::command(host, program(host));
    command
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .args(args)
        .current_dir(dir);
    let output = command.output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let json = text.lines().find(|line| line.starts_with('{'))?;
    MetadataCommand::parse(json).ok()
}

/// Makes the target directory `target`, and marks it as cargo does those that it makes itself: tests find theirs by that,
/// and backups leave it out.
pub(crate) fn make_target_dir(target: &Path) -> io::Result<()> {
    if target.exists() {
        return Ok(());
    }
    fs::create_dir_all(target)?;
    write_atomic(&target.join("CACHEDIR.TAG"), CACHEDIR_TAG.as_bytes())
}

/// The standard's signature (<https://bford.info/cachedir/>), and who made it.
const CACHEDIR_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # This file marks a cache directory. ktstr made it before cargo did.\n";

/// `dir` from the root on.
pub(crate) fn absolute(dir: &Path) -> PathBuf {
    std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned())
}
