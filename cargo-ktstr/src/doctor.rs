//! `doctor`: what the host has and lacks.

use std::env::{current_dir, var_os};
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use ktstr_harness::driver::doctor::{Fix, Report, Surroundings, examine};
use ktstr_kernel::Cache;

use crate::cli::Doctor;
use crate::failure::{CommandResult, Failure};
use crate::terminal::{print, wrap};

/// Width of the output, and of what stands left of its details.
const COLUMNS: usize = 80;
const INDENT: usize = 26;

pub(crate) fn run(arguments: &Doctor) -> CommandResult {
    let report = examine(&Surroundings {
        env: &|name| var_os(name),
        cache: &cache()?,
        dir: &current_dir()?,
        root: Path::new("/"),
        is_root: rustix::process::geteuid().is_root(),
    });
    if arguments.json {
        print(format!("{}\n", serde_json::to_string_pretty(&report)?).as_bytes())?;
    } else {
        print(render(&report).as_bytes())?;
    }
    Ok(if report.ready {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The kernel cache of this process's environment.
pub(crate) fn cache() -> Result<Cache, Failure> {
    ktstr_core::env::cache_root(|name| var_os(name))
        .map(Cache::new)
        .ok_or_else(|| {
            Failure::new("no cache directory: set KTSTR_CACHE_DIR, XDG_CACHE_HOME or HOME")
        })
}

fn render(report: &Report) -> String {
    let mut text = String::new();
    let joint = format!("\n{:INDENT$}", "");
    for check in &report.checks {
        let detail = wrap(&check.detail, COLUMNS - INDENT, &joint);
        let _ = writeln!(text, "  {:<8} {:<15}{detail}", check.state, check.name);
        if let Some(fix) = &check.fix {
            let _ = writeln!(text, "    {}", fix_text(fix));
        }
    }
    // One check may have said it all.
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
            fix_text(install)
        );
    }
    text.push_str(if report.ready {
        "\nTests can run here.\n"
    } else {
        "\nTests cannot run here yet.\n"
    });
    text
}

/// Commands stay such that a shell takes them when they are copied.
fn fix_text(fix: &Fix) -> String {
    match fix {
        Fix::Command(command) => format!("$ {}", wrap(command, COLUMNS - 8, " \\\n        ")),
        Fix::Advice(words) => wrap(words, COLUMNS - 4, "\n    "),
    }
}
