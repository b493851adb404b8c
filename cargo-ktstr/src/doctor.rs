//! `doctor`: shows what the host has and what is missing.

use std::env::current_dir;
use std::fmt::Write;
use std::process::ExitCode;

use ktstr_core::host::Host;
use ktstr_driver::doctor::{Check, Fix, Report, Request, examine};
use ktstr_driver::kernel_cache;
use ktstr_kernel::Cache;

use crate::cli::Doctor;
use crate::failure::{CommandResult, Failure};
use crate::terminal::{columns, print, quote, wrap};

/// Width of the columns left of the details, and the least width at which details stand beside them.
const INDENT: usize = 26;
const ROOMY: usize = 60;

pub(crate) fn run(arguments: &Doctor, host: &Host) -> CommandResult {
    let mut report = examine(&Request {
        host,
        cache: &kernel_cache(host)?,
        dir: &current_dir()?,
        is_root: rustix::process::geteuid().is_root(),
    });
    for fix in report.checks.iter_mut().filter_map(|it| it.fix.as_mut()) {
        word(fix);
    }
    if arguments.json {
        print(format!("{}\n", serde_json::to_string_pretty(&report)?).as_bytes())?;
    } else {
        print(render(&report, columns()).as_bytes())?;
    }
    Ok(if report.ready {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Words a remedy that is a command of ours.
fn word(fix: &mut Fix) {
    let command = match fix {
        Fix::BuildKernel { source } => {
            let source = quote(source);
            format!("cargo ktstr kernel build --base-config lean --kernel {source}")
        }
        Fix::RemoveCorruptKernels => "cargo ktstr kernel clean --corrupt-only".to_owned(),
        Fix::Command(_) | Fix::Advice(_) => return,
    };
    *fix = Fix::Command(command);
}

/// The kernel cache of this process's environment.
pub(crate) fn cache() -> Result<Cache, Failure> {
    Ok(kernel_cache(&Host::of_this_process())?)
}

fn render(report: &Report, width: usize) -> String {
    let mut text = String::new();
    for check in &report.checks {
        let Check {
            state,
            name,
            detail,
            ..
        } = check;
        if width < ROOMY {
            let _ = writeln!(text, "  {state:<8} {name}");
            let _ = writeln!(text, "    {}", wrap(detail, width - 4, "\n    "));
        } else {
            let detail = wrap(detail, width - INDENT, &format!("\n{:INDENT$}", ""));
            let _ = writeln!(text, "  {state:<8} {name:<15}{detail}");
        }
        if let Some(fix) = &check.fix {
            let _ = writeln!(text, "    {}", fix_text(fix, width));
        }
    }
    // One check may name all of them.
    let said = |install: &Fix| {
        report
            .checks
            .iter()
            .any(|check| check.fix.as_ref() == Some(install))
    };
    if let Some(install) = report.install.as_ref().filter(|install| !said(install)) {
        let _ = writeln!(
            text,
            "\nAll packages that are missing:\n    {}",
            fix_text(install, width)
        );
    }
    text.push_str(if report.ready {
        "\nTests can run here.\n"
    } else {
        "\nTests cannot run here yet.\n"
    });
    text
}

/// A command stays such that a shell takes it when it is copied.
fn fix_text(fix: &Fix, width: usize) -> String {
    match fix {
        Fix::Command(command) => format!("$ {}", wrap(command, width - 10, " \\\n        ")),
        Fix::Advice(words) => wrap(words, width - 4, "\n    "),
        // They are commands by now.
        Fix::BuildKernel { .. } | Fix::RemoveCorruptKernels => String::new(),
    }
}
