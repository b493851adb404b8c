//! Child processes: what they inherit, how their output is read, and how they end when nobody wants them any more.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ktstr_core::host::Host;
use ktstr_vmm::CancelToken;
use ktstr_vmm::child::end_with_us;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open};

/// How long a process that was told to end may take. Nextest gives each test ten seconds, which a project may change.
const GRACE: Duration = Duration::from_secs(60);

/// How often to look whether a process has ended that may have left its pipes to others.
const LOOK: Duration = Duration::from_millis(200);

/// How long to read, from when a process has ended, what others go on writing into its pipes.
const LINGER: Duration = Duration::from_secs(5);

/// The longest line that is passed on whole, in bytes.
const LONGEST_LINE: usize = 64 << 10;

/// Takes the lines of one stream, with their ends; a very long one comes in pieces.
pub(crate) type OnLine<'a> = &'a mut (dyn FnMut(&[u8]) + Send);

/// A command with the environment of `host` and no other, and nothing to read.
pub(crate) fn command(host: &Host, program: impl AsRef<OsStr>) -> Command {
    let mut command = host.command(program);
    command.stdin(Stdio::null());
    command
}

/// `program` as an error names it.
pub(crate) fn name(command: &Command) -> String {
    command.get_program().display().to_string()
}

/// Which process group a child is in, and so who ends with it when it is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// In ours: a terminal's Ctrl-C reaches it and what it starts. Cancelled, it alone is told to end.
    Process,
    /// In one of its own, all of which is told to end.
    Group,
}

impl Scope {
    fn signal(self, pid: Pid, signal: Signal) {
        let _ = match self {
            Self::Process => kill_process(pid, signal),
            Self::Group => kill_process_group(pid, signal),
        };
    }
}

/// Runs `command` until it ends, or until `cancel` has it end.
///
/// A stream without a closure goes where this process's goes. The child is told to end should this thread end.
pub(crate) fn run(
    command: &mut Command,
    scope: Scope,
    cancel: &CancelToken,
    stdout: Option<OnLine<'_>>,
    stderr: Option<OnLine<'_>>,
    started: impl FnOnce(&Child),
) -> io::Result<ExitStatus> {
    let stream = |on_line: &Option<OnLine<'_>>| match on_line {
        Some(_) => Stdio::piped(),
        None => Stdio::inherit(),
    };
    command.stdout(stream(&stdout)).stderr(stream(&stderr));
    if scope == Scope::Group {
        command.process_group(0);
    }
    end_with_us(command, Signal::TERM);
    let mut child = command.spawn()?;
    started(&child);
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let has_ended = AtomicBool::new(false);
    thread::scope(|threads| {
        let has_ended = &has_ended;
        if let (Some(pipe), Some(on_line)) = (out, stdout) {
            threads.spawn(move || read_lines(pipe, has_ended, on_line));
        }
        if let (Some(pipe), Some(on_line)) = (err, stderr) {
            threads.spawn(move || read_lines(pipe, has_ended, on_line));
        }
        let waited = wait_for_end(&child, cancel, scope);
        if waited.is_err() {
            scope.signal(Pid::from_child(&child), Signal::KILL);
        }
        has_ended.store(true, Ordering::SeqCst);
        waited
    })?;
    child.wait()
}

