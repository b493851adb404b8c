//! The words of the command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use ktstr_kernel::BaseConfig;
use ktstr_vmm::Backend;

/// Commands of `cargo ktstr` that later versions bring.
pub(crate) const PLANNED: &[&str] = &[
    "affected",
    "coverage",
    "export",
    "llvm-cov",
    "perf-delta",
    "replay",
    "shell",
    "show-host",
    "stats",
];

/// Commands of `ktstr` that later versions bring.
pub(crate) const PLANNED_STANDALONE: &[&str] = &["shell"];

/// Options that later versions bring.
pub(crate) const PLANNED_OPTIONS: &[&str] =
    &["--base", "--base-ref", "--default-branch", "--relevant"];

const CARGO_AFTER: &str = "\
Examples:
  cargo ktstr doctor                      what is missing, what installs it
  cargo ktstr test --kernel ../linux      every test, on a source tree
  cargo ktstr test -- -E 'test(my_test)'  one test, on a kernel built before
  cargo ktstr verifier --kernel ../linux  every declared scheduler, every machine

Planned, not built yet: affected, coverage, export, llvm-cov, perf-delta,
replay, shell, show-host, stats.";

const KTSTR_AFTER: &str = "\
`cargo ktstr test` runs tests. Planned, not built yet: shell.";

const TEST_AFTER: &str = "\
A kernel ID is one of:
  ../linux                     source tree; starts with ./ ../ / or ~
  ./linux-6.14.2.tar.xz        source tarball
  ./arch/x86/boot/bzImage      image
  6.14.2, 6.15-rc3             release
  6.14                         newest release of a series
  6.12..6.14                   newest of every maintained series within
  git+https://host/r.git#tag=v6.14   commit; #branch= and #sha= too
  6.14.2-tarball-x86_64-kc...  cache key (cargo ktstr kernel list)

Examples:
  cargo ktstr test --kernel ../linux
  cargo ktstr test --kernel 6.12..6.14 --base-config lean
  cargo ktstr test --kernel 6.14 --kernel ../linux -- -E 'test(my_test)'
  cargo ktstr test -- --features integration --run-ignored all --retries 2

What is downloaded comes from kernel.org, or from a mirror of it whose base
address $KTSTR_KERNEL_MIRROR gives. Kernels are compiled through ccache where it
is installed, unless KTSTR_CCACHE=0.

Exit code: nextest's; 0 when every test passed or was skipped.";

const VERIFIER_AFTER: &str = "\
Examples:
  cargo ktstr verifier --kernel ../linux
  cargo ktstr verifier --scheduler scx-mine --raw
  cargo ktstr verifier -- -p mine -E 'test(/8cpu-2llc-smt/)'

Tables of verified instructions (`verified_insns`), and of what passed where,
follow on standard output. Exit code: nextest's; 0 when every cell passed or was
skipped.";

const KERNEL_AFTER: &str = "\
Kernels are kept in $KTSTR_CACHE_DIR/kernels, else ~/.cache/ktstr/kernels.";

const BUILD_AFTER: &str = "\
A kernel ID is one of:
  ../linux                     source tree; starts with ./ ../ / or ~
  ./linux-6.14.2.tar.xz        source tarball
  6.14.2, 6.15-rc3             release
  6.14                         newest release of a series
  6.12..6.14                   newest of every maintained series within
  git+https://host/r.git#tag=v6.14   commit; #branch= and #sha= too

Examples:
  cargo ktstr kernel build
  cargo ktstr kernel build --kernel ../linux
  cargo ktstr kernel build --kernel 6.14 --base-config lean
  cargo ktstr kernel build --kernel 6.14 --extra-kconfig ./lockdep.kconfig
  cargo ktstr kernel build --force --kernel 6.14.2

A source tree is built in place. It is cached when git knows it and nothing in
it has changed since its commit; everything else is always cached. What is
downloaded comes from kernel.org, or from a mirror of it whose base address
$KTSTR_KERNEL_MIRROR gives. Where ccache is installed, compilers are run through
it; KTSTR_CCACHE=0 does without.";

const CLEAN_AFTER: &str = "\
Examples:
  cargo ktstr kernel clean --keep 3               all but the three newest
  cargo ktstr kernel clean --corrupt-only --force broken entries, unasked";

