//! The words of the command line: the commands and their helps. What a command takes stands beside its call, in the
//! command's own file; what several take is in `ktstr-options`.

pub(crate) mod help;

use clap::{Args, Parser, Subcommand};
use ktstr_options::ShellArgs;

use crate::affected::Affected;
use crate::completions::Completions;
use crate::coverage::LlvmCov;
use crate::export::Export;
use crate::kernel::KernelCommand;
use crate::locks::Locks;
use crate::perf_delta::PerfDelta;
use crate::replay::Replay;
use crate::shell::Shell;
use crate::stats::Stats;
use crate::test::NarrowedTest;
use crate::thresholds::ShowThresholds;
use crate::verifier::Verifier;

/// How cargo calls us: `cargo-ktstr ktstr …`.
#[derive(Debug, Parser)]
#[command(name = "cargo", bin_name = "cargo", max_term_width = 80)]
pub(crate) enum Cargo {
    /// Test Linux schedulers like code: run Rust tests inside real kernels.
    #[command(
        version,
        subcommand_required = true,
        arg_required_else_help = true,
        after_help = help::CARGO_AFTER
    )]
    Ktstr {
        #[command(subcommand)]
        command: Command,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the tests with cargo nextest, each in a fresh virtual machine; build the
    /// kernel first if needed.
    #[command(visible_alias = "nextest", after_help = help::TEST_AFTER)]
    Test(NarrowedTest),
    /// Run the tests with cargo llvm-cov, and report which lines they reach, on the
    /// host and inside the machines.
    #[command(after_help = help::COVERAGE_AFTER)]
    Coverage(NarrowedTest),
    /// Run another subcommand of cargo llvm-cov, such as report or clean.
    #[command(after_help = help::LLVM_COV_AFTER)]
    LlvmCov(LlvmCov),
    /// Run the failed tests of the last session again, or print nextest's filter for
    /// them.
    #[command(after_help = help::REPLAY_AFTER)]
    Replay(Replay),
    /// Print the packages of the schedulers that your changes affect, as JSON.
    #[command(after_help = help::AFFECTED_AFTER)]
    Affected(Affected),
    /// List, build and remove cached kernels.
    #[command(subcommand, after_help = help::KERNEL_AFTER)]
    Kernel(KernelCommand),
    /// Check that every declared scheduler loads, attaches and runs tasks, on every
    /// machine shape and kernel.
    #[command(after_help = help::VERIFIER_AFTER)]
    Verifier(Verifier),
    /// Open a shell in a virtual machine, or run one command there.
    #[command(after_help = help::SHELL_AFTER)]
    Shell(Box<Shell>),
    /// Write a file that runs a test on another machine, without a virtual machine.
    #[command(after_help = help::EXPORT_AFTER)]
    Export(Export),
    /// Compare the figures of performance tests at HEAD and at a baseline commit.
    #[command(after_help = help::PERF_DELTA_AFTER)]
    PerfDelta(Box<PerfDelta>),
    /// Show what deserves a look in the newest run, and list past runs.
    #[command(after_help = help::STATS_AFTER)]
    Stats(Stats),
    /// Show this host as the record of a run would have it.
    ShowHost(Document),
    /// Show the thresholds that a test is judged by.
    ShowThresholds(ShowThresholds),
    /// Show what this host has for running tests, what is missing and what installs
    /// it.
    Doctor(Document),
    /// Show which locks are held and by whom.
    #[command(after_help = help::LOCKS_AFTER)]
    Locks(Locks),
    /// Print a completion script for a shell.
    #[command(after_help = help::COMPLETIONS_AFTER)]
    Completions(Completions),
}

/// Manage kernels for scheduler tests and examine the host, without cargo.
#[derive(Debug, Parser)]
#[command(
    name = "ktstr",
    version,
    max_term_width = 80,
    arg_required_else_help = true,
    after_help = help::KTSTR_AFTER
)]
pub(crate) struct Ktstr {
    #[command(subcommand)]
    pub(crate) command: StandaloneCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StandaloneCommand {
    /// List, build and remove cached kernels.
    #[command(subcommand, after_help = help::KERNEL_AFTER)]
    Kernel(KernelCommand),
    /// Open a shell in a virtual machine, or run one command there.
    #[command(after_help = help::SHELL_STANDALONE_AFTER)]
    Shell(Box<ShellArgs>),
    /// Show what this host has for running tests, what is missing and what installs
    /// it.
    Doctor(Document),
    /// Show which locks are held and by whom.
    #[command(after_help = help::LOCKS_AFTER)]
    Locks(Locks),
}

/// A report, as text or JSON.
#[derive(Debug, Args)]
pub(crate) struct Document {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
