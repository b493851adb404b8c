//! The command line of ktstr: clap types, calls into the libraries, printing.
//!
//! Everything it does is a public call of `ktstr-kernel` or `ktstr-driver`; see `examples/` for the same without it.

mod cli;
mod doctor;
mod failure;
mod kernel;
mod locks;
mod progress;
mod remedy;
mod resolve;
mod summary;
mod table;
mod terminal;
mod test;
mod thresholds;
mod verifier;

use std::env::args_os;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};
use ktstr_core::env::check_paths;
use ktstr_core::host::Host;

use cli::{Cargo, Command, Completions, Ktstr, StandaloneCommand};
use failure::{CommandResult, Failure};

/// The entry of the `cargo-ktstr` binary.
pub fn cargo_main() -> ExitCode {
    const PROGRAM: &str = "cargo ktstr";
    let mut args: Vec<OsString> = args_os().collect();
    // Cargo passes its subcommand on; somebody who types `cargo-ktstr test` does not.
    if args.get(1).is_none_or(|word| word != "ktstr") {
        args.insert(1.min(args.len()), "ktstr".into());
    }
    let arguments = match parse(args, PROGRAM, cli::PLANNED) {
        Ok(Cargo::Ktstr(arguments)) => arguments,
        Err(code) => return code,
    };
    let host = &Host::of_this_process();
    if let Err(error) = check_paths(host) {
        return report(Err(error.into()));
    }
    report(match arguments.command {
        Command::Test(arguments) => test::run(&arguments, PROGRAM, host),
        Command::Kernel(arguments) => kernel::run(&arguments, PROGRAM),
        Command::Verifier(arguments) => verifier::run(&arguments, PROGRAM, host),
        Command::ShowThresholds(arguments) => thresholds::run(&arguments, PROGRAM, host),
        Command::Doctor(arguments) => doctor::run(&arguments, host),
        Command::Locks(arguments) => locks::run(&arguments, host),
        Command::Completions(arguments) => completions(&arguments),
    })
}

/// The entry of the `ktstr` binary.
pub fn ktstr_main() -> ExitCode {
    const PROGRAM: &str = "ktstr";
    let arguments: Ktstr = match parse(args_os(), PROGRAM, cli::PLANNED_STANDALONE) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let host = &Host::of_this_process();
    if let Err(error) = check_paths(host) {
        return report(Err(error.into()));
    }
    report(match arguments.command {
        StandaloneCommand::Kernel(arguments) => kernel::run(&arguments, PROGRAM),
        StandaloneCommand::Doctor(arguments) => doctor::run(&arguments, host),
        StandaloneCommand::Locks(arguments) => locks::run(&arguments, host),
    })
}

fn parse<P: Parser>(
    args: impl IntoIterator<Item = OsString>,
    program: &str,
    planned: &[&str],
) -> Result<P, ExitCode> {
    P::try_parse_from(args).map_err(|error| {
        if let Some(word) = planned_word(&error, planned) {
            let text = format!(
                "`{word}` is planned and not built yet; `{program} --help` lists what there is"
            );
            return report(Err(Failure::new(text)));
        }
        // It is no error when the reader of a help text has gone.
        let _ = error.print();
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })
}

/// The command or option that `error` is about, if it is planned.
fn planned_word(error: &clap::Error, commands: &[&str]) -> Option<String> {
    let (kind, planned) = match error.kind() {
        ErrorKind::InvalidSubcommand => (ContextKind::InvalidSubcommand, commands),
        ErrorKind::UnknownArgument => (ContextKind::InvalidArg, cli::PLANNED_OPTIONS),
        _ => return None,
    };
    match error.get(kind) {
        Some(ContextValue::String(word)) if planned.contains(&word.as_str()) => Some(word.clone()),
        _ => None,
    }
}

fn report(result: CommandResult) -> ExitCode {
    result.unwrap_or_else(|failure| {
        for line in failure.lines() {
            terminal::say(line);
        }
        ExitCode::FAILURE
    })
}

fn completions(arguments: &Completions) -> CommandResult {
    let mut command = match arguments.binary.as_str() {
        "cargo" => Cargo::command(),
        "ktstr" => Ktstr::command(),
        // `cargo-ktstr`, or an alias.
        _ => {
            let cargo = Cargo::command();
            let ktstr = cargo.find_subcommand("ktstr").cloned();
            ktstr.unwrap_or(cargo)
        }
    };
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut command,
        &arguments.binary,
        &mut script,
    );
    terminal::print(&script)
}
