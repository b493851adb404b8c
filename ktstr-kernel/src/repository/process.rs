//! Programs that carry a conversation: `ssh`, and `git upload-pack` for directories of this machine.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::address::Endpoint;
use super::meter::{Fault, Meter};
use super::{Access, Address, Repository};

/// What a program writes, until it is silent for too long. The program ends with it.
#[derive(Debug)]
pub(super) struct Output {
    child: Child,
    stdout: ChildStdout,
    /// Until it is closed.
    stderr: Option<ChildStderr>,
    /// The end of what came from there.
    complaint: Vec<u8>,
    meter: Arc<Meter>,
}

/// How much of standard error is kept.
const COMPLAINT: usize = 8 << 10;

/// How long a program that has closed standard output may go on about why.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Starts the program for the repository; `None` where that failed and the meter knows why.
pub(super) fn start(
    repository: &Repository<'_>,
    meter: &Arc<Meter>,
) -> Option<(Output, ChildStdin)> {
    let mut command = command(&repository.address, &repository.access);
    let name = command.get_program().to_string_lossy().into_owned();
    let spawned = command
        .env("GIT_PROTOCOL", "version=2")
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = spawned
        .map_err(|error| {
            let why = match error.kind() {
                io::ErrorKind::NotFound => format!("{name} is not installed"),
                _ => format!("{name} cannot be run: {error}"),
            };
            meter.fail(Fault::Network(why))
        })
        .ok()?;
    let stdin = child.stdin.take()?;
    let output = Output {
        stdout: child.stdout.take()?,
        stderr: child.stderr.take(),
        complaint: Vec::new(),
        child,
        meter: Arc::clone(meter),
    };
    Some((output, stdin))
}

fn command(address: &Address, access: &Access<'_>) -> Command {
    let Endpoint::Ssh { user, host, port } = address.endpoint() else {
        let mut command = Command::new("git");
        command
            // Whatever is configured, no program but this one runs.
            .env_clear()
            .env("PATH", &access.host.path)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_NO_LAZY_FETCH", "1")
            .args(["upload-pack", "--"])
            .arg(OsStr::from_bytes(address.path()));
        return command;
    };
    let mut command = access.host.command("ssh");
    command
        // Nobody is there to answer questions.
        .args(["-T", "-o", "BatchMode=yes", "-o", "SendEnv=GIT_PROTOCOL"])
        .arg("-o")
        .arg(format!(
            "ConnectTimeout={}",
            access.limits.connect.as_secs().max(1)
        ));
    if let Some(port) = port {
        command.arg("-p").arg(port.to_string());
    }
    let target = user.map_or_else(|| host.to_owned(), |user| format!("{user}@{host}"));
    let path = gix::url::expand_path::for_shell(address.path().into());
    command
        .arg(target)
        .arg(format!("git-upload-pack {}", quoted(&path.to_string())));
    command
}

/// `text` as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''").replace('!', "'\\!'"))
}

impl Output {
    /// Waits until there is something to read, or the end, of standard output; `false` where that takes longer than the
    /// meter allows. Meanwhile standard error is read: a program that nobody reads from writes no more.
    fn wait(&mut self) -> io::Result<bool> {
        let deadline = Instant::now() + self.meter.silence;
        loop {
            let mut fds = vec![PollFd::new(&self.stdout, PollFlags::IN)];
            fds.extend(self.stderr.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            if poll(&mut fds, Some(&left))? == 0 {
                return Ok(false);
            }
            if !fds[0].revents().is_empty() {
                return Ok(true);
            }
            // Complaints without end are silence, too.
            if Instant::now() >= deadline {
                return Ok(false);
            }
            self.read_complaint();
        }
    }

    /// Reads what standard error has, at least the end of it.
    fn read_complaint(&mut self) {
        let mut buffer = [0; 4096];
        let read = self
            .stderr
            .as_mut()
            .map_or(Ok(0), |stderr| stderr.read(&mut buffer));
        match read {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => self.stderr = None,
            Ok(read) => {
                self.complaint.extend_from_slice(&buffer[..read]);
                let old = self.complaint.len().saturating_sub(COMPLAINT);
                self.complaint.drain(..old);
            }
        }
    }

    /// The last line of what the program complained about.
    fn complaint(&mut self) -> Option<String> {
        let deadline = Instant::now() + LAST_WORDS;
        while let Some(stderr) = &self.stderr
            && Instant::now() < deadline
        {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).ok()?;
            if poll(&mut [PollFd::new(stderr, PollFlags::IN)], Some(&left)).ok()? == 0 {
                break;
            }
            self.read_complaint();
        }
        let text = String::from_utf8_lossy(&self.complaint);
        if text.contains("detected dubious ownership") {
            // What git advises is configuration, of which none is read here.
            return Some("it belongs to another user (make a clone of your own)".to_owned());
        }
        let line = text.lines().rfind(|line| !line.trim().is_empty())?;
        Some(line.trim_start_matches("fatal: ").to_owned())
    }
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.wait()? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let read = self.stdout.read(buffer)?;
        // The end: whether it came too early only its reader knows.
        if read == 0
            && let Some(complaint) = self.complaint()
        {
            self.meter.fail(Fault::Network(complaint));
        }
        Ok(read)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use ktstr_core::host::Host;

    use super::super::Limits;
    use super::*;

    #[test]
    fn a_path_is_one_word_of_the_remote_shell() {
        let address = Address::parse("ssh://me@host:22/a'b;reboot").unwrap();
        let host = Host::default().with_vars([("SSH_AUTH_SOCK", "/agent")]);
        let limits = Limits::default();
        let access = Access {
            host: &host,
            limits,
        };
        let command = command(&address, &access);
        let agent = ("SSH_AUTH_SOCK".as_ref(), Some("/agent".as_ref()));
        assert!(command.get_envs().any(|variable| variable == agent));
        let args: Vec<_> = command.get_args().collect();
        assert!(args.contains(&"BatchMode=yes".as_ref()), "{args:?}");
        assert_eq!(
            args[args.len() - 2..],
            ["me@host", r"git-upload-pack '/a'\''b;reboot'"]
        );
    }
}
