//! The words of `export`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Name of the test: its function, the path of that, or a case such as ktstr/NAME.
    pub(crate) test: String,

    /// The file to write [default: NAME.run].
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,

    /// Look for the test in this package of the workspace only.
    #[arg(short, long, value_name = "NAME")]
    pub(crate) package: Option<String>,

    /// Build the test in release mode, which has stricter default thresholds.
    #[arg(long)]
    pub(crate) release: bool,
}
