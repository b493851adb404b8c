//! `completions`: a script that completes the words of the command line.

use clap::{Args, CommandFactory};

use crate::cli::{Cargo, Ktstr};
use crate::{CommandResult, printed};

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Shell to print the script for.
    shell: clap_complete::Shell,

    /// Program to complete: cargo, ktstr, or an alias of `cargo ktstr`.
    #[arg(long, value_name = "NAME", default_value = "cargo")]
    binary: String,
}

pub(crate) fn run(arguments: &Completions) -> CommandResult {
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
    let (shell, binary) = (arguments.shell, &arguments.binary);
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, binary, &mut script);
    printed(script)
}
