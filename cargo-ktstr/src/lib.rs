//! The command line of ktstr: clap types, calls into the libraries, printing.
//!
//! Everything it does is a public call of `ktstr-driver` or `ktstr-kernel`, and what it shows is text of `ktstr-render`; see
//! `examples/` for the same without it.

mod affected;
mod cli;
mod coverage;
mod doctor;
mod export;
mod failure;
mod kernel;
mod locks;
mod perf_delta;
mod replay;
mod shell;
mod stats;
mod terminal;
mod test;
mod thresholds;
mod verifier;

use std::env::args_os;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use ktstr_core::env::check_paths;
use ktstr_core::host::Host;
use ktstr_render::Style;

use cli::{Cargo, Command, Completions, Ktstr, StandaloneCommand};
use failure::{CommandResult, Failure};

/// The program whose commands errors recommend: it has all of them.
const RECOMMENDED: &str = "cargo ktstr";

/// What every command has around it.
struct Context {
    host: Host,
    style: Style,
}

/// The entry of the `cargo-ktstr` binary.
pub fn cargo_main() -> ExitCode {
    become_another();
    let mut args: Vec<OsString> = args_os().collect();
    // Cargo passes its subcommand on; somebody who types `cargo-ktstr test` does not.
    if args.get(1).is_none_or(|word| word != "ktstr") {
        args.insert(1.min(args.len()), "ktstr".into());
    }
    let run = |Cargo::Ktstr(arguments), context: &Context| match arguments.command {
        Command::Test(arguments) => test::run(&arguments, context),
        Command::Coverage(arguments) => coverage::run(&arguments, context),
        Command::LlvmCov(arguments) => coverage::llvm_cov(&arguments, context),
        Command::Replay(arguments) => replay::run(&arguments, context),
        Command::Affected(arguments) => affected::run(&arguments, context),
        Command::Kernel(arguments) => kernel::run(&arguments, context),
        Command::Verifier(arguments) => verifier::run(&arguments, context),
        Command::Shell(arguments) => Ok(shell::run(&arguments, context)),
        Command::PerfDelta(arguments) => perf_delta::run(&arguments, context),
        Command::Stats(arguments) => stats::run(&arguments, context),
        Command::ShowHost(arguments) => stats::show_host(&arguments, context),
        Command::ShowThresholds(arguments) => thresholds::run(&arguments, context),
        Command::Export(arguments) => export::run(&arguments, context),
        Command::Doctor(arguments) => doctor::run(&arguments, context),
        Command::Locks(arguments) => locks::run(&arguments, context),
        Command::Completions(arguments) => completions(&arguments),
    };
    main("cargo ktstr", args, run)
}

/// The entry of the `ktstr` binary.
pub fn ktstr_main() -> ExitCode {
    become_another();
    let run = |arguments: Ktstr, context: &Context| match arguments.command {
        StandaloneCommand::Kernel(arguments) => kernel::run(&arguments, context),
        StandaloneCommand::Shell(arguments) => Ok(shell::run_standalone(&arguments, context)),
        StandaloneCommand::Doctor(arguments) => doctor::run(&arguments, context),
        StandaloneCommand::Locks(arguments) => locks::run(&arguments, context),
    };
    main("ktstr", args_os(), run)
}

/// Does not return where this program is started as something else: init of a machine, or a terminal's guardian.
fn become_another() {
    ktstr_harness::dispatch::enter_guest();
    shell::become_guardian();
}

/// Parses `args` of `program` and runs the command.
fn main<P: Parser>(
    program: &str,
    args: impl IntoIterator<Item = OsString>,
    run: impl FnOnce(P, &Context) -> CommandResult,
) -> ExitCode {
    let result = match P::try_parse_from(args) {
        Ok(arguments) => context(program).and_then(|context| run(arguments, &context)),
        Err(error) => {
            // It is no error when the reader of a help text has gone.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    result.unwrap_or_else(|failure| {
        terminal::tell(failure.text());
        ExitCode::FAILURE
    })
}

/// This process's surroundings, where its variables name places that can be used.
fn context(program: &str) -> Result<Context, Failure> {
    let host = Host::of_this_process();
    check_paths(&host)?;
    let style = terminal::style(program, &host);
    Ok(Context { host, style })
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
    terminal::print(script)
}
