//! `cargo ktstr`: the whole workflow, beside cargo.

use std::process::ExitCode;

fn main() -> ExitCode {
    cargo_ktstr::cargo_main()
}
