//! The words of the command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// How cargo calls us: `cargo-ktstr ktstr …`.
#[derive(Debug, Parser)]
#[command(name = "cargo", bin_name = "cargo")]
pub enum Cargo {
    /// Test Linux schedulers like code: run Rust tests inside real kernels.
    #[command(version, subcommand_required = true, arg_required_else_help = true)]
    Ktstr(Arguments),
}

/// What follows `cargo ktstr`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build the kernel if need be and run tests in it, by cargo nextest.
    #[command(alias = "nextest")]
    Test(Test),
    /// Manage cached kernels: list, build, clean.
    Kernel(Kernel),
    /// Say what this machine has, what is missing, and what installs it.
    Doctor(Doctor),
    /// Print a completion script for a shell.
    Completions(Completions),
    #[command(external_subcommand)]
    Planned(Vec<String>),
}

/// Kernels and the host's state, without cargo.
#[derive(Debug, Parser)]
#[command(name = "ktstr", version, arg_required_else_help = true)]
pub struct Ktstr {
    #[command(subcommand)]
    pub command: StandaloneCommand,
}

#[derive(Debug, Subcommand)]
pub enum StandaloneCommand {
    /// Manage cached kernels: list, build, clean.
    Kernel(Kernel),
    /// Say what this machine has, what is missing, and what installs it.
    Doctor(Doctor),
    #[command(external_subcommand)]
    Planned(Vec<String>),
}

/// How kernels that are not cached get built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Base {
    /// The architecture's `make defconfig`: what a distribution-like kernel has.
    Defconfig,
    /// A small configuration that builds and boots several times faster.
    Lean,
}

#[derive(Debug, Args)]
pub struct Test {
    /// Kernel to test on: a source tree (`../linux`), a source tarball, an image
    /// or a cache key. Repeat it to test on several. Without it, a kernel that is
    /// already built is looked for.
    #[arg(long, value_name = "ID")]
    pub kernel: Vec<String>,

    /// Configuration of a source without one of its own.
    #[arg(long, value_name = "BASE", env = "KTSTR_BASE_CONFIG", value_enum, default_value = "defconfig")]
    pub base_config: Base,

    /// Build the tests in release mode; default thresholds are stricter there.
    #[arg(long)]
    pub release: bool,

    /// Cargo profile to build schedulers with.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,

    /// Nextest profile of .config/nextest.toml.
    #[arg(long, value_name = "NAME")]
    pub nextest_profile: Option<String>,

    /// Make a skip a failure: exit 1 instead of 0.
    #[arg(long)]
    pub no_skip_mode: bool,

    /// Turn performance mode off.
    #[arg(long)]
    pub no_perf_mode: bool,

    /// Arguments for `cargo nextest run`, such as -E 'test(my_test)'.
    #[arg(last = true, value_name = "NEXTEST-ARGS")]
    pub nextest_args: Vec<OsString>,
}

#[derive(Debug, Args)]
pub struct Kernel {
    #[command(subcommand)]
    pub command: KernelCommand,
}

#[derive(Debug, Subcommand)]
pub enum KernelCommand {
    /// List cached kernels, newest first.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// Preview what a range stands for.
        #[arg(long, value_name = "START..END")]
        kernel: Option<String>,
    },
    /// Build kernels and cache them.
    Build(KernelBuild),
    /// Remove cached kernels.
    Clean {
        /// Keep the N newest valid ones.
        #[arg(long, value_name = "N", default_value_t = 0)]
        keep: usize,
        /// Remove only entries that are broken.
        #[arg(long, conflicts_with = "keep")]
        corrupt_only: bool,
        /// Do not ask.
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Args)]
pub struct KernelBuild {
    /// A source tree (`../linux`) or a source tarball. Repeatable.
    #[arg(long, value_name = "ID")]
    pub kernel: Vec<String>,

    /// Configuration of a source without one of its own.
    #[arg(long, value_name = "BASE", env = "KTSTR_BASE_CONFIG", value_enum, default_value = "defconfig")]
    pub base_config: Base,

    /// Build even when cached.
    #[arg(long)]
    pub force: bool,

    /// `make mrproper` first (source trees only).
    #[arg(long)]
    pub clean: bool,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Completions {
    /// The shell.
    pub shell: Shell,

    /// Program to complete.
    #[arg(long, default_value = "cargo")]
    pub binary: String,
}

/// Where `kernel build` and friends look for the cache when a flag names none.
pub fn cache_root() -> Result<PathBuf, String> {
    ktstr_core::env::cache_root(|name| std::env::var_os(name))
        .ok_or_else(|| "no cache directory: set KTSTR_CACHE_DIR, XDG_CACHE_HOME or HOME".to_owned())
}
