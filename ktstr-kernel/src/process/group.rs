//! Processes that end with us, however we end.
//!
//! A signal at the death of a parent reaches make, but not the compilers below it. So they are a
//! process group of their own, led by a small shell that waits for its input to end: that happens
//! when we are gone, killed or not. It then ends the group, and holds the lock of the build until
//! that is done. Ctrl-C on the terminal ends us, and thereby them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use ktstr_core::host::ProcessStat;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::text::line;

/// SIGTERM first: make removes targets that are half written, gcc its temporary files.
const GUARD: &str =
    "trap '' HUP INT QUIT PIPE TERM; read -r _; kill -TERM 0; sleep 1; kill -KILL 0";

/// A command and all that it starts; ended when this value is dropped, or our process is gone.
#[derive(Debug)]
pub(super) struct Group {
    guard: Child,
    id: Pid,
    /// The command; `None` until it is started.
    command: Option<Child>,
}

impl Group {
    /// Starts `command` in a group of its own. `lock` stays locked until every member is gone.
    pub(super) fn start(command: &mut Command, lock: &File) -> io::Result<Self> {
        let guard = Command::new("/bin/sh")
            .args(["-c", GUARD])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::piped())
            // Only to hold it: the guard says nothing.
            .stdout(lock.try_clone()?)
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let id = Pid::from_child(&guard);
        let mut group = Self {
            guard,
            id,
            command: None,
        };
        command.process_group(id.as_raw_nonzero().get());
        group.command = Some(command.spawn()?);
        Ok(group)
    }

    /// How the command ended; `None` while it runs.
    pub(super) fn status(&mut self) -> io::Result<Option<ExitStatus>> {
        self.command.as_mut().map_or(Ok(None), Child::try_wait)
    }

    /// The programs of the group that wait for no other one of it, each once: those that hold everything up where
    /// nothing gets on.
    pub(super) fn busy_programs(&self) -> Vec<String> {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let leader = self.id.as_raw_nonzero().get().unsigned_abs();
        let members: Vec<ProcessStat> = processes
            .filter_map(|process| ProcessStat::read(process.file_name().to_str()?.parse().ok()?))
            .filter(|process| process.group == leader && process.pid != leader)
            .filter(|process| !process.has_ended())
            .collect();
        let parents: BTreeSet<u32> = members.iter().map(|member| member.parent).collect();
        let busy = members
            .into_iter()
            .filter(|member| !parents.contains(&member.pid));
        let names: BTreeSet<String> = busy.map(|member| line(&member.name)).collect();
        names.into_iter().collect()
    }

    /// Ends what is left of the group at once: the command is done.
    pub(super) fn finish(self) {
        // The guard would first ask nicely, and wait.
        let _ = kill_process_group(self.id, Signal::KILL);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The guard's input ends, and it ends the group. Nobody else gets its id until it is waited for.
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
        if let Some(command) = &mut self.command {
            let _ = command.wait();
        }
    }
}