const LOCKS_AFTER: &str = "\
Locks are files: of last-level caches, CPUs and emulator places in
$KTSTR_LOCK_DIR, else /tmp; of kernels in the kernel cache; of run directories
beside them. Looking takes none of them.";

const COMPLETIONS_AFTER: &str = "\
Examples:
  D=~/.local/share/bash-completion/completions
  cargo ktstr completions bash >> $D/cargo
  cargo ktstr completions bash --binary ktstr > $D/ktstr
  cargo ktstr completions zsh > ~/.zfunc/_cargo-ktstr";

/// How cargo calls us: `cargo-ktstr ktstr …`.
#[derive(Debug, Parser)]
#[command(name = "cargo", bin_name = "cargo", max_term_width = 80)]
pub(crate) enum Cargo {
    /// Test Linux schedulers like code: run Rust tests inside real kernels.
    #[command(
        version,
        subcommand_required = true,
        arg_required_else_help = true,
        after_help = CARGO_AFTER
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
    /// Run tests by cargo nextest, each in a fresh virtual machine; builds the
    /// kernel first where need be.
    #[command(visible_alias = "nextest", after_help = TEST_AFTER)]
    Test(Test),
    /// Manage cached kernels: list, build, clean.
    #[command(after_help = KERNEL_AFTER)]
    Kernel(Kernel),
    /// Try every declared scheduler on every machine and kernel: does the kernel
    /// verify it, is it enabled, does it run tasks?
    #[command(after_help = VERIFIER_AFTER)]
    Verifier(Verifier),
    /// Say what a test is judged by: defaults, its scheduler's, its own.
    ShowThresholds(ShowThresholds),
    /// Say what this machine has, what is missing and what installs it.
    Doctor(Doctor),
    /// Say which of ktstr's locks are held, and by whom.
    #[command(after_help = LOCKS_AFTER)]
    Locks(Locks),
    /// Print a completion script for a shell.
    #[command(after_help = COMPLETIONS_AFTER)]
    Completions(Completions),
}

#[derive(Debug, Args)]
pub(crate) struct Verifier {
    /// Try this scheduler alone. Give it several times to try several.
    #[arg(long, value_name = "NAME")]
    pub(crate) scheduler: Vec<String>,

    /// Show the whole verifier log of what fails, with every iteration of its loops.
    #[arg(long)]
    pub(crate) raw: bool,

    #[command(flatten)]
    pub(crate) test: Test,
}

#[derive(Debug, Args)]
pub(crate) struct ShowThresholds {
    /// Name of the test function.
    pub(crate) test: String,

    /// Those of a release build, whose defaults are stricter.
    #[arg(long)]
    pub(crate) release: bool,

    /// Arguments for `cargo nextest list`, such as -p PACKAGE.
    #[arg(last = true, value_name = "NEXTEST-ARGS")]
    pub(crate) nextest_args: Vec<OsString>,
}

/// Manage kernels for scheduler tests and look at the host, without cargo.
#[derive(Debug, Parser)]
#[command(
    name = "ktstr",
    version,
    max_term_width = 80,
    arg_required_else_help = true,
    after_help = KTSTR_AFTER
)]
pub(crate) struct Ktstr {
    #[command(subcommand)]
    pub(crate) command: StandaloneCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StandaloneCommand {
    /// Manage cached kernels: list, build, clean.
    #[command(after_help = KERNEL_AFTER)]
    Kernel(Kernel),
    /// Say what this machine has, what is missing and what installs it.
    Doctor(Doctor),
    /// Say which of ktstr's locks are held, and by whom.
    #[command(after_help = LOCKS_AFTER)]
    Locks(Locks),
}

/// What a source is configured from that has no configuration of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Base {
    /// The architecture's own default.
    Defconfig,
    /// A small kernel for virtual machines: it builds three times as fast.
    Lean,
}

