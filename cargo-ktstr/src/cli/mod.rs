//! The words of the command line.

mod affected;
mod export;
mod help;
mod llvm_cov;
mod perf_delta;
mod relevant;
mod replay;
mod shell;
mod show_host;
mod stats;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ktstr_kernel::BaseConfig;
use ktstr_vmm::Backend;

pub(crate) use affected::Affected;
pub(crate) use export::Export;
pub(crate) use llvm_cov::LlvmCov;
pub(crate) use perf_delta::PerfDelta;
pub(crate) use relevant::Relevant;
pub(crate) use replay::Replay;
pub(crate) use shell::{Shell, ShellMachine};
pub(crate) use show_host::ShowHost;
pub(crate) use stats::{Stats, StatsCommand, StatsCommon};

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
    Ktstr(Arguments),
}

/// What follows `cargo ktstr`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
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
    #[command(after_help = help::KERNEL_AFTER)]
    Kernel(Kernel),
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
    ShowHost(ShowHost),
    /// Show the thresholds that a test is judged by.
    ShowThresholds(ShowThresholds),
    /// Show what this host has for running tests, what is missing and what installs
    /// it.
    Doctor(Doctor),
    /// Show which locks are held and by whom.
    #[command(after_help = help::LOCKS_AFTER)]
    Locks(Locks),
    /// Print a completion script for a shell.
    #[command(after_help = help::COMPLETIONS_AFTER)]
    Completions(Completions),
}

#[derive(Debug, Args)]
pub(crate) struct Verifier {
    /// Check this scheduler only; can be given several times.
    #[arg(long, value_name = "NAME")]
    pub(crate) scheduler: Vec<String>,

    /// Show the whole verifier log of a failed cell, with every loop iteration.
    #[arg(long)]
    pub(crate) raw: bool,

    #[command(flatten)]
    pub(crate) test: Test,
}

#[derive(Debug, Args)]
pub(crate) struct ShowThresholds {
    /// Name of the test: its function, the path of that, or a case such as ktstr/NAME.
    pub(crate) test: String,

    /// Show the thresholds of a release build, whose defaults are stricter.
    #[arg(long)]
    pub(crate) release: bool,

    /// Arguments for `cargo nextest list`, such as -p PACKAGE.
    #[arg(last = true, value_name = "NEXTEST-ARGS")]
    pub(crate) nextest_args: Vec<OsString>,
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
    #[command(after_help = help::KERNEL_AFTER)]
    Kernel(Kernel),
    /// Open a shell in a virtual machine, or run one command there.
    #[command(after_help = help::SHELL_STANDALONE_AFTER)]
    Shell(Box<ShellMachine>),
    /// Show what this host has for running tests, what is missing and what installs
    /// it.
    Doctor(Doctor),
    /// Show which locks are held and by whom.
    #[command(after_help = help::LOCKS_AFTER)]
    Locks(Locks),
}

/// What a source is configured from that has no configuration of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Base {
    /// The architecture's own default.
    Defconfig,
    /// A small kernel for virtual machines that builds three times as fast.
    Lean,
}

impl From<BaseConfig> for Base {
    fn from(base: BaseConfig) -> Self {
        match base {
            BaseConfig::Defconfig => Self::Defconfig,
            BaseConfig::Lean => Self::Lean,
        }
    }
}

impl From<Base> for BaseConfig {
    fn from(base: Base) -> Self {
        match base {
            Base::Defconfig => Self::Defconfig,
            Base::Lean => Self::Lean,
        }
    }
}

/// `test`, which can be narrowed to what changes affect.
#[derive(Debug, Args)]
pub(crate) struct NarrowedTest {
    #[command(flatten)]
    pub(crate) test: Test,

