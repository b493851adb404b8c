//! Finds programs and asks them for their versions.

use std::env::{join_paths, split_paths};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use ktstr_core::host::files::find_program;
use ktstr_core::text;

use crate::bounded::{self, Limits};

/// How long a program may take to print its version, on a machine that is busy with a build.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How many bytes of a program's output are read.
const OUTPUT_LIMIT: u64 = 4096;

/// The longest version that is shown, in characters.
const LONGEST: usize = 100;

/// The first program called `name` in the search path `path`. Empty parts of the path are passed over.
pub(crate) fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    let dirs: Vec<PathBuf> = split_paths(path)
        .filter(|dir| !dir.as_os_str().is_empty())
        .collect();
    let path = join_paths(&dirs).ok().filter(|path| !path.is_empty())?;
    find_program(&path, name)
}

/// The first line that `command` prints, when it succeeds within `patience`; else one clause saying why not.
///
/// Neither it nor what it started is left when this returns.
pub(crate) fn first_line(command: &mut Command, patience: Duration) -> Result<String, String> {
    let limits = Limits {
        time: patience,
        output: OUTPUT_LIMIT,
    };
    let answer = bounded::answer(command, limits).map_err(|why| why.to_string())?;
    if !answer.status.success() {
        return Err(format!("it fails: {}", answer.status));
    }
    let text = text::plain(&String::from_utf8_lossy(&answer.stdout));
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    line.map(|line| text::cut(line, LONGEST))
        .ok_or_else(|| "it says nothing".to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::thread;
    use std::time::Instant;

    use super::*;

    /// How long to sleep between two looks at a process that is about to end.
    const POLL: Duration = Duration::from_millis(5);

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn the_first_line_of_a_program_that_succeeds() {
        let line = |script: &str| first_line(&mut sh(script), PATIENCE);
        assert_eq!(line("echo; echo ' v 1.2'; echo more"), Ok("v 1.2".into()));
        assert_eq!(line("printf 'a\\033[31mb'"), Ok("ab".into()));
        assert!(
            line("echo v; exit 3")
                .unwrap_err()
                .contains("exit status: 3")
        );
        assert!(line("true").unwrap_err().contains("says nothing"));
        let none = first_line(&mut Command::new("/no/such"), PATIENCE).unwrap_err();
        assert!(none.contains("does not start"), "{none}");
        // Endless output ends at the limit.
        assert!(line("yes").is_err());
    }

    #[test]
    fn one_that_hangs_is_killed_with_what_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let pids = dir.path().join("pids");
        let script = format!(
            "sleep 1000 & echo $! > {0}; echo $$ >> {0}; wait",
            pids.display()
        );
        // Long enough for the shell to write both lines; it never answers, however long.
        let error = loop {
            let error = first_line(&mut sh(&script), Duration::from_millis(300)).unwrap_err();
            let written = fs::read_to_string(&pids).unwrap_or_default();
            if written.lines().count() == 2 {
                break error;
            }
        };
        assert!(error.contains("did not answer"), "{error}");
        for pid in fs::read_to_string(&pids).unwrap().lines() {
            let gone = || {
                let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
                // A zombie waits for init, which adopted it.
                stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z "))
            };
            let deadline = Instant::now() + Duration::from_secs(60);
            while !gone() {
                assert!(Instant::now() < deadline, "process {pid} is left");
                thread::sleep(POLL);
            }
        }
    }

    #[test]
    fn programs_are_files_that_can_be_executed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tool");
        fs::write(&path, "").unwrap();
        assert_eq!(find("tool", dir.path().as_os_str()), None);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find("tool", dir.path().as_os_str()), Some(path));
        assert_eq!(find("tool", OsStr::new("")), None);
    }
}
