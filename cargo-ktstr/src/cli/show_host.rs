//! The words of `show-host`.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct ShowHost {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
