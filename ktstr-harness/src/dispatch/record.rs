//! Runs one case and keeps its record, from before it starts until it ends.

use std::time::SystemTime;

use ktstr_core::record::{RunDir, Sidecar};
use ktstr_core::{CaseName, KernelLabel, Outcome, Verdict, record as records};
use ktstr_kernel::ImageInfo;
use ktstr_vmm::CancelToken;

use super::job::Job;
use super::settings::Process;
use crate::cases::NamedKernel;
use crate::runner::{CaseResult, FailureArtifacts, RunObserver, Runner, Settings, discover_kernel};

/// Runs `job` and writes its record.
///
/// It first makes sure that the record can be written, and does not run the case otherwise.
pub(super) fn run(job: &Job, process: &Process, observer: &mut dyn RunObserver) -> CaseResult {
    let planned = planned(job, process);
    let begun = match run_dir(&planned, process).begin(&planned) {
        Ok(begun) => begun,
        Err(error) => {
            let verdict = unrecorded(&error);
            return unstarted(planned, verdict);
        }
    };
    let runner = Runner::new(Settings {
        records_dir: Some(run_dir(&planned, process).path().to_owned()),
        ..process.settings.clone()
    });
    // Nobody cancels it: a signal ends this process, and its machine with it.
    let cancel = match CancelToken::new() {
        Ok(cancel) => cancel,
        Err(error) => {
            let verdict = Verdict::fail("host", format!("eventfd: {error}; see ulimit -n"));
            return unstarted(planned, verdict);
        }
    };
    let mut ended = match job {
        Job::Test(case) => runner.run_case(case, observer, &cancel),
        Job::Cell(cell) => runner.run_cell(cell, observer, &cancel),
    };
    let sidecar = &mut ended.sidecar;
    let outcome = sidecar.verdict.outcome();
    let failed = matches!(outcome, Outcome::Fail | Outcome::Inconclusive);
    let dump = failed.then_some(&ended.artifacts);
    match run_dir(sidecar, process).write(sidecar, dump) {
        Ok(_) => begun.end(),
        // A verdict that nobody can look up later must not pass for one. What was begun stays, as the only trace.
        Err(error) => sidecar.verdict.merge(unrecorded(&error)),
    }
    ended
}

/// The result of a case that did not start.
fn unstarted(planned: Sidecar, verdict: Verdict) -> CaseResult {
    CaseResult {
        sidecar: Sidecar { verdict, ..planned },
        artifacts: FailureArtifacts::default(),
        cancelled: false,
    }
}

fn unrecorded(error: &records::RunDirError) -> Verdict {
    Verdict::fail("sidecar", error.to_string())
}

/// Gives the kernel that is found to every job that names none, and returns a line that names it. If none is found, each of
/// these jobs fails with that.
pub(super) fn choose_kernel(jobs: &mut [Job], process: &Process) -> Option<String> {
    let mut unnamed: Vec<_> = jobs
        .iter_mut()
        .filter_map(|job| match job {
            Job::Test(case) if case.kernel.is_none() && case.topology().is_some() => Some(case),
            _ => None,
        })
        .collect();
    if unnamed.is_empty() {
        return None;
    }
    let found = discover_kernel(&process.settings).ok()?;
    for case in &mut unnamed {
        case.kernel = Some(NamedKernel {
            label: found.label.clone(),
            image: found.image.clone(),
        });
    }
    found.found
}

/// The record of `job` before it runs.
fn planned(job: &Job, process: &Process) -> Sidecar {
    let now = SystemTime::now();
    let origin = &process.settings.origin;
    let record = |test| origin.record(test, job.name(), Verdict::pass(), now);
    let (kernel, sidecar) = match job {
        Job::Test(case) => (case.kernel.clone(), case.record(record(case.test.name))),
        Job::Cell(cell) => {
            let record = cell.record(record(CaseName::VERIFIER));
            (Some(cell.kernel.clone()), record)
        }
    };
    // What is wrong with the kernel is told when it is to run.
    let version = kernel
        .as_ref()
        .and_then(|kernel| Some(ImageInfo::read(&kernel.image).ok()?.version));
    Sidecar {
        kernel_version: version,
        kernel_label: kernel.map(|kernel| kernel.label),
        finished: String::new(),
        ..sidecar
    }
}

fn run_dir(sidecar: &Sidecar, process: &Process) -> RunDir {
    let path = process.sidecar_dir.clone().unwrap_or_else(|| {
        // A tree of one's own is told by its label; releases by their version.
        let label = sidecar.kernel_label.as_ref().map(KernelLabel::as_str);
        let of_path = label.filter(|label| label.starts_with("kernel_path_"));
        let kernel = of_path.or(sidecar.kernel_version.as_deref());
        process
            .runs_dir
            .join(records::run_name(kernel, sidecar.project_commit.as_deref()))
    });
    RunDir::new(path, process.settings.origin.epoch.clone())
}
