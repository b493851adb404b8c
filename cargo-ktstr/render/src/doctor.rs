//! What a host has for running tests, and what to do about the rest.

use std::fmt::Write;

use ktstr_driver::doctor::{Check, Fix, Report};

use crate::Style;
use crate::text::{quote, wrap};

/// Width of the columns left of the details, and the least width at which details stand beside them.
const INDENT: usize = 26;
const ROOMY: usize = 60;

/// `report` with commands of `program` where a remedy is something that the library does: to build a kernel, to remove
/// broken ones. This is what `cargo ktstr doctor --json` prints.
#[must_use]
pub fn with_commands(mut report: Report, program: &str) -> Report {
    for fix in report.checks.iter_mut().filter_map(|it| it.fix.as_mut()) {
        if let Some(command) = command(fix, program) {
            *fix = Fix::Command(command);
        }
    }
    report
}

/// The command that carries out `fix`, where that is one.
fn command(fix: &Fix, program: &str) -> Option<String> {
    match fix {
        Fix::Command(command) => Some(command.clone()),
        Fix::BuildKernel { source } => {
            let source = quote(source);
            Some(format!(
                "{program} kernel build --base-config lean --kernel {source}"
            ))
        }
        Fix::RemoveCorruptKernels => Some(format!("{program} kernel clean --corrupt-only")),
        Fix::Advice(_) => None,
    }
}

/// The checks of `report`, a line or more each, with what to do below those that need something.
///
/// ```
/// use ktstr_driver::doctor::Report;
/// use ktstr_render::{Style, doctor};
///
/// let report = Report { ready: true, checks: vec![], install: None };
/// assert_eq!(doctor::text(&report, &Style::default()), "\nTests can run here.\n");
/// ```
pub fn text(report: &Report, style: &Style) -> String {
    let mut text = String::new();
    for check in &report.checks {
        push(&mut text, check, style);
    }
    // One check may name all of them.
    let said = |install: &Fix| {
        let mut fixes = report.checks.iter().filter_map(|check| check.fix.as_ref());
        fixes.any(|fix| fix == install)
    };
    if let Some(install) = report.install.as_ref().filter(|install| !said(install)) {
        let install = fix_text(install, style);
        let _ = writeln!(text, "\nAll packages that are missing:\n    {install}");
    }
    text.push_str(if report.ready {
        "\nTests can run here.\n"
    } else {
        "\nTests cannot run here yet.\n"
    });
    text
}

fn push(text: &mut String, check: &Check, style: &Style) {
    let Check {
        state,
        name,
        detail,
        ..
    } = check;
    let width = style.width;
    let _ = if width < ROOMY {
        let detail = wrap(detail, width.saturating_sub(4), "\n    ");
        writeln!(text, "  {state:<8} {name}\n    {detail}")
    } else {
        let detail = wrap(detail, width - INDENT, &format!("\n{:INDENT$}", ""));
        writeln!(text, "  {state:<8} {name:<15}{detail}")
    };
    if let Some(fix) = &check.fix {
        let _ = writeln!(text, "    {}", fix_text(fix, style));
    }
}

/// A command stays such that a shell takes it when it is copied.
fn fix_text(fix: &Fix, style: &Style) -> String {
    match fix {
        Fix::Advice(words) => wrap(words, style.width.saturating_sub(4), "\n    "),
        other => {
            let command = command(other, &style.program).unwrap_or_default();
            let width = style.width.saturating_sub(10);
            format!("$ {}", wrap(&command, width, " \\\n        "))
        }
    }
}
