//! `perf-delta`: compares the figures of performance tests at two commits.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ktstr_driver::perf_delta::{NoiseEvent, PerfDeltaRequest, Policy, Rules};
use ktstr_driver::{NextestStreams, SessionObserver};
use ktstr_options::{BaselineArgs, SessionArgs};
use ktstr_render::perf_delta::{conclusion, happened, markdown, text};
use ktstr_terminal::{append_to_job_summary, cancelled_by_signals, tell};

use crate::test;
use crate::{CommandResult, Context, show};

#[derive(Debug, Args)]
pub(crate) struct PerfDelta {
    /// Run both commits N times in turn, and tell changes from noise. Needs --kernel.
    #[arg(long, value_name = "N", requires = "kernel", value_parser = runs)]
    noise_adjust: Option<usize>,

    /// Count changes of PCT percent of the baseline or more [default: each metric's own
    /// gate].
    #[arg(long, value_name = "PCT", value_parser = percent)]
    threshold: Option<f64>,

    /// TOML file with gates by metric and by test (see below).
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,

    /// Exit with code 1 from N regressions on [default: the policy's, else 5].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    fail_threshold: Option<u32>,

    /// Exit with code 1 if this metric regressed in any test; can be given several
    /// times.
    #[arg(long, value_name = "METRIC", value_delimiter = ',')]
    must_fail: Vec<String>,

    #[command(flatten)]
    baseline: BaselineArgs,

    /// Run only tests that the changes since the baseline affect; with --noise-adjust.
    #[arg(long, requires = "noise_adjust")]
    relevant: bool,

    /// Take the records from an archived copy of target/ktstr, or from one run directory
    /// [default: `KTSTR_SIDECAR_DIR`, else target/ktstr].
    #[arg(long, value_name = "PATH", conflicts_with = "noise_adjust")]
    dir: Option<PathBuf>,

    /// Leave out tests whose name does not contain SUBSTRING.
    #[arg(short = 'E', value_name = "SUBSTRING")]
    name_contains: Option<String>,

    /// Print JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    test: SessionArgs,
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

pub(crate) fn run(arguments: PerfDelta, context: &Context) -> CommandResult {
    let rules = rules(&arguments)?;
    let request = PerfDeltaRequest {
        baseline: arguments.baseline.into(),
        noise_adjust: arguments.noise_adjust,
        relevant: arguments.relevant,
        dir: arguments.dir,
        name_contains: arguments.name_contains,
    };
    let session = test::session(arguments.test.into(), context)?;
    // Signals are taken here: nextest would end on one, and the next run begin.
    let session = session.streams(NextestStreams::Inherited);
    let cancel = match request.noise_adjust {
        Some(_) => cancelled_by_signals()?,
        None => context.cancel.clone(),
    };
    let reporter = context.reporter();
    let observer = |event: NoiseEvent<'_>| match event {
        NoiseEvent::Session(event) => reporter.event(event),
        event => happened(&event).iter().for_each(|line| reporter.line(line)),
    };
    let Some(report) = request.run(session, &rules, &observer, &cancel)? else {
        return Ok(ExitCode::SUCCESS);
    };
    append_to_job_summary(&context.host, &markdown(&report));
    show(&report, arguments.json, |it| text(it, &context.style))?;
    if arguments.json && report.has_nothing() {
        tell(format_args!("{}\n", conclusion(&report)));
    }
    Ok(ExitCode::from(u8::from(report.failed)))
}

fn rules(arguments: &PerfDelta) -> Result<Rules, Box<dyn Error>> {
    let policy = arguments.policy.as_deref().map(Policy::read).transpose()?;
    let fail_threshold = arguments.fail_threshold.map(|number| number as usize);
    let metrics = arguments.must_fail.iter().map(|metric| metric.trim());
    let rules = Rules::new(policy.unwrap_or_default())
        .threshold_pct(arguments.threshold)?
        .fail_threshold(fail_threshold)?
        .must_fail(metrics)
        .map_err(|error| format!("--must-fail: {error}"))?;
    Ok(rules)
}
