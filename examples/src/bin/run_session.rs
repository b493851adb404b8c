//! Runs the tests of a cargo project as `cargo ktstr test` does, with the library alone: a kernel that is built already is
//! found, events are shown in lines of our own, and the session is cancelled when it takes too long.
//!
//! ```text
//! cargo run -p ktstr-examples --bin run_session -- [--dir DIR] [--limit SECONDS] [NEXTEST-ARG]...
//! ```

use std::error::Error;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ktstr_core::host::Host;
use ktstr_core::record::Record;
use ktstr_driver::{
    KernelChoice, OutputStream, RunSummary, Session, SessionEvent, SessionObserver, replay_args,
};
use ktstr_render::{Style, errors, summary, text};
use ktstr_vmm::CancelToken;
use lexopt::prelude::*;

/// One line per event. What nextest reports is its standard error; we mark it as such.
struct Lines;

impl SessionObserver for Lines {
    fn event(&self, event: SessionEvent<'_>) {
        match event {
            SessionEvent::BackendSelected(selection) => {
                println!("machines run on {}", selection.backend());
            }
            SessionEvent::NoBackend(why) => println!("no machines: {why}"),
            SessionEvent::KernelFound(found) => {
                let (version, origin) = (&found.kernel.version, &found.origin);
                println!("kernel {version} ({origin})");
            }
            SessionEvent::SchedulerBuildStarted { package } => {
                println!("building {}", package.name);
            }
            SessionEvent::SchedulerBuildEnded { package, program } => match program {
                Ok(program) => println!("built {}: {}", package.name, program.display()),
                Err(why) => println!("no {}: {why}", package.name),
            },
            SessionEvent::NextestOutput { stream, line } => {
                let mark = match stream {
                    OutputStream::Stdout => "",
                    OutputStream::Stderr => "nextest: ",
                };
                println!("{mark}{}", String::from_utf8_lossy(line));
            }
            _ => {}
        }
    }
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let mut dir = std::env::current_dir()?;
    let mut limit = None;
    let mut nextest_args = Vec::new();
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("dir") => dir = arguments.value()?.into(),
            Long("limit") => limit = Some(Duration::from_secs(arguments.value()?.parse()?)),
            Value(value) => {
                // Everything from here on is nextest's.
                nextest_args.push(value);
                nextest_args.extend(arguments.raw_args()?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let session = Session::new(Host::of_this_process(), &dir)
        .nextest_args(nextest_args.clone())
        .prepare(KernelChoice::Discover, &Lines)?;
    let cancel = CancelToken::new()?;
    let (ended, wait) = mpsc::channel::<()>();
    let report = thread::scope(|scope| {
        if let Some(limit) = limit {
            let cancel = cancel.clone();
            scope.spawn(move || {
                if wait.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                    cancel.cancel();
                }
            });
        }
        let report = session.run(&Lines, &cancel);
        drop(ended);
        report
    })?;
    if report.cancelled {
        println!("cancelled: what ran until then follows");
    }
    // What `cargo ktstr test` shows at its end, with commands of our own.
    let failures = report.runs.iter().flat_map(RunSummary::failures);
    let replay = |failure: &Record| {
        let args = replay_args(&failure.sidecar, &nextest_args);
        let args = text::command(args.iter().map(|arg| arg.to_string_lossy()));
        let dir = dir.to_string_lossy();
        format!("run_session --dir {} -- {args}", text::quote(&dir))
    };
    let replays: Vec<String> = failures.map(replay).collect();
    let style = Style::new("run_session", None, std::env::home_dir());
    print!("{}", summary::text(&report, "test", &replays, &style));
    Ok(ExitCode::from(report.exit_code))
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        // One line, with what to do next.
        let problems = errors::problems(&*error, "cargo ktstr");
        eprint!("{}", errors::text(&problems));
        ExitCode::FAILURE
    })
}