/// Waits until `child` has ended, and leaves it for its parent to reap; has it end once `cancel` is cancelled.
pub(crate) fn wait_for_end(child: &Child, cancel: &CancelToken, scope: Scope) -> io::Result<()> {
    let pid = Pid::from_child(child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let mut deadline = None;
    loop {
        let mut fds = vec![PollFd::new(&pidfd, PollFlags::IN)];
        // Once it was told to end, there is nothing more to hear of that.
        if deadline.is_none() {
            fds.push(PollFd::new(cancel, PollFlags::IN));
        }
        let left =
            deadline.map(|at: Instant| timespec(at.saturating_duration_since(Instant::now())));
        match poll(&mut fds, left.as_ref()) {
            Ok(0) => {
                scope.signal(pid, Signal::KILL);
                deadline = Some(Instant::now() + GRACE);
            }
            Ok(_) if !fds[0].revents().is_empty() => {
                // What it started meanwhile was told nothing.
                if deadline.is_some() && scope == Scope::Group {
                    scope.signal(pid, Signal::KILL);
                }
                return Ok(());
            }
            Ok(_) => {
                scope.signal(pid, Signal::TERM);
                deadline = Some(Instant::now() + GRACE);
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: time.as_secs().cast_signed(),
        tv_nsec: time.subsec_nanos().into(),
    }
}

/// Passes on the lines of `pipe` until its last writer is gone, or soon after the process `has_ended` that it belongs to:
/// what that one started may hold the pipe for ever.
fn read_lines(mut pipe: impl Read + AsFd, has_ended: &AtomicBool, on_line: OnLine<'_>) {
    let mut line = Vec::new();
    let mut bytes = [0; 8192];
    let mut until: Option<Instant> = None;
    loop {
        if until.is_none() && has_ended.load(Ordering::SeqCst) {
            until = Some(Instant::now() + LINGER);
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            break;
        }
        let ready = {
            let mut fds = [PollFd::new(&pipe, PollFlags::IN)];
            poll(&mut fds, Some(&timespec(LOOK)))
        };
        match ready {
            // Nobody has written anything for a while.
            Ok(0) if until.is_some() => break,
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) => {}
            Err(_) => break,
        }
        match pipe.read(&mut bytes) {
            Ok(0) => break,
            Ok(read) => split(&mut line, &bytes[..read], on_line),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    if !line.is_empty() {
        on_line(&line);
    }
}

/// Takes the lines that `bytes` complete from `line` and them.
fn split(line: &mut Vec<u8>, bytes: &[u8], on_line: &mut dyn FnMut(&[u8])) {
    for part in bytes.split_inclusive(|byte| *byte == b'\n') {
        line.extend_from_slice(part);
        let is_whole = line.last() == Some(&b'\n');
        if is_whole || line.len() >= LONGEST_LINE {
            on_line(line);
            line.clear();
        }
    }
}

/// The exit code of a process, as a shell gives it: 128 and the signal for one that was killed.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// A command that wrote what was asked for, or what it said instead.
pub(crate) struct Captured {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
}

/// Runs `command` for its standard output; `stderr` takes the lines of the other one.
pub(crate) fn capture(
    command: &mut Command,
    scope: Scope,
    cancel: &CancelToken,
    stderr: Option<OnLine<'_>>,
) -> io::Result<Captured> {
    let mut stdout = Vec::new();
    let mut keep = |line: &[u8]| stdout.extend_from_slice(line);
    let status = run(command, scope, cancel, Some(&mut keep), stderr, |_| {})?;
    Ok(Captured { status, stdout })
}

impl fmt::Debug for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Captured")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = command(&Host::of_this_process(), "sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn lines_arrive_by_stream() {
        let cancel = CancelToken::new().unwrap();
        let mut lines = Vec::new();
        let mut on_line = |line: &[u8]| lines.push(String::from_utf8_lossy(line).into_owned());
        let mut command = sh("echo a; echo err >&2; printf 'b\\n\\nc'; exit 3");
        let captured = capture(&mut command, Scope::Group, &cancel, Some(&mut on_line)).unwrap();
        assert_eq!(exit_code(captured.status), 3);
        assert_eq!(captured.stdout, b"a\nb\n\nc");
        assert_eq!(lines, ["err\n"]);
    }

    #[test]
    fn endless_lines_come_in_pieces() {
        let mut pieces = Vec::new();
        let mut line = Vec::new();
        let long = vec![b'x'; LONGEST_LINE];
        for bytes in [&b"y"[..], &long, b"z\nrest"] {
            split(&mut line, bytes, &mut |piece| pieces.push(piece.len()));
        }
        assert_eq!(pieces, [LONGEST_LINE + 1, 2]);
        assert_eq!(line, b"rest");
    }

    #[test]
    fn a_process_that_left_its_pipe_to_another_has_ended() {
        let cancel = CancelToken::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        // The sleeper is in a process group of its own, and so outlives its parent.
        let script = format!("setsid sleep 1000 & echo $! > {}; echo said", pid.display());
        let captured = capture(&mut sh(&script), Scope::Group, &cancel, None).unwrap();
        assert_eq!(captured.stdout, b"said\n");
        let pid: i32 = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
    }

    #[test]
    fn a_cancelled_process_ends_with_what_it_started() {
        let cancel = CancelToken::new().unwrap();
        let mut command = sh("trap 'exit 7' TERM; echo ready; sleep 1000 & wait");
        let mut on_line = |_: &[u8]| cancel.cancel();
        let status = run(
            &mut command,
            Scope::Group,
            &cancel,
            Some(&mut on_line),
            None,
            |_| {},
        )
        .unwrap();
        assert_eq!(exit_code(status), 7);
        assert!(cancel.is_cancelled());
        assert!(!CancelToken::new().unwrap().is_cancelled());
    }

    #[test]
    fn nothing_but_the_hosts_environment_is_inherited() {
        let mut host = Host::of_this_process();
        let path = host.path.clone();
        host.env = [("ONE".into(), "1".into())].into();
        let cancel = CancelToken::new().unwrap();
        let captured = capture(&mut command(&host, "env"), Scope::Group, &cancel, None).unwrap();
        let text = String::from_utf8(captured.stdout).unwrap();
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        assert_eq!(
            lines,
            ["ONE=1".to_owned(), format!("PATH={}", path.display())]
        );
    }
}
