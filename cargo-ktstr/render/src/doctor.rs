//! What a host has for running tests, and what to do about the rest.

use std::fmt::Write;

use ktstr_core::text::line;
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
    let Check { state, name, .. } = check;
    let (detail, width) = (line(&check.detail), style.width);
    let _ = if width < ROOMY {
        let detail = wrap(&detail, width.saturating_sub(4), "\n    ");
        writeln!(text, "  {state:<8} {name}\n    {detail}")
    } else {
        let detail = wrap(&detail, width - INDENT, &format!("\n{:INDENT$}", ""));
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

#[cfg(test)]
mod tests {
    use ktstr_driver::doctor::State;

    use super::*;

    fn report() -> Report {
        let source = "/usr/src/my linux.tar.xz".to_owned();
        let install = "sudo apt-get install clang".to_owned();
        let advice = "ask whoever may to load the module and to let you use its device";
        Report {
            ready: false,
            checks: vec![
                Check::new("QEMU", State::Ok, "9.2"),
                Check::new("kernel", State::Missing, "none is built yet")
                    .fix(Fix::BuildKernel { source }),
                Check::new(
                    "KVM",
                    State::Limited,
                    "there is no /dev/kvm, and emulation is slow",
                )
                .fix(Fix::Advice(advice.to_owned())),
            ],
            install: Some(Fix::Command(install)),
        }
    }

    #[test]
    fn each_check_has_its_line_and_what_to_do() {
        let expected = "  \
  ok       QEMU           9.2
  missing  kernel         none is built yet
    $ x kernel build --base-config lean --kernel '/usr/src/my linux.tar.xz'
  limited  KVM            there is no /dev/kvm, and emulation is slow
    ask whoever may to load the module and to let you use its device

All packages that are missing:
    $ sudo apt-get install clang

Tests cannot run here yet.
";
        let style = Style::new("x", None, None);
        assert_eq!(text(&report(), &style), expected);
    }

    #[test]
    fn what_a_check_says_is_not_said_again() {
        let mut report = report();
        report.checks[2].fix = report.install.clone();
        let text = text(&report, &Style::default());
        assert_eq!(
            text.matches("sudo apt-get install clang").count(),
            1,
            "{text}"
        );
    }

    #[test]
    fn lines_are_as_narrow_as_the_terminal() {
        for width in [0, 1, 30, 59, 60, 61] {
            let style = Style {
                width,
                ..Style::new("x", None, None)
            };
            let text = text(&report(), &style);
            let can_be_broken = |line: &str| line.trim().split(' ').count() > 3;
            let mut wide = text
                .lines()
                .filter(|line| line.chars().count() > width.max(30));
            assert_eq!(
                wide.find(|line| can_be_broken(line)),
                None,
                "{width}: {text}"
            );
            assert!(text.contains("QEMU"), "{text}");
        }
    }

    #[test]
    fn documents_have_commands() {
        let report = with_commands(report(), "x");
        let fixes: Vec<_> = report.checks.iter().map(|check| &check.fix).collect();
        let command = "x kernel build --base-config lean --kernel '/usr/src/my linux.tar.xz'";
        assert_eq!(*fixes[1], Some(Fix::Command(command.to_owned())));
        assert!(matches!(fixes[2], Some(Fix::Advice(_))));
        let corrupt = Check::new("x", State::Limited, "").fix(Fix::RemoveCorruptKernels);
        let report = with_commands(
            Report {
                checks: vec![corrupt],
                ..report
            },
            "y",
        );
        let command = "y kernel clean --corrupt-only".to_owned();
        assert_eq!(report.checks[0].fix, Some(Fix::Command(command)));
    }
}
