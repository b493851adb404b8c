//! Running one case with a record of it: from before it runs until it ends, however it ends.

use std::time::SystemTime;

use ktstr_core::record::{RunDir, Sidecar};
use ktstr_core::{KernelLabel, Outcome, Verdict, record as records};
use ktstr_kernel::ImageInfo;

use super::{Job, NamedKernel, Settings};
use crate::host::{self, Evidence, Finished};

/// Runs `job` and writes its record.
///
/// That it can be written is seen before: minutes of machines for nothing would be the alternative.
pub(super) fn run(job: &Job, settings: &Settings) -> Finished {
    let planned = planned(job, settings);
    let begun = match run_dir(&planned, settings).begin(&planned) {
        Ok(begun) => begun,
        Err(error) => {
            return Finished {
                sidecar: Sidecar {
                    verdict: unrecorded(&error),
                    ..planned
                },
                evidence: Evidence::default(),
                notes: Vec::new(),
            };
        }
    };
    let mut ended = match job {
        Job::Test(case) => host::run(case, settings),
        Job::Cell(cell) => host::verify(cell, settings),
    };
    let sidecar = &mut ended.sidecar;
    if settings.no_skip_mode {
        sidecar.verdict = std::mem::take(&mut sidecar.verdict).without_skips();
    }
    let outcome = sidecar.verdict.outcome();
    let failed = matches!(outcome, Outcome::Fail | Outcome::Inconclusive);
    let dump = failed.then_some(&ended.evidence);
    match run_dir(sidecar, settings).write(sidecar, dump) {
        Ok(_) => begun.end(),
        // A verdict that nobody can look up later must not pass for one. What was begun stays, as the only trace.
        Err(error) => sidecar.verdict.merge(unrecorded(&error)),
    }
    ended
}

fn unrecorded(error: &records::RunDirError) -> Verdict {
    Verdict::fail("sidecar", error.to_string())
}

/// Has every job that names no kernel run on the one that is found, and tells which that is. Where none is found, each
/// of them says so.
pub(super) fn choose_kernel(jobs: &mut [Job], settings: &Settings) -> Option<String> {
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
    let found = host::discovered(settings).ok()?;
    for case in &mut unnamed {
        case.kernel = Some(NamedKernel {
            label: found.label.clone(),
            image: found.image.clone(),
        });
    }
    found.found
}

/// What is known of the record of `job` before it runs.
fn planned(job: &Job, settings: &Settings) -> Sidecar {
    let now = SystemTime::now();
    let (kernel, sidecar) = match job {
        Job::Test(case) => {
            let record = settings.record(case.test.name, &case.name, Verdict::pass(), now);
            let sidecar = Sidecar {
                variant: case.variant_name().to_owned(),
                topology: case.topology(),
                scheduler: case.test.scheduler.name.to_owned(),
                ..record
            };
            (case.kernel.clone(), sidecar)
        }
        Job::Cell(cell) => {
            let record = settings.record(super::Cell::TEST, &cell.name, Verdict::pass(), now);
            let sidecar = Sidecar {
                variant: cell.preset.name.to_owned(),
                topology: Some(cell.preset.topology),
                scheduler: cell.scheduler.name.to_owned(),
                ..record
            };
            (Some(cell.kernel.clone()), sidecar)
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

fn run_dir(sidecar: &Sidecar, settings: &Settings) -> RunDir {
    let path = settings.sidecar_dir.clone().unwrap_or_else(|| {
        // A tree of one's own is told by its label; releases by their version.
        let label = sidecar.kernel_label.as_ref().map(KernelLabel::as_str);
        let of_path = label.filter(|label| label.starts_with("kernel_path_"));
        let kernel = of_path.or(sidecar.kernel_version.as_deref());
        settings
            .runs_dir
            .join(records::run_name(kernel, sidecar.project_commit.as_deref()))
    });
    RunDir::new(path, settings.epoch.clone())
}
