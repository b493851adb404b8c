//! What identifiers of kernels stand for.

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use ktstr_driver::KernelRequest;
use ktstr_kernel::BaseConfig;

/// What identifiers of kernels stand for.
#[derive(Debug, Clone, Args)]
pub struct ResolutionArgs {
    /// With a range, also include end-of-life (EOL) series.
    #[arg(long)]
    pub include_eol: bool,

    /// What a source is configured from.
    #[command(flatten)]
    pub base: BaseConfigArgs,
}

/// What a source is configured from that has no configuration of its own.
#[derive(Debug, Clone, Args)]
pub struct BaseConfigArgs {
    /// Base configuration for a source without a .config [default:
    /// `KTSTR_BASE_CONFIG`, else defconfig].
    #[arg(long, value_name = "BASE", value_parser = base_config())]
    pub base_config: Option<BaseConfig>,
}

/// A value parser for names of base configurations; a help lists them.
pub fn base_config() -> impl TypedValueParser<Value = BaseConfig> {
    let defconfig = PossibleValue::new("defconfig").help("The architecture's own default");
    let lean = PossibleValue::new("lean")
        .help("A small kernel for virtual machines that builds three times as fast");
    PossibleValuesParser::new([defconfig, lean]).try_map(|name| name.parse::<BaseConfig>())
}

impl ResolutionArgs {
    /// The request for kernels that these identifiers name.
    pub fn request(&self, identifiers: &[String]) -> KernelRequest {
        KernelRequest {
            identifiers: identifiers.to_vec(),
            base_config: self.base.base_config,
            include_eol: self.include_eol,
        }
    }
}
