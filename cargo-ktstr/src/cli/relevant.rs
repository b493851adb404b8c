//! The words that say which commit changes are counted from, and that a run is narrowed to what they affect.

use clap::Args;
use ktstr_driver::baseline::BaselineRequest;

/// The commit to compare with, of a command that always needs one.
#[derive(Debug, Args)]
pub(crate) struct Baseline {
    /// Commit to compare with, taken as it is.
    #[arg(long, value_name = "REV", conflicts_with = "base_ref")]
    pub(crate) base: Option<String>,

    /// Compare with the merge base of HEAD and this branch [default: the target of a
    /// GitHub pull request, `origin/$GITHUB_BASE_REF`].
    #[arg(long, value_name = "REF")]
    pub(crate) base_ref: Option<String>,

    /// Compare with the merge base of HEAD and this branch, here or of `origin`,
    /// where nothing else is said.
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) default_branch: String,
}

/// Narrows a run to what changes affect.
#[derive(Debug, Args)]
pub(crate) struct Relevant {
    /// Run only tests that your changes affect: by their scheduler, or by their own
    /// package.
    #[arg(id = "relevant", long = "relevant")]
    pub(crate) is_wanted: bool,

    /// With --relevant, commit that changes are counted from, taken as it is.
    #[arg(
        long,
        value_name = "REV",
        requires = "relevant",
        conflicts_with = "base_ref"
    )]
    pub(crate) base: Option<String>,

    /// With --relevant, count changes from the merge base of HEAD and this branch
    /// [default: the target of a GitHub pull request, `origin/$GITHUB_BASE_REF`].
    #[arg(long, value_name = "REF", requires = "relevant")]
    pub(crate) base_ref: Option<String>,

    /// With --relevant, count changes from the merge base of HEAD and this branch,
    /// here or of `origin`, where nothing else is said [default: main].
    #[arg(long, value_name = "NAME", requires = "relevant")]
    pub(crate) default_branch: Option<String>,

    /// With --relevant, tell for each changed file what it affects, and why.
    #[arg(long, requires = "relevant")]
    pub(crate) explain: bool,
}

impl Baseline {
    pub(crate) fn request(&self) -> BaselineRequest {
        BaselineRequest {
            base: self.base.clone(),
            base_ref: self.base_ref.clone(),
            default_branch: self.default_branch.clone(),
        }
    }
}

impl Relevant {
    pub(crate) fn request(&self) -> BaselineRequest {
        let default = BaselineRequest::default();
        BaselineRequest {
            base: self.base.clone(),
            base_ref: self.base_ref.clone(),
            default_branch: self
                .default_branch
                .clone()
                .unwrap_or(default.default_branch),
        }
    }
}
