//! Commands that file permissions hold for, although root runs the tests.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// The capabilities that let root read any file, given up for good.
const DROPPED: [&str; 2] = [
    "--bounding-set=-dac_override,-dac_read_search",
    "--inh-caps=-dac_override,-dac_read_search",
];

/// The same command, for which file permissions hold. `None`, and a line that says why, where that cannot be had.
pub(crate) fn restricted(command: &Command) -> Option<Command> {
    let works = probe();
    if let Err(why) = &works {
        eprintln!("SKIP: no command here that file permissions hold for: {why}");
    }
    works.ok()?;
    let mut restricted = Command::new("setpriv");
    restricted
        .args(DROPPED)
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => restricted.env(name, value),
            None => restricted.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        restricted.current_dir(dir);
    }
    Some(restricted)
}

/// Whether such a command is refused a file that nobody may read.
fn probe() -> Result<(), String> {
    let file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    forbid(file.path()).map_err(|error| error.to_string())?;
    let setpriv = |words: &[&str]| {
        let mut setpriv = Command::new("setpriv");
        let run = setpriv.args(DROPPED).arg("--").args(words).arg(file.path());
        let output = run.env("LC_ALL", "C").output();
        output.map_err(|error| format!("setpriv (util-linux): {error}"))
    };
    let runs = setpriv(&["test", "-e"])?;
    if !runs.status.success() {
        return Err(String::from_utf8_lossy(&runs.stderr).trim().to_owned());
    }
    if setpriv(&["cat"])?.status.success() {
        return Err("it reads a file of mode 0".to_owned());
    }
    Ok(())
}

/// Takes all permissions from `file`.
pub(crate) fn forbid(file: &Path) -> io::Result<()> {
    fs::set_permissions(file, fs::Permissions::from_mode(0o000))
}
