//! `scx-ktstr`: a small fair scheduler that misbehaves on demand.
//!
//! The scheduler is BPF (`bpf/main.bpf.c`, its faults apart in `bpf/faults.h`); this program loads it,
//! attaches it, waits, and says how it ended. It is the fixture of ktstr's own tests, and short enough to
//! begin a scheduler of one's own from.

mod object;
mod options;

use std::io::{self, Write};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::object::{Loaded, ObjectError};
use crate::options::{Options, Request, USAGE};

/// Exit codes beside 0 and 1: a command line that was not understood, and what test runners take for
/// "could not be tried here".
const NOT_UNDERSTOOD: u8 = 2;
const NOT_HERE: u8 = 77;

/// How often signals and the end of the scheduler are looked at.
const POLL: Duration = Duration::from_millis(20);

/// The longest life of a child that was left behind.
const LINGER: Duration = Duration::from_secs(600);

fn main() -> ExitCode {
    match Request::parse(std::env::args_os().skip(1)) {
        Ok(Request::Help) => {
            say(USAGE.trim_end());
            ExitCode::SUCCESS
        }
        Ok(Request::CanLoad) if object::IS_BUILT_IN => ExitCode::SUCCESS,
        Ok(Request::CanLoad) => {
            complain(&ObjectError::LeftOut);
            ExitCode::from(NOT_HERE)
        }
        Ok(Request::Linger) => outcome(linger().map(|()| ExitCode::SUCCESS)),
        Ok(Request::Run(options)) => outcome(run(&options)),
        Err(error) => {
            complain(&error);
            ExitCode::from(NOT_UNDERSTOOD)
        }
    }
}

/// What ends the program early.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error("{0}: {1}")]
    Os(&'static str, #[source] io::Error),
}

fn outcome(result: Result<ExitCode, RunError>) -> ExitCode {
    result.unwrap_or_else(|error| {
        complain(&error);
        ExitCode::FAILURE
    })
}

fn run(options: &Options) -> Result<ExitCode, RunError> {
    let stop = signals(options.ignore_sigterm)?;
    let loaded = Loaded::new(options, std::process::id())?;
    if let Some(code) = options.exit_early {
        say(&format!("scx-ktstr: exiting early with code {code}"));
        return Ok(ExitCode::from(code));
    }
    if options.never_attach {
        say("scx-ktstr: loaded, and not going to attach");
        while !stop.load(Ordering::Relaxed) {
            sleep(POLL);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let attached = loaded.attach()?;
    let slice = options.slice.as_micros();
    say(&format!("scx-ktstr: attached, with slices of {slice} us"));
    if options.fork {
        leave_child()?;
    }
    flood(options.flood_mib);

    let ejected = loop {
        let exit = attached.exit()?;
        if exit.is_some() || stop.load(Ordering::Relaxed) {
            break exit;
        }
        sleep(POLL);
    };
    let was_ejected = ejected.is_some();
    let exit = match ejected {
        Some(exit) => exit,
        None => attached.detach()?,
    };
    say(&format!("scx-ktstr: exit {exit}"));
    Ok(if !was_ejected && exit.is_by_request() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Becomes true when the program is told to stop.
fn signals(ignore_sigterm: bool) -> Result<Arc<AtomicBool>, RunError> {
    let stop = Arc::new(AtomicBool::new(false));
    let ignored = Arc::new(AtomicBool::new(false));
    let on_term = if ignore_sigterm { &ignored } else { &stop };
    signal_hook::flag::register(SIGTERM, Arc::clone(on_term))
        .and_then(|_| signal_hook::flag::register(SIGINT, Arc::clone(&stop)))
        .map_err(|error| RunError::Os("handling signals", error))?;
    Ok(stop)
}

/// `--fork`
fn leave_child() -> Result<(), RunError> {
    let this = std::env::current_exe().map_err(|error| RunError::Os("finding itself", error))?;
    let child = Command::new(this)
        .arg("--linger")
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| RunError::Os("starting a child", error))?;
    // Whoever started this program has to find and end it: that is the point.
    say(&format!("scx-ktstr: left a child behind: {}", child.id()));
    Ok(())
}

/// The child's side of `--fork`.
fn linger() -> Result<(), RunError> {
    signals(true)?;
    sleep(LINGER);
    Ok(())
}

/// `--flood-mib`
fn flood(mib: u64) {
    let line = format!(
        "scx-ktstr: {:1$}\n",
        "and so on",
        1024 - "scx-ktstr: \n".len()
    );
    let mut out = io::stdout().lock();
    for _ in 0..mib * 1024 {
        if out.write_all(line.as_bytes()).is_err() {
            break;
        }
    }
    let _ = out.flush();
}

/// A line that appears at once; nobody may be there to read it.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn complain(error: &dyn std::error::Error) {
    let _ = writeln!(io::stderr(), "scx-ktstr: {error}");
}
