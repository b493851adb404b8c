//! The command line of ktstr: clap types, calls into the libraries, printing.
//!
//! Everything it does is a public call: of `ktstr-driver` or `ktstr-kernel` for the work, of `ktstr-render` for text, of
//! `ktstr-terminal` for what belongs to this process. See `examples/` for the same without it.
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     cargo_ktstr::cargo_main()
//! }
//! ```
//!
//! The parts: `cli` lists the commands, and each command has a file of its own: what it takes, and the call.

mod affected;
mod cli;
mod completions;
mod coverage;
mod doctor;
mod export;
mod kernel;
mod locks;
mod perf_delta;
mod replay;
mod shell;
mod stats;
mod test;
mod thresholds;
mod verifier;

use std::env::{args_os, current_dir};
use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::Parser;
use ktstr_core::env::check_paths;
use ktstr_core::host::Host;
use ktstr_driver::{NextestStreams, Session};
use ktstr_render::progress::Reporter;
use ktstr_render::{Style, errors};
use ktstr_terminal::{print, tell};
use ktstr_vmm::CancelToken;
use serde::Serialize;

use cli::{Cargo, Command, Ktstr, StandaloneCommand};

/// The program whose commands errors recommend: it has all of them.
const RECOMMENDED: &str = "cargo ktstr";

/// An exit code, or what went wrong.
type CommandResult = Result<ExitCode, Box<dyn Error>>;

/// What every command has around it.
struct Context {
    host: Host,
    style: Style,
    cancel: CancelToken,
}

/// The entry of the `cargo-ktstr` binary.
pub fn cargo_main() -> ExitCode {
    become_another();
    let mut args: Vec<OsString> = args_os().collect();
    // Cargo passes its subcommand on; somebody who types `cargo-ktstr test` does not.
    if args.get(1).is_none_or(|word| word != "ktstr") {
        args.insert(1.min(args.len()), "ktstr".into());
    }
    let run = |Cargo::Ktstr { command }, context: &Context| match command {
        Command::Test(arguments) => test::run(arguments, context),
        Command::Coverage(arguments) => coverage::run(arguments, context),
        Command::LlvmCov(arguments) => coverage::llvm_cov(&arguments, context),
        Command::Replay(arguments) => replay::run(arguments, context),
        Command::Affected(arguments) => affected::run(arguments, context),
        Command::Kernel(command) => kernel::run(command, context),
        Command::Verifier(arguments) => verifier::run(arguments, context),
        Command::Shell(arguments) => Ok(shell::run(&arguments, context)),
        Command::PerfDelta(arguments) => perf_delta::run(*arguments, context),
        Command::Stats(arguments) => stats::run(&arguments, context),
        Command::ShowHost(arguments) => stats::show_host(&arguments, context),
        Command::ShowThresholds(arguments) => thresholds::run(arguments, context),
        Command::Export(arguments) => export::run(arguments, context),
        Command::Doctor(arguments) => doctor::run(&arguments, context),
        Command::Locks(arguments) => locks::run(&arguments, context),
        Command::Completions(arguments) => completions::run(&arguments),
    };
    main("cargo ktstr", args, run)
}

/// The entry of the `ktstr` binary.
pub fn ktstr_main() -> ExitCode {
    become_another();
    let run = |arguments: Ktstr, context: &Context| match arguments.command {
        StandaloneCommand::Kernel(command) => kernel::run(command, context),
        StandaloneCommand::Shell(arguments) => Ok(shell::run_standalone(&arguments, context)),
        StandaloneCommand::Doctor(arguments) => doctor::run(&arguments, context),
        StandaloneCommand::Locks(arguments) => locks::run(&arguments, context),
    };
    main("ktstr", args_os(), run)
}

/// Does not return where this program is started as something else: init of a machine, or a terminal's guardian.
fn become_another() {
    ktstr_harness::dispatch::enter_guest();
    ktstr_terminal::shell::become_guardian();
}

/// Parses `args` of `program` and runs the command.
fn main<P: Parser>(
    program: &str,
    args: impl IntoIterator<Item = OsString>,
    run: impl FnOnce(P, &Context) -> CommandResult,
) -> ExitCode {
    let result = match P::try_parse_from(args) {
        Ok(arguments) => Context::of(program).and_then(|context| run(arguments, &context)),
        Err(error) => {
            // It is no error when the reader of a help text has gone.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    result.unwrap_or_else(|error| {
        tell_of(&*error);
        ExitCode::FAILURE
    })
}

impl Context {
    /// This process's surroundings, where its variables name places that can be used.
    fn of(program: &str) -> Result<Self, Box<dyn Error>> {
        let host = Host::of_this_process();
        check_paths(&host)?;
        Ok(Self {
            style: ktstr_terminal::style(program, &host),
            host,
            cancel: CancelToken::new()?,
        })
    }

    /// A session of the project here, at this terminal.
    fn session(&self) -> io::Result<Session> {
        let session = Session::new(self.host.clone(), current_dir()?);
        Ok(session.streams(NextestStreams::Foreground))
    }

    fn reporter(&self) -> Reporter {
        ktstr_terminal::reporter(&self.style)
    }
}

/// Tells what went wrong: explaining lines first, then one `error:` line for each problem.
fn tell_of(error: &(dyn Error + 'static)) {
    tell(errors::text(&errors::problems(error, RECOMMENDED)));
}

/// The result of a command that ends with printing `text`.
fn printed(text: impl AsRef<[u8]>) -> CommandResult {
    print(text)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints `document` as JSON, or the `text` of it.
fn show<D: Serialize>(document: &D, json: bool, text: impl Fn(&D) -> String) -> CommandResult {
    printed(if json {
        serde_json::to_string_pretty(document)? + "\n"
    } else {
        text(document)
    })
}
