//! The command line of ktstr: clap types, calls into the libraries, printing.
//!
//! Everything it does is a public function of `ktstr-kernel` or `ktstr-harness`; see `examples/` for
//! the same without it.

mod cli;
mod doctor;
mod kernel;
mod progress;
mod test;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use cli::{Cargo, Command, Completions, Ktstr, StandaloneCommand};

/// What a command comes to: an exit code, or an error to print.
type CommandResult = Result<ExitCode, Box<dyn std::error::Error>>;

/// The entry of the `cargo-ktstr` binary.
pub fn cargo_main() -> ExitCode {
    let Cargo::Ktstr(arguments) = Cargo::parse();
    report(match arguments.command {
        Command::Test(arguments) => test::run(arguments),
        Command::Kernel(arguments) => kernel::run(arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Completions(arguments) => Ok(completions(&arguments)),
        Command::Planned(words) => planned("cargo ktstr", &words),
    })
}

/// The entry of the `ktstr` binary.
pub fn ktstr_main() -> ExitCode {
    report(match Ktstr::parse().command {
        StandaloneCommand::Kernel(arguments) => kernel::run(arguments),
        StandaloneCommand::Doctor(arguments) => doctor::run(&arguments),
        StandaloneCommand::Planned(words) => planned("ktstr", &words),
    })
}

fn report(result: CommandResult) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

fn completions(arguments: &Completions) -> ExitCode {
    let mut command = Cargo::command();
    clap_complete::generate(arguments.shell, &mut command, &arguments.binary, &mut std::io::stdout());
    ExitCode::SUCCESS
}

/// Commands of the specification that later versions bring.
const PLANNED: &[&str] = &[
    "affected",
    "coverage",
    "export",
    "llvm-cov",
    "locks",
    "perf-delta",
    "replay",
    "shell",
    "show-host",
    "show-thresholds",
    "stats",
    "verifier",
];

fn planned(program: &str, words: &[String]) -> CommandResult {
    let word = words.first().map_or("", String::as_str);
    let help = format!("`{program} --help` lists the commands");
    if PLANNED.contains(&word) {
        Err(format!("`{program} {word}` is planned and not built yet; {help}").into())
    } else {
        eprintln!("error: no command `{word}`; {help}");
        Ok(ExitCode::from(2))
    }
}
