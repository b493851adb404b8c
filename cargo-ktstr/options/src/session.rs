//! A session of tests.

use std::ffi::OsString;

use clap::Args;
use ktstr_driver::SessionOptions;

use crate::{MachineArgs, ResolutionArgs};

/// The tests to run, the kernels to run them on, and how.
#[derive(Debug, Clone, Args)]
pub struct SessionArgs {
    /// Kernel to test on (see below); can be given several times. Without it, the
    /// first of these is used: `KTSTR_TEST_KERNEL`, `KTSTR_KERNEL`, the newest cached
    /// kernel, a built ./linux or ../linux, the host's own kernel.
    #[arg(long, value_name = "ID")]
    pub kernel: Vec<String>,

    /// What the identifiers stand for.
    #[command(flatten)]
    pub resolution: ResolutionArgs,

    /// Build the tests in release mode, which has stricter default thresholds.
    #[arg(long)]
    pub release: bool,

    /// Cargo profile to build schedulers with [default: release].
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,

    /// Profile of .config/nextest.toml to run the tests with.
    #[arg(long, value_name = "NAME")]
    pub nextest_profile: Option<String>,

    /// Count a skipped test as failed.
    #[arg(long)]
    pub no_skip_mode: bool,

    /// What carries the machines.
    #[command(flatten)]
    pub machines: MachineArgs,

    /// Arguments for `cargo nextest run`: filters, cargo features, retries.
    #[arg(last = true, value_name = "NEXTEST-ARGS")]
    pub nextest_args: Vec<OsString>,
}

impl From<SessionArgs> for SessionOptions {
    fn from(words: SessionArgs) -> Self {
        Self {
            kernels: words.resolution.request(&words.kernel),
            release: words.release,
            scheduler_profile: words.profile,
            nextest_profile: words.nextest_profile,
            no_skip_mode: words.no_skip_mode,
            no_perf_mode: words.machines.no_perf_mode,
            backend: words.machines.backend,
            cpu_cap: words.machines.cpu_cap,
            nextest_args: words.nextest_args,
        }
    }
}
