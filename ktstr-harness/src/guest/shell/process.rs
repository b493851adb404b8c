//! Starts the process of a shell: at a terminal of its own, or with three pipes.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, Signal, chdir, chroot, ioctl_tiocsctty, kill_process_group, setpgid, setsid,
};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::termios::{
    InputModes, OptionalActions, Winsize, tcgetattr, tcgetpgrp, tcsetattr, tcsetwinsize,
};

use super::super::{host_root, sys};
use crate::protocol::flow::Stream;
use crate::protocol::{ShellSpec, TerminalSize};

/// The shell that runs commands.
const SH: &str = "/bin/sh";

/// The shell that a person types at, where the machine has it.
const BASH: &str = "/bin/bash";

/// The directory that shells start in.
const HOME: &str = "/root";

/// Where programs are looked for, as for root elsewhere.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Exit status of a program that could not be started, as shells count it.
const NOT_STARTED: i32 = 127;

/// A shell's process.
pub(super) struct Process {
    pub(super) pid: Pid,
    /// Its terminal, which stays open as long as we have it: ours would end with its last process otherwise.
    terminal: Option<OwnedFd>,
}

/// Our ends of its streams.
pub(super) struct Ends {
    /// Where its input goes.
    pub(super) input: OwnedFd,
    /// Where its output comes from.
    pub(super) output: Vec<(Stream, OwnedFd)>,
}

/// Its own ends.
enum Theirs {
    Terminal(OwnedFd),
    Pipes([OwnedFd; 3]),
}

impl Process {
    /// Starts it; as a task of the enabled scheduler, where that takes only those that ask for it (`asks`).
    pub(super) fn start(
        spec: &ShellSpec,
        prompt: &str,
        asks: bool,
    ) -> Result<(Self, Ends), String> {
        let root = if spec.host_root {
            host_root::mount()?
        } else {
            "/".into()
        };
        // A link may be meant from that root on.
        if root.join(&SH[1..]).symlink_metadata().is_err() {
            return Err(format!("there is no {SH} in the machine"));
        }
        let (ends, theirs) = match spec.terminal {
            Some(size) => at_terminal(size).map_err(|error| {
                format!("no terminal: {error}; the kernel needs CONFIG_UNIX98_PTYS")
            })?,
            None => with_pipes().map_err(|error| format!("no pipes: {error}"))?,
        };
        let mut command = command(spec, prompt, &root);
        match sys::fork() {
            Ok(sys::Forked::Child) => {
                if asks {
                    // It runs under the kernel's own scheduler otherwise.
                    let _ = sys::run_under_sched_ext(std::process::id());
                }
                become_it(&theirs, &root, &mut command)
            }
            Ok(sys::Forked::Parent(pid)) => {
                let terminal = match theirs {
                    Theirs::Terminal(terminal) => Some(terminal),
                    Theirs::Pipes(_) => None,
                };
                Ok((Self { pid, terminal }, ends))
            }
            Err(error) => Err(format!("fork: {error}")),
        }
    }

    /// Sends `signal` to the processes in the foreground: those of the terminal, or those of the command.
    pub(super) fn signal(&self, signal: Signal) {
        let foreground = self.terminal.as_ref().map(tcgetpgrp);
        let group = foreground.map_or(Some(self.pid), Result::ok);
        if let Some(group) = group {
            // It fails when no process of the group is left.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Tells the terminal its size, which tells those in its foreground.
    pub(super) fn resize(&self, size: TerminalSize) {
        if let Some(terminal) = &self.terminal {
            let _ = tcsetwinsize(terminal, winsize(size));
        }
    }

    pub(super) fn is_at_terminal(&self) -> bool {
        self.terminal.is_some()
    }
}

fn winsize(size: TerminalSize) -> Winsize {
    Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

fn at_terminal(size: TerminalSize) -> io::Result<(Ends, Theirs)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags)?;
    unlockpt(&ours)?;
    let terminal = ioctl_tiocgptpeer(&ours, flags)?;
    tcsetwinsize(&terminal, winsize(size))?;
    let mut modes = tcgetattr(&terminal)?;
    // Erasing takes whole characters then.
    modes.input_modes |= InputModes::IUTF8;
    tcsetattr(&terminal, OptionalActions::Now, &modes)?;
    fcntl_setfl(&ours, OFlags::NONBLOCK | OFlags::RDWR)?;
    let input = ours.try_clone()?;
    let output = vec![(Stream::Output, ours)];
    Ok((Ends { input, output }, Theirs::Terminal(terminal)))
}

fn with_pipes() -> io::Result<(Ends, Theirs)> {
    let pipe = || pipe_with(PipeFlags::CLOEXEC);
    let (their_input, input) = pipe()?;
    let (output, their_output) = pipe()?;
    let (error, their_error) = pipe()?;
    for ours in [&input, &output, &error] {
        fcntl_setfl(ours, OFlags::NONBLOCK)?;
    }
    let output = vec![(Stream::Output, output), (Stream::Error, error)];
    let theirs = Theirs::Pipes([their_input, their_output, their_error]);
    Ok((Ends { input, output }, theirs))
}

/// What runs, in the environment of root's login.
fn command(spec: &ShellSpec, prompt: &str, root: &Path) -> Command {
    let is_typed_at = spec.command.is_none() && spec.terminal.is_some();
    let shell = if is_typed_at && root.join(&BASH[1..]).exists() {
        BASH
    } else {
        SH
    };
    let mut command = Command::new(shell);
    if let Some(line) = &spec.command {
        command.args(["-c", line]);
    }
    command.env_clear().envs([
        ("HOME", HOME),
        ("LOGNAME", "root"),
        ("PATH", PATH),
        ("SHELL", shell),
        ("USER", "root"),
    ]);
    if is_typed_at {
        command.env("PS1", prompt);
    }
    let variables = spec.env.iter().filter(|(name, value)| {
        // Others cannot be set; the host sends none.
        !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0')
    });
    command.envs(variables.map(|(name, value)| (name, value)));
    // Where it is not made, the shell starts in the root directory.
    let _ = fs::create_dir_all(root.join(&HOME[1..]));
    command
}

/// The child's side: never returns to init's code.
fn become_it(streams: &Theirs, root: &Path, command: &mut Command) -> ! {
    let connected = match streams {
        Theirs::Terminal(terminal) => setsid()
            .and_then(|_| ioctl_tiocsctty(terminal))
            .and_then(|()| dup2_stdin(terminal))
            .and_then(|()| dup2_stdout(terminal))
            .and_then(|()| dup2_stderr(terminal)),
        Theirs::Pipes([input, output, error]) => setpgid(None, None)
            .and_then(|()| dup2_stdin(input))
            .and_then(|()| dup2_stdout(output))
            .and_then(|()| dup2_stderr(error)),
    };
    let entered = connected.and_then(|()| {
        chroot(root)?;
        chdir(HOME).or_else(|_| chdir("/"))
    });
    let error = match entered {
        Ok(()) => command.exec(),
        Err(errno) => errno.into(),
    };
    eprintln!("ktstr: {}: {error}", command.get_program().display());
    sys::exit_now(NOT_STARTED)
}
