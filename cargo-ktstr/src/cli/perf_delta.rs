//! The words of `perf-delta`.

use std::path::PathBuf;

use clap::Args;

use super::Test;
use super::relevant::Baseline;

#[derive(Debug, Args)]
pub(crate) struct PerfDelta {
    /// Run both commits N times in turn, and tell changes from noise. Needs --kernel.
    #[arg(long, value_name = "N", requires = "kernel", value_parser = runs)]
    pub(crate) noise_adjust: Option<usize>,

    /// Count changes of PCT percent of the baseline or more [default: each metric's own
    /// gate].
    #[arg(long, value_name = "PCT", value_parser = percent)]
    pub(crate) threshold: Option<f64>,

    /// TOML file with gates by metric and by test (see below).
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,

    /// Exit with code 1 from N regressions on [default: the policy's, else 5].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) fail_threshold: Option<u32>,

    /// Exit with code 1 if this metric regressed in any test; can be given several
    /// times.
    #[arg(long, value_name = "METRIC", value_delimiter = ',')]
    pub(crate) must_fail: Vec<String>,

    #[command(flatten)]
    pub(crate) baseline: Baseline,

    /// Run only tests that the changes since the baseline affect; with --noise-adjust.
    #[arg(long, requires = "noise_adjust")]
    pub(crate) relevant: bool,

    /// Take the records from an archived copy of target/ktstr, or from one run directory
    /// [default: `KTSTR_SIDECAR_DIR`, else target/ktstr].
    #[arg(long, value_name = "PATH", conflicts_with = "noise_adjust")]
    pub(crate) dir: Option<PathBuf>,

    /// Leave out tests whose name does not contain SUBSTRING.
    #[arg(short = 'E', value_name = "SUBSTRING")]
    pub(crate) name_contains: Option<String>,

    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) test: Test,
}

/// A number of runs that noise can be measured by.
fn runs(text: &str) -> Result<usize, String> {
    let runs = text.parse::<usize>().map_err(|error| error.to_string())?;
    if !(2..=1000).contains(&runs) {
        return Err("give 2 to 1000".to_owned());
    }
    Ok(runs)
}

fn percent(text: &str) -> Result<f64, String> {
    let percent = text.parse::<f64>().map_err(|error| error.to_string())?;
    if !percent.is_finite() || percent < 0.0 {
        return Err("give a number of 0 or more".to_owned());
    }
    Ok(percent)
}
