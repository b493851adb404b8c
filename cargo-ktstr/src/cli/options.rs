//! Options that several commands have.

use std::ffi::OsString;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use ktstr_driver::baseline::BaselineRequest;
use ktstr_driver::{KernelRequest, Session};
use ktstr_kernel::BaseConfig;
use ktstr_vmm::Backend;

/// A report, as text or JSON.
#[derive(Debug, Args)]
pub(crate) struct Document {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What identifiers of kernels stand for.
#[derive(Debug, Clone, Args)]
pub(crate) struct Resolution {
    /// With a range, also include end-of-life (EOL) series.
    #[arg(long)]
    pub(crate) include_eol: bool,

    #[command(flatten)]
    pub(crate) base: Base,
}

/// What a source is configured from that has no configuration of its own.
#[derive(Debug, Clone, Args)]
pub(crate) struct Base {
    /// Base configuration for a source without a .config [default:
    /// `KTSTR_BASE_CONFIG`, else defconfig].
    #[arg(long, value_name = "BASE", value_parser = base_config())]
    pub(crate) base_config: Option<BaseConfig>,
}

/// What carries machines.
#[derive(Debug, Clone, Args)]
pub(crate) struct Machines {
    /// Backend to run machines on: kvm or qemu [default: `KTSTR_BACKEND`, else KVM
    /// where it works].
    #[arg(long, value_name = "NAME")]
    pub(crate) backend: Option<Backend>,

    /// Run performance-mode tests without performance mode.
    #[arg(long)]
    pub(crate) no_perf_mode: bool,

    /// Run each machine that is not in performance mode on N host CPUs; it is an
    /// error if there are fewer [default: one more than the machine has].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) cpu_cap: Option<u32>,
}

/// The commit to compare with.
#[derive(Debug, Clone, Args)]
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

/// How the tests of a project are listed.
#[derive(Debug, Clone, Args)]
pub(crate) struct Listing {
    /// Arguments for `cargo nextest list`, such as -p PACKAGE or cargo features.
    #[arg(last = true, value_name = "NEXTEST-ARGS")]
    pub(crate) nextest_args: Vec<OsString>,
}

/// How a test is found by its name.
#[derive(Debug, Clone, Args)]
pub(crate) struct Lookup {
    /// Look in a release build, which has stricter default thresholds.
    #[arg(long)]
    pub(crate) release: bool,

    #[command(flatten)]
    pub(crate) listing: Listing,
}

/// Parses the name of a base configuration; a help lists them.
pub(crate) fn base_config() -> impl TypedValueParser<Value = BaseConfig> {
    let defconfig = PossibleValue::new("defconfig").help("The architecture's own default");
    let lean = PossibleValue::new("lean")
        .help("A small kernel for virtual machines that builds three times as fast");
    PossibleValuesParser::new([defconfig, lean]).try_map(|name| name.parse::<BaseConfig>())
}

impl Resolution {
    /// The request for kernels that these identifiers name.
    pub(crate) fn request(&self, identifiers: &[String]) -> KernelRequest {
        KernelRequest {
            identifiers: identifiers.to_vec(),
            base_config: self.base.base_config,
            include_eol: self.include_eol,
        }
    }
}

impl From<Baseline> for BaselineRequest {
    fn from(words: Baseline) -> Self {
        Self {
            base: words.base,
            base_ref: words.base_ref,
            default_branch: words.default_branch,
        }
    }
}

impl Lookup {
    /// `session` of the tests to look in.
    pub(crate) fn of(self, session: Session) -> Session {
        let session = session.release(self.release);
        session.nextest_args(self.listing.nextest_args)
    }
}
