//! Programs that are asked something: they answer within a time and a size, or are killed.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use ktstr_vmm::child::end_with_us;
use rustix::process::{Pid, Signal, kill_process_group};

/// How long to sleep between two looks at a process that is about to end.
const POLL: Duration = Duration::from_millis(5);

/// How many bytes of a program's complaints are kept.
const COMPLAINTS: u64 = 4096;

/// How long to wait for complaints of a program that has ended.
const LINGER: Duration = Duration::from_secs(1);

/// How much of a program is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Until it has ended.
    pub(crate) time: Duration,
    /// Bytes of its standard output. A program that writes more finds its pipe closed.
    pub(crate) output: u64,
}

/// What a program said before it ended.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    /// Whether `stdout` is all that it wrote there.
    pub(crate) is_whole: bool,
    /// The first bytes of its standard error.
    pub(crate) stderr: Vec<u8>,
}

/// A program that did not answer, as a clause.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("it does not start: {0}")]
    Start(io::Error),
    #[error("it did not answer within {0:?}")]
    Slow(Duration),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Runs `command` for its answer. Neither it nor what it started is left when this returns.
pub(crate) fn answer(command: &mut Command, limits: Limits) -> Result<Answer, NoAnswer> {
    let deadline = Instant::now() + limits.time;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    end_with_us(command, Signal::KILL);
    let mut child = command.spawn().map_err(NoAnswer::Start)?;
    let answer = wait(&mut child, limits, deadline);
    // What the program itself left running goes too.
    let group = Pid::from_child(&child);
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait();
    answer?.ok_or(NoAnswer::Slow(limits.time))
}

/// `None` when it has not ended, and closed its standard output, until `deadline`.
fn wait(child: &mut Child, limits: Limits, deadline: Instant) -> io::Result<Option<Answer>> {
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
        return Ok(None);
    };
    let stdout = in_thread(move || {
        let mut bytes = Vec::new();
        out.take(limits.output.saturating_add(1))
            .read_to_end(&mut bytes)
            .map(|_| bytes)
    });
    let stderr = in_thread(move || complaints(err));
    let left = deadline.saturating_duration_since(Instant::now());
    let Ok(stdout) = stdout.recv_timeout(left) else {
        return Ok(None);
    };
    let mut stdout = stdout?;
    let limit = usize::try_from(limits.output).unwrap_or(usize::MAX);
    let is_whole = stdout.len() <= limit;
    stdout.truncate(limit);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(POLL);
    };
    // What it left running may hold the pipe.
    let stderr = stderr.recv_timeout(LINGER).unwrap_or_default();
    Ok(Some(Answer {
        status,
        stdout,
        is_whole,
        stderr,
    }))
}

/// The first bytes of `pipe`. The others are read too: a program may complain more before it answers.
fn complaints(mut pipe: ChildStderr) -> Vec<u8> {
    let mut first = Vec::new();
    let read = (&mut pipe).take(COMPLAINTS).read_to_end(&mut first);
    let _ = read.and_then(|_| io::copy(&mut pipe, &mut io::sink()));
    first
}

/// Sends what `read` returns. Its thread ends when the last writer does: at the latest when the process group was killed.
fn in_thread<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let _ = sender.send(read());
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        time: Duration::from_secs(60),
        output: 4,
    };

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_is_cut_off_is_told() {
        for (script, expected, whole) in [
            ("printf abc", "abc", true),
            ("printf abcd", "abcd", true),
            ("printf abcde", "abcd", false),
        ] {
            let answer = answer(&mut sh(script), LIMITS).unwrap();
            let told = (String::from_utf8(answer.stdout).unwrap(), answer.is_whole);
            assert_eq!(told, (expected.to_owned(), whole), "{script}");
        }
    }

    #[test]
    fn complaints_do_not_block_an_answer() {
        // More than any pipe holds.
        let script = "head -c 1000000 /dev/zero >&2 && printf ok";
        let answer = answer(&mut sh(script), LIMITS).unwrap();
        assert_eq!(answer.stdout, b"ok");
        assert_eq!(answer.stderr.len() as u64, COMPLAINTS);
    }

    #[test]
    fn one_that_does_not_end_is_killed() {
        let limits = Limits {
            time: Duration::from_millis(100),
            ..LIMITS
        };
        // It has closed its streams and goes on.
        let silent = answer(&mut sh("exec >&- 2>&-; sleep 1000"), limits);
        assert!(matches!(silent, Err(NoAnswer::Slow(_))), "{silent:?}");
    }
}
