//! Which cases are listed where there is not time for all: those that a session selected, or that fit `KTSTR_BUDGET_SECS`.

use std::collections::BTreeSet;
use std::time::Duration;

use ktstr_core::budget::{Candidate, select};
use ktstr_core::record::{MeasuredTimes, RunStore};

use super::job::Job;
use super::settings::Process;

/// Takes the cases out of `all` that are not to be listed. The note tells what is left, where this binary decided it.
pub(super) fn apply(all: &mut Vec<Job>, process: &Process) -> Result<Option<String>, String> {
    let session = process.session.as_ref();
    if let Some(selected) = session.and_then(|session| session.selected.as_ref()) {
        let Some(binary) = &process.binary_id else {
            return Err(
                "the session selected tests by the names of their binaries, which this nextest does not tell; install a \
                 newer one: cargo install --locked cargo-nextest"
                    .to_owned(),
            );
        };
        let selected = selected.get(binary);
        all.retain(|job| selected.is_some_and(|names| names.contains(&job.name().to_string())));
        return Ok(None);
    }
    let Some(budget) = process.budget else {
        return Ok(None);
    };
    let (selected, note) = within(budget, all, process);
    let mut index = 0..;
    all.retain(|_| index.next().is_some_and(|index| selected.contains(&index)));
    Ok(Some(note))
}

/// The jobs, by their index, that cover most within `budget`. Ignored ones come last: they are listed whether they will run
/// or not.
fn within(budget: Duration, all: &[Job], process: &Process) -> (BTreeSet<usize>, String) {
    let runs = process.sidecar_dir.as_ref().unwrap_or(&process.runs_dir);
    let times = MeasuredTimes::read(&RunStore::new(runs));
    let binary = process.binary_id.as_deref().unwrap_or_default();
    let candidates: Vec<Candidate> = all
        .iter()
        .map(|job| candidate(job, binary, &times))
        .collect();
    let selection = select(&candidates, budget, process.test_threads);
    let note = format!(
        "{} s: {} of {} cases of this test binary are listed, for {:.0} s of machines; {}",
        budget.as_secs(),
        selection.selected.len(),
        all.len(),
        selection.time.as_secs_f64(),
        selection.left_out,
    );
    (selection.selected.into_iter().collect(), note)
}

fn candidate(job: &Job, binary: &str, times: &MeasuredTimes) -> Candidate {
    let topology = job.topology().map(|topology| topology.to_string());
    let scheduler = job.scheduler().name.to_owned();
    let topology = topology.unwrap_or_default();
    Candidate {
        later: job.is_ignored(),
        ..Candidate::new(binary, job.name(), topology, scheduler, times)
    }
}
