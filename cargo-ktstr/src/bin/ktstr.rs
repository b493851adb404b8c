//! `ktstr`: kernels and the host's state, without cargo.

use std::process::ExitCode;

fn main() -> ExitCode {
    cargo_ktstr::ktstr_main()
}
