//! `verifier`: the sweep over declared schedulers, and its tables.

use std::fmt::Write;
use std::process::ExitCode;

use ktstr_core::Outcome;
use ktstr_driver::verifier::{CellReport, SchedulerReport, Sweep};

use crate::cli::Verifier;
use crate::failure::CommandResult;
use crate::terminal::{columns, print};
use crate::test;

pub(crate) fn run(arguments: &Verifier, program: &'static str) -> CommandResult {
    let session = test::session(&arguments.test, program)?;
    let report = Sweep::new(session, arguments.test.nextest_args.iter().cloned())
        .schedulers(arguments.scheduler.clone())
        .raw(arguments.raw)
        .run()?;
    test::summarize(&report.session, &arguments.test, program, "cell");
    let width = columns();
    let tables: String = report
        .schedulers
        .iter()
        .map(|scheduler| tables(scheduler, width))
        .collect();
    print(tables.as_bytes())?;
    Ok(ExitCode::from(report.session.exit_code))
}

/// What the verifier had to do, by kernel and program, then what passed, by machine and kernel.
fn tables(scheduler: &SchedulerReport, width: usize) -> String {
    let name = &scheduler.name;
    let mut text = format!("\n{name}: verified instructions (`verified_insns`)\n");
    let by_kernel: Vec<_> = scheduler
        .kernels
        .iter()
        .map(|kernel| (kernel, scheduler.programs(kernel)))
        .collect();
    let mut programs: Vec<&String> = by_kernel.iter().flat_map(|(_, p)| p.keys()).collect();
    programs.sort();
    programs.dedup();
    if programs.is_empty() {
        text.push_str("  no cell reached this stage\n");
    } else {
        let column = |program: &&String| Column {
            title: (*program).clone(),
            cells: by_kernel
                .iter()
                .map(|(_, spans)| {
                    spans
                        .get(*program)
                        .map_or("-".to_owned(), ToString::to_string)
                })
                .collect(),
        };
        text.push_str(&table(
            "kernel",
            &scheduler.kernels,
            &programs.iter().map(column).collect::<Vec<_>>(),
            width,
        ));
    }
    let _ = write!(text, "\n{name}: cells\n");
    let has_run = |preset: &&&str| scheduler.cells.keys().any(|(_, of)| of == **preset);
    let presets: Vec<&str> = scheduler.presets.iter().filter(has_run).copied().collect();
    let column = |kernel: &String| Column {
        title: kernel.clone(),
        cells: presets
            .iter()
            .map(|preset| {
                let key = (kernel.clone(), (*preset).to_owned());
                ended(scheduler.cells.get(&key))
            })
            .collect(),
    };
    let columns: Vec<_> = scheduler.kernels.iter().map(column).collect();
    if !presets.is_empty() {
        text.push_str(&table("topology", &presets, &columns, width));
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

struct Column {
    title: String,
    /// One per row.
    cells: Vec<String>,
}

/// Rows and columns for a terminal of that width. Columns that do not fit beside each other follow below, again with the names of
/// the rows.
fn table(corner: &str, rows: &[impl AsRef<str>], columns: &[Column], width: usize) -> String {
    let names = || std::iter::once(corner).chain(rows.iter().map(AsRef::as_ref));
    let left = names().map(str::len).max().unwrap_or(0) + 2;
    let needed = |column: &Column| {
        let cells = column.cells.iter().chain([&column.title]);
        cells.map(String::len).max().unwrap_or(0) + 2
    };
    let mut text = String::new();
    let mut rest = columns;
    while !rest.is_empty() {
        let mut room = width.saturating_sub(left);
        let fitting = rest.iter().take_while(|column| {
            let fits = needed(column) <= room;
            room = room.saturating_sub(needed(column));
            fits
        });
        // One that is too wide for any line stands alone.
        let (block, further) = rest.split_at(fitting.count().max(1));
        if !text.is_empty() {
            text.push('\n');
        }
        for (row, name) in names().enumerate() {
            let mut line = format!("  {name:<0$}", left - 2);
            for column in block {
                let cell = match row.checked_sub(1) {
                    Some(row) => &column.cells[row],
                    None => &column.title,
                };
                let _ = write!(line, "{cell:>0$}", needed(column));
            }
            let _ = writeln!(text, "{}", line.trim_end());
        }
        rest = further;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(title: &str, cells: &[&str]) -> Column {
        Column {
            title: title.to_owned(),
            cells: cells.iter().map(|cell| (*cell).to_owned()).collect(),
        }
    }

    #[test]
    fn columns_that_do_not_fit_follow_below() {
        let two = [
            column("init", &["4", "12345..99999"]),
            column("exit", &["1", "-"]),
        ];
        let rows = ["kernel_6_12", "kernel_6_14"];
        let text = table("kernel", &rows, &two, 80);
        assert_eq!(
            text,
            "  kernel               init  exit\n  kernel_6_12             4     1\n  kernel_6_14  12345..99999     -\n"
        );
        let many: Vec<_> = (0..9)
            .map(|n| column(&format!("program_number_{n}"), &["1", "2"]))
            .collect();
        let text = table("kernel", &rows, &many, 80);
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        assert_eq!(
            text.lines()
                .filter(|line| line.contains("kernel_6_12"))
                .count(),
            3
        );
        for n in 0..9 {
            assert_eq!(text.matches(&format!("program_number_{n}")).count(), 1);
        }
        let wide = table(
            "kernel",
            &rows,
            &[column(&"x".repeat(100), &["1", "2"])],
            80,
        );
        assert_eq!(wide.lines().count(), 3);
    }
}
