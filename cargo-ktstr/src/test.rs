//! `test`: kernels first, then nextest, then where results are and how to run failures again.

use std::env::current_dir;
use std::io::{self, Write};
use std::process::ExitCode;

use ktstr_core::host::Host;
use ktstr_driver::{
    KernelChoice, NextestStreams, Session, SessionError, SessionEvent, SessionObserver,
};
use ktstr_kernel::discover::Found;
use ktstr_vmm::CancelToken;

use crate::cli::Test;
use crate::failure::{CommandResult, Failure, one_line};
use crate::progress::Reporter;
use crate::resolve::{self, Fetching};
use crate::summary;
use crate::terminal::tilde;

pub(crate) fn run(arguments: &Test, program: &'static str, host: &Host) -> CommandResult {
    let reporter = Reporter::new(program);
    let session = session(arguments, &reporter, host)?;
    let report = session
        .run(&Shown(&reporter), &CancelToken::new()?)
        .map_err(worded)?;
    summary::print(&report, arguments, program, "test");
    Ok(ExitCode::from(report.exit_code))
}

/// A session as `arguments` want it, with its kernels.
pub(crate) fn session(
    arguments: &Test,
    reporter: &Reporter,
    host: &Host,
) -> Result<Session, Failure> {
    let source = if arguments.kernel.is_empty() {
        KernelChoice::Discover
    } else {
        KernelChoice::Given
    };
    let session = Session::new(host.clone(), current_dir()?)
        .release(arguments.release)
        .nextest_profile(arguments.nextest_profile.clone())
        .scheduler_profile(arguments.profile.clone())
        .no_skip_mode(arguments.no_skip_mode)
        .no_perf_mode(arguments.no_perf_mode)
        .cpu_cap(arguments.cpu_cap)
        .backend(arguments.backend)
        .streams(NextestStreams::Foreground)
        .nextest_args(arguments.nextest_args.iter().cloned())
        // Before kernels are built, which takes its time.
        .prepare(source, &Shown(reporter))
        .map_err(worded)?;
    if source == KernelChoice::Discover {
        return Ok(session);
    }
    let options = resolve::build_options(arguments.base_config)?;
    let fetching = Fetching {
        include_eol: arguments.include_eol,
        ..Fetching::default()
    };
    let resolver = resolve::resolver(options, fetching)?;
    let kernels = resolve::all(&arguments.kernel, &resolver, reporter, |_| {})?;
    Ok(session.kernels(kernels))
}

/// `error`, with the option that it is about.
pub(crate) fn worded(error: SessionError) -> Failure {
    match error {
        SessionError::SameLabel { .. } => Failure::new(format!("--kernel: {}", one_line(error))),
        SessionError::Kernel(error) => error.into(),
        other => other.into(),
    }
}

/// Shows the events of a session on standard error.
pub(crate) struct Shown<'r>(pub(crate) &'r Reporter);

impl SessionObserver for Shown<'_> {
    fn event(&self, event: SessionEvent<'_>) {
        match event {
            SessionEvent::BackendSelected(selection) => {
                if let Some(note) = selection.note() {
                    self.0.line(&note);
                }
            }
            SessionEvent::KernelFound(Found { kernel, origin, .. }) => {
                let image = tilde(&kernel.image);
                let line = format!("kernel {}: {image} ({origin})", kernel.version);
                self.0.line(&line);
            }
            SessionEvent::SchedulerBuildOutput { line, .. }
            | SessionEvent::NextestOutput { line, .. } => {
                // As cargo's own output, which nextest shows as it comes.
                let _ = io::stderr().write_all(&[line, b"\n"].concat());
            }
            _ => {}
        }
    }
}
