//! `verifier`: runs the sweep over declared schedulers and prints its tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::process::ExitCode;

use ktstr_core::Outcome;
use ktstr_core::host::Host;
use ktstr_driver::verifier::{CellReport, SchedulerReport, Sweep, SweepError};
use ktstr_vmm::CancelToken;

use crate::cli::Verifier;
use crate::failure::{CommandResult, Failure};
use crate::progress::Reporter;
use crate::summary;
use crate::table::{Align, Column, table};
use crate::terminal::{columns, print};
use crate::test::{self, Shown};

pub(crate) fn run(arguments: &Verifier, program: &'static str, host: &Host) -> CommandResult {
    let reporter = Reporter::new(program);
    let session = test::session(&arguments.test, &reporter, host)?;
    let report = Sweep::new(session, arguments.test.nextest_args.iter().cloned())
        .schedulers(arguments.scheduler.clone())
        .raw(arguments.raw)
        .run(&Shown(&reporter), &CancelToken::new()?)
        .map_err(worded)?;
    summary::print(&report.session, &arguments.test, program, "cell");
    let width = columns();
    let tables: String = report
        .schedulers
        .iter()
        .map(|scheduler| instructions(scheduler, width) + &cells(scheduler, width))
        .collect();
    print(tables.as_bytes())?;
    Ok(ExitCode::from(report.session.exit_code))
}

fn worded(error: SweepError) -> Failure {
    match error {
        SweepError::UnknownScheduler { name, there } => Failure::new(format!(
            "--scheduler {name}: no such scheduler has a cell on these kernels; there are {}",
            there.join(", ")
        )),
        SweepError::Session(error) => test::worded(error),
        other => other.into(),
    }
}

/// The table of verified instructions, by kernel and program.
fn instructions(scheduler: &SchedulerReport, width: usize) -> String {
    let title = format!(
        "\n{}: verified instructions (`verified_insns`)\n",
        scheduler.name
    );
    let by_kernel: Vec<_> = scheduler
        .kernels
        .iter()
        .map(|kernel| scheduler.programs(kernel))
        .collect();
    let programs: BTreeSet<&String> = by_kernel.iter().flat_map(BTreeMap::keys).collect();
    if programs.is_empty() {
        return format!("{title}  no cell reached this stage\n");
    }
    let column = |program: &String| {
        let cells = by_kernel.iter().map(|spans| match spans.get(program) {
            Some(span) => span.to_string(),
            None => "-".to_owned(),
        });
        Column::new(program, Align::Right, cells)
    };
    let kernels = Column::new("kernel", Align::Left, &scheduler.kernels);
    let columns: Vec<_> = programs.into_iter().map(column).collect();
    title + &table(&kernels, &columns, width)
}

/// The table of results, by machine and kernel.
fn cells(scheduler: &SchedulerReport, width: usize) -> String {
    let mut text = format!("\n{}: cells\n", scheduler.name);
    let has_run = |preset: &&&str| scheduler.cells.keys().any(|(_, of)| of == **preset);
    let presets: Vec<&str> = scheduler.presets.iter().filter(has_run).copied().collect();
    let column = |kernel: &String| {
        let cells = presets.iter().map(|preset| {
            let key = (kernel.clone(), (*preset).to_owned());
            ended(scheduler.cells.get(&key))
        });
        Column::new(kernel, Align::Right, cells)
    };
    let columns: Vec<_> = scheduler.kernels.iter().map(column).collect();
    if !presets.is_empty() {
        let topologies = Column::new("topology", Align::Left, presets.iter().copied());
        text.push_str(&table(&topologies, &columns, width));
    }
    let others = scheduler.presets.len() - presets.len();
    if others > 0 {
        let _ = writeln!(text, "  ({others} topologies without a result)");
    }
    text
}

/// `pass`, `skip`, `FAIL load`; `-` for a cell that was not run, or has no kernel of these.
fn ended(cell: Option<&CellReport>) -> String {
    let Some(cell) = cell else {
        return "-".to_owned();
    };
    match (cell.outcome, &cell.stats) {
        (Outcome::Fail, Some(stats)) => format!("FAIL {}", stats.stage),
        (Outcome::Fail, None) => "FAIL".to_owned(),
        (outcome, _) => outcome.to_string(),
    }
}
