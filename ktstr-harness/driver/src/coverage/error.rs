//! Why coverage is not measured.

use std::path::PathBuf;

use crate::SessionError;

/// Coverage that cannot be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoverageError {
    /// There is no cargo-llvm-cov.
    #[error("cargo llvm-cov is not installed; run: cargo install --locked cargo-llvm-cov")]
    NoLlvmCov,
    /// There are no tools that read the profiles of this Rust.
    #[error(
        "no llvm-cov and llvm-profdata of LLVM {llvm}, which rustc has; run: \
         rustup component add llvm-tools-preview, or: apt-get install llvm-{llvm}, or set LLVM_COV and LLVM_PROFDATA"
    )]
    NoTools {
        /// Major version of rustc's LLVM.
        llvm: u32,
    },
    /// A variable names a tool that is not there.
    #[error("{variable} is {program}, which is not a program; set it to the one of rustc's LLVM, or unset it", program = .program.display())]
    Tool {
        /// The variable.
        variable: &'static str,
        /// Its value.
        program: PathBuf,
    },
    /// Rust's compiler does not say what it is.
    #[error("{program}: {why}; install Rust")]
    Rustc {
        /// The compiler.
        program: String,
        /// How it failed.
        why: String,
    },
    /// The configuration of cargo cannot be read.
    #[error("the configuration of cargo: {0}")]
    CargoConfig(String),
    /// The directory belongs to no cargo project.
    #[error("{dir}: cargo finds no project there; run `cargo metadata` to see why", dir = .dir.display())]
    NoProject {
        /// The directory.
        dir: PathBuf,
    },
    /// Another target directory was asked for by an option.
    #[error(
        "cargo llvm-cov has no --target-dir; set CARGO_TARGET_DIR, below which it has a directory of its own"
    )]
    TargetDir,
    /// `cargo llvm-cov` without a subcommand would run `cargo test`.
    #[error(
        "llvm-cov needs a subcommand first, such as report, clean or show-env; \
         without one it runs cargo test, which has no gauntlet variants and no verifier cells: `cargo ktstr coverage` runs all"
    )]
    NoSubcommand,
    /// cargo-llvm-cov does not say how it builds.
    #[error("cargo llvm-cov show-env: {why}; update it: cargo install --locked cargo-llvm-cov")]
    ShowEnv {
        /// How it failed.
        why: String,
    },
    /// The session does not run.
    #[error(transparent)]
    Session(#[from] SessionError),
}