impl From<Base> for BaseConfig {
    fn from(base: Base) -> Self {
        match base {
            Base::Defconfig => Self::Defconfig,
            Base::Lean => Self::Lean,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Kernel to test on; see below for its forms. Give it several times to test on
    /// several kernels. Without it a kernel that is already built is looked for:
    /// `KTSTR_TEST_KERNEL`, `KTSTR_KERNEL`, the newest cached one, ./linux, ../linux,
    /// the host's own.
    #[arg(long, value_name = "ID")]
    pub(crate) kernel: Vec<String>,

    /// Have ranges stand for series too that are maintained no more (EOL).
    #[arg(long)]
    pub(crate) include_eol: bool,

    /// What to configure a source from that has no .config of its own [default:
    /// `KTSTR_BASE_CONFIG`, else defconfig].
    #[arg(long, value_name = "BASE", value_enum)]
    pub(crate) base_config: Option<Base>,

    /// Build the tests in release mode; the default thresholds are stricter there.
    #[arg(long)]
    pub(crate) release: bool,

    /// Cargo profile to build schedulers with [default: release].
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,

    /// Profile of .config/nextest.toml to run by.
    #[arg(long, value_name = "NAME")]
    pub(crate) nextest_profile: Option<String>,

    /// Count a skipped test as failed.
    #[arg(long)]
    pub(crate) no_skip_mode: bool,

    /// What runs the machines: kvm or qemu [default: `KTSTR_BACKEND`, else KVM
    /// where it works].
    #[arg(long, value_name = "NAME")]
    pub(crate) backend: Option<Backend>,

    /// Turn performance mode off.
    #[arg(long)]
    pub(crate) no_perf_mode: bool,

    /// Give each machine that is not in performance mode N host CPUs; more than
    /// there are is an error [default: one more than its own].
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
    #[command(after_help = BUILD_AFTER)]
    Build(KernelBuild),
    /// Remove cached kernels.
    #[command(after_help = CLEAN_AFTER)]
    Clean(KernelClean),
}

#[derive(Debug, Args)]
pub(crate) struct KernelList {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,

    /// Say which releases a range stands for, instead; nothing is downloaded or
    /// built.
    #[arg(long, value_name = "START..END")]
    pub(crate) kernel: Option<String>,

    /// Series too that are maintained no more (EOL).
    #[arg(long, requires = "kernel")]
    pub(crate) include_eol: bool,
}

#[derive(Debug, Args)]
pub(crate) struct KernelBuild {
    /// Kernel to build; see below for its forms. Give it several times to build
    /// several [default: the newest series with eight maintenance releases].
    #[arg(long, value_name = "ID")]
    pub(crate) kernel: Vec<String>,

    /// Have ranges stand for series too that are maintained no more (EOL).
    #[arg(long)]
    pub(crate) include_eol: bool,

    /// Do not compare downloads with the published checksums.
    #[arg(long)]
    pub(crate) skip_sha256: bool,

    /// What to configure a source from that has no .config of its own [default:
    /// `KTSTR_BASE_CONFIG`, else defconfig].
    #[arg(long, value_name = "BASE", value_enum)]
    pub(crate) base_config: Option<Base>,

    /// File of options (`CONFIG_X=y`, `# CONFIG_X is not set`) to merge over
    /// ktstr's; they win. The kernel has a cache entry of its own.
    #[arg(long, value_name = "PATH")]
    pub(crate) extra_kconfig: Option<PathBuf>,

    /// Build again what is cached.
    #[arg(long)]
    pub(crate) force: bool,

    /// Run make mrproper first (source trees only).
    #[arg(long)]
    pub(crate) clean: bool,

    /// Build on N host CPUs, with as many jobs [default: all that are allowed].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) cpu_cap: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct KernelClean {
    /// Keep the N newest entries that work.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) keep: usize,

    /// Remove nothing but broken entries.
    #[arg(long, conflicts_with = "keep")]
    pub(crate) corrupt_only: bool,

    /// Do not ask first; needed where there is no terminal to ask at.
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
    /// Print JSON; with --watch, a document per line.
    #[arg(long)]
    pub(crate) json: bool,

    /// Look again every DURATION, such as 2s or 500ms, until interrupted.
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
    /// The shell to complete in.
    pub(crate) shell: Shell,

    /// The program to complete: cargo, ktstr, or an alias of `cargo ktstr`.
    #[arg(long, value_name = "NAME", default_value = "cargo")]
    pub(crate) binary: String,
}
