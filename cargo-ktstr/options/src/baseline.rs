//! The commit to compare with.

use clap::Args;
use ktstr_driver::baseline::BaselineRequest;

/// The commit to compare with.
#[derive(Debug, Clone, Args)]
pub struct BaselineArgs {
    /// Commit to compare with, taken as it is.
    #[arg(long, value_name = "REV", conflicts_with = "base_ref")]
    pub base: Option<String>,

    /// Compare with the merge base of HEAD and this branch [default: the target of a
    /// GitHub pull request, `origin/$GITHUB_BASE_REF`].
    #[arg(long, value_name = "REF")]
    pub base_ref: Option<String>,

    /// Compare with the merge base of HEAD and this branch, here or of `origin`,
    /// where nothing else is said.
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub default_branch: String,
}

impl From<BaselineArgs> for BaselineRequest {
    fn from(words: BaselineArgs) -> Self {
        Self {
            base: words.base,
            base_ref: words.base_ref,
            default_branch: words.default_branch,
        }
    }
}