    #[command(flatten)]
    pub(crate) relevant: Relevant,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Test {
    /// Kernel to test on (see below); can be given several times. Without it, the
    /// first of these is used: `KTSTR_TEST_KERNEL`, `KTSTR_KERNEL`, the newest cached
    /// kernel, a built ./linux or ../linux, the host's own kernel.
    #[arg(long, value_name = "ID")]
    pub(crate) kernel: Vec<String>,

    /// With a range, also include end-of-life (EOL) series.
    #[arg(long)]
    pub(crate) include_eol: bool,

    /// Base configuration for a source without a .config [default:
    /// `KTSTR_BASE_CONFIG`, else defconfig].
    #[arg(long, value_name = "BASE", value_enum)]
    pub(crate) base_config: Option<Base>,

    /// Build the tests in release mode, which has stricter default thresholds.
    #[arg(long)]
    pub(crate) release: bool,

    /// Cargo profile to build schedulers with [default: release].
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,

    /// Profile of .config/nextest.toml to run the tests with.
    #[arg(long, value_name = "NAME")]
    pub(crate) nextest_profile: Option<String>,

    /// Count a skipped test as failed.
    #[arg(long)]
    pub(crate) no_skip_mode: bool,

    /// Backend to run the machines on: kvm or qemu [default: `KTSTR_BACKEND`, else
    /// KVM where it works].
    #[arg(long, value_name = "NAME")]
    pub(crate) backend: Option<Backend>,

    /// Run performance-mode tests without performance mode.
    #[arg(long)]
    pub(crate) no_perf_mode: bool,

    /// Run each machine that is not in performance mode on N host CPUs; it is an
    /// error if there are fewer [default: one more than the machine has].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) cpu_cap: Option<u32>,

    /// Arguments for `cargo nextest run`: filters, cargo features, retries.
    #[arg(last = true, value_name = "NEXTEST-ARGS")]
    pub(crate) nextest_args: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Kernel {
    #[command(subcommand)]
    pub(crate) command: KernelCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KernelCommand {
    /// List cached kernels, newest first.
    List(KernelList),
    /// Build kernels and cache them.
    #[command(after_help = help::BUILD_AFTER)]
    Build(KernelBuild),
    /// Remove cached kernels.
    #[command(after_help = help::CLEAN_AFTER)]
    Clean(KernelClean),
}

#[derive(Debug, Args)]
pub(crate) struct KernelList {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,

    /// Show the releases that a range stands for instead; nothing is downloaded or
    /// built.
    #[arg(long, value_name = "START..END")]
    pub(crate) kernel: Option<String>,

    /// Also include end-of-life (EOL) series.
    #[arg(long, requires = "kernel")]
    pub(crate) include_eol: bool,
}

#[derive(Debug, Args)]
pub(crate) struct KernelBuild {
    /// Kernel to build (see below); can be given several times [default: the newest
    /// series with eight maintenance releases].
    #[arg(long, value_name = "ID")]
    pub(crate) kernel: Vec<String>,

    /// With a range, also include end-of-life (EOL) series.
    #[arg(long)]
    pub(crate) include_eol: bool,

    /// Do not check downloads against the published checksums.
    #[arg(long)]
    pub(crate) skip_sha256: bool,

    /// Base configuration for a source without a .config [default:
    /// `KTSTR_BASE_CONFIG`, else defconfig].
    #[arg(long, value_name = "BASE", value_enum)]
    pub(crate) base_config: Option<Base>,

    /// File of options (`CONFIG_X=y`, `# CONFIG_X is not set`) that override
    /// ktstr's. The kernel gets a cache entry of its own.
    #[arg(long, value_name = "PATH")]
    pub(crate) extra_kconfig: Option<PathBuf>,

    /// Rebuild even if the kernel is cached.
    #[arg(long)]
    pub(crate) force: bool,

    /// Run make mrproper before the build (source trees only).
    #[arg(long)]
    pub(crate) clean: bool,

    /// Build on N host CPUs with N jobs [default: all allowed CPUs].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) cpu_cap: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct KernelClean {
    /// Keep the N newest valid entries.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) keep: usize,

    /// Remove broken entries only.
    #[arg(long, conflicts_with = "keep")]
    pub(crate) corrupt_only: bool,

    /// Do not ask for confirmation; required without a terminal.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Locks {
    /// Print JSON; with --watch, one document per line.
    #[arg(long)]
    pub(crate) json: bool,

    /// Repeat every DURATION, such as 2s or 500ms, until interrupted.
    #[arg(long, value_name = "DURATION", value_parser = interval)]
    pub(crate) watch: Option<Duration>,
}

/// A time between two looks.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if interval < Duration::from_millis(100) {
        return Err("at least 100ms".to_owned());
    }
    Ok(interval)
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Shell to print the script for.
    pub(crate) shell: clap_complete::Shell,

    /// Program to complete: cargo, ktstr, or an alias of `cargo ktstr`.
    #[arg(long, value_name = "NAME", default_value = "cargo")]
    pub(crate) binary: String,
}
