//! The tables of a verifier sweep.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use ktstr_core::Outcome;
use ktstr_driver::verifier::{CellReport, SchedulerReport};

use crate::Style;
use crate::table::{Column, Table};

/// Two tables for each of `schedulers`: the verified instructions (`verified_insns`) of each program by kernel, and how
/// each cell ended.
pub fn text(schedulers: &[SchedulerReport], style: &Style) -> String {
    let tables = schedulers.iter();
    tables
        .map(|scheduler| instructions(scheduler, style.width) + &cells(scheduler, style.width))
        .collect()
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
        Column::right(program, cells)
    };
    let kernels = Column::left("kernel", &scheduler.kernels);
    let columns: Vec<_> = programs.into_iter().map(column).collect();
    title + &Table::new(&kernels, &columns).text(width)
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
        Column::right(kernel, cells)
    };
    let columns: Vec<_> = scheduler.kernels.iter().map(column).collect();
    if !presets.is_empty() {
        let topologies = Column::left("topology", presets.iter().copied());
        text.push_str(&Table::new(&topologies, &columns).text(width));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_by_machine_and_kernel() {
        let cell = |kernel: &str, preset: &str, outcome| {
            let report = CellReport {
                outcome,
                stats: None,
            };
            ((kernel.to_owned(), preset.to_owned()), report)
        };
        let scheduler = SchedulerReport {
            name: "mine".to_owned(),
            kernels: vec!["kernel_6_12".to_owned(), "kernel_6_14".to_owned()],
            presets: vec!["4cpu-1llc-nosmt", "8cpu-2llc-smt", "16cpu-4llc-smt"],
            cells: [
                cell("kernel_6_12", "4cpu-1llc-nosmt", Outcome::Pass),
                cell("kernel_6_14", "4cpu-1llc-nosmt", Outcome::Fail),
                cell("kernel_6_12", "8cpu-2llc-smt", Outcome::Skip),
            ]
            .into(),
        };
        let expected = "
mine: verified instructions (`verified_insns`)
  no cell reached this stage

mine: cells
  topology         kernel_6_12  kernel_6_14
  4cpu-1llc-nosmt         pass         FAIL
  8cpu-2llc-smt           skip            -
  (1 topologies without a result)
";
        assert_eq!(text(&[scheduler], &Style::default()), expected);
    }
}
