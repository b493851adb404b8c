//! The words of `replay`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::Base;

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// Run the tests, on the same kernels and with the same options.
    #[arg(long)]
    pub(crate) exec: bool,

    /// Leave out tests whose name does not contain SUBSTRING.
    #[arg(short = 'E', value_name = "SUBSTRING")]
    pub(crate) name_contains: Option<String>,

    /// Take the records from an archived copy of target/ktstr, or from one run
    /// directory [default: `KTSTR_SIDECAR_DIR`, else target/ktstr].
    #[arg(long, value_name = "PATH")]
    pub(crate) dir: Option<PathBuf>,

    /// Run the tests on this kernel instead, see `test --help`; can be given several
    /// times.
    #[arg(long, value_name = "ID", requires = "exec")]
    pub(crate) kernel: Vec<String>,

    /// With a range, also include end-of-life (EOL) series.
    #[arg(long, requires = "kernel")]
    pub(crate) include_eol: bool,

    /// Base configuration for a --kernel without a .config [default: that session's].
    #[arg(long, value_name = "BASE", value_enum, requires = "kernel")]
    pub(crate) base_config: Option<Base>,

    /// Cargo profile to build schedulers with [default: that session's].
    #[arg(long, value_name = "NAME", requires = "exec")]
    pub(crate) profile: Option<String>,

    /// Profile of .config/nextest.toml to run the tests with [default: that session's].
    #[arg(long, value_name = "NAME", requires = "exec")]
    pub(crate) nextest_profile: Option<String>,

    /// Arguments for `cargo nextest run`. An option replaces that session's of the same
    /// name; a filter narrows the replay.
    #[arg(last = true, value_name = "NEXTEST-ARGS", requires = "exec")]
    pub(crate) nextest_args: Vec<OsString>,
}
