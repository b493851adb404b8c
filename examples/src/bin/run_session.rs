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
use ktstr_driver::{
    KernelChoice, OutputStream, RunSummary, Session, SessionEvent, SessionObserver,
};
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
    let session = Session::new(Host::of_this_process(), dir)
        .nextest_args(nextest_args)
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
    let how = if report.cancelled {
        "cancelled"
    } else {
        "ended"
    };
    println!("{how}: {}", report.tally());
    for failure in report.runs.iter().flat_map(RunSummary::failures) {
        println!("{}: {}", failure.sidecar.case, failure.path.display());
    }
    Ok(ExitCode::from(report.exit_code))
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}
