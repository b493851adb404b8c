//! The words of `llvm-cov`.

use std::ffi::OsString;

use clap::Args;

use super::Base;

#[derive(Debug, Args)]
pub(crate) struct LlvmCov {
    /// Kernel to test on, as for `coverage`; can be given several times.
    #[arg(long, value_name = "ID")]
    pub(crate) kernel: Vec<String>,

    /// With a range, also include end-of-life (EOL) series.
    #[arg(long)]
    pub(crate) include_eol: bool,

    /// Base configuration for a source without a .config [default:
    /// `KTSTR_BASE_CONFIG`, else defconfig].
    #[arg(long, value_name = "BASE", value_enum)]
    pub(crate) base_config: Option<Base>,

    /// Subcommand of `cargo llvm-cov` and its arguments.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "LLVM-COV-ARGS"
    )]
    pub(crate) args: Vec<OsString>,
}
