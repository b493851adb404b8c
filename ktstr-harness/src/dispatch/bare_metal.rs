//! A run of one case without a machine, as a `.run` of `cargo ktstr export` starts it.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use ktstr_core::{Outcome, text};
use lexopt::{Arg, Parser, ValueExt};
use rustix::process::Pid;

use super::terminal::reason;
use crate::bare_metal::{self, BareMetalError, End, Options};
use crate::cases::cases;
use crate::registry;
use crate::runner::{CaseResult, render};

/// The first argument of such a run.
pub(super) const OPTION: &str = "--bare-metal";

/// Exit codes of a `.run` for what is no verdict; its script has the same.
mod exit_code {
    pub(super) const TOPOLOGY: u8 = 7;
    pub(super) const ATTACHED: u8 = 6;
    pub(super) const SET_UP: u8 = 8;
    pub(super) const LEFT: u8 = 11;
    pub(super) const USAGE: u8 = 64;
    /// And the number of the signal.
    pub(super) const SIGNAL: u8 = 128;
}

struct Args {
    case: String,
    options: Options,
    quiet: bool,
}

/// Runs the case that `args` name and returns its verdict's exit code.
pub(super) fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match parse(args) {
        Ok(args) => args,
        Err(error) => return refuse(exit_code::USAGE, &format!("{OPTION}: {error}")),
    };
    let all = match registry::tests() {
        Ok(tests) => cases(&tests, &[]),
        Err(error) => return refuse(exit_code::SET_UP, &error.to_string()),
    };
    let Some(case) = all.iter().find(|case| case.name.to_string() == args.case) else {
        let why = format!("no case is called {}", args.case);
        return refuse(exit_code::USAGE, &why);
    };
    let begin = Instant::now();
    let mut output = |text: &str| {
        if !args.quiet {
            // A reader that has gone does not affect the run.
            let _ = io::stdout().write_all(text.as_bytes());
        }
    };
    match bare_metal::run(case, &args.options, &mut output) {
        Ok(End::Judged(result)) => {
            tell(&result, args.quiet, begin.elapsed().as_secs_f64());
            ExitCode::from(result.sidecar.verdict.outcome().exit_code())
        }
        Ok(End::Interrupted(signal)) => {
            let number = u8::try_from(signal).unwrap_or(0);
            let name = ktstr_core::signal::name(signal).unwrap_or("a signal");
            refuse(
                exit_code::SIGNAL + number,
                &format!("interrupted by {name}; nothing of the run is left"),
            )
        }
        Err(error) => {
            let code = match error {
                BareMetalError::Topology(_) => exit_code::TOPOLOGY,
                BareMetalError::Attached { .. } => exit_code::ATTACHED,
                BareMetalError::Left(_) => exit_code::LEFT,
                _ => exit_code::SET_UP,
            };
            refuse(code, &error.to_string())
        }
    }
}

fn refuse(code: u8, why: &str) -> ExitCode {
    eprint(&format!("ktstr: {}\n", text::line(why)));
    ExitCode::from(code)
}

fn eprint(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Prints what nextest would show of the run, and the verdict's line; `quiet`, that line alone.
fn tell(result: &CaseResult, quiet: bool, seconds: f64) {
    let CaseResult {
        sidecar, artifacts, ..
    } = result;
    let outcome = sidecar.verdict.outcome();
    let failed = matches!(outcome, Outcome::Inconclusive | Outcome::Fail);
    if failed && !quiet {
        eprint(&render::failure(sidecar, artifacts, false));
    }
    if !failed && !quiet {
        for detail in sidecar.verdict.details() {
            eprint(&format!("ktstr: {}\n", text::line(&detail.to_string())));
        }
    }
    let why = match outcome {
        Outcome::Pass => String::new(),
        _ => format!(": {}", text::cut(&reason(sidecar), 300)),
    };
    let case = &sidecar.case;
    eprint(&format!("ktstr: {outcome} {case} ({seconds:.1} s){why}\n"));
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Args, lexopt::Error> {
    let mut parser = Parser::from_args(args);
    let mut dir = None;
    let mut case = None;
    let (mut parent, mut duration_s, mut watchdog_timeout_s) = (None, None, None);
    let mut quiet = false;
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("bare-metal") => dir = Some(PathBuf::from(parser.value()?)),
            Arg::Long("parent") => {
                let pid: i32 = parser.value()?.parse()?;
                parent = Some(Pid::from_raw(pid).filter(|_| pid > 0).ok_or("no process")?);
            }
            Arg::Long("duration") => duration_s = Some(seconds(&mut parser)?),
            Arg::Long("watchdog-timeout") => watchdog_timeout_s = Some(seconds(&mut parser)?),
            Arg::Long("quiet") => quiet = true,
            Arg::Value(value) if case.is_none() => case = Some(value.string()?),
            _ => return Err(arg.unexpected()),
        }
    }
    Ok(Args {
        case: case.ok_or("give the name of a case")?,
        options: Options {
            dir: dir.ok_or("give the unpacked directory")?,
            parent,
            duration_s,
            watchdog_timeout_s,
        },
        quiet,
    })
}

/// The longest that a run may take, a day: `2 x duration + 15` seconds have to fit as well.
const LONGEST_S: u32 = 86_400;

fn seconds(parser: &mut Parser) -> Result<u32, lexopt::Error> {
    let seconds: u32 = parser.value()?.parse()?;
    if (1..=LONGEST_S).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(format!("{seconds} s; give 1 to {LONGEST_S}").into())
    }
}
