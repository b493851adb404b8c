//! Reads back what the newest run left in each run directory: how many cases ended how, and for every failure what decided
//! it, the end of the kernel's log, and the arguments that run it again.
//!
//! ```text
//! cargo run -p ktstr-examples --bin read_records -- [target/ktstr]
//! ```

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use ktstr_driver::{RunSummary, Tally, replay_args};
use ktstr_harness::runner::FailureArtifacts;

fn run() -> Result<(), Box<dyn Error>> {
    let runs = std::env::args_os().nth(1).map(PathBuf::from);
    let runs = runs.unwrap_or_else(|| "target/ktstr".into());
    let entries = fs::read_dir(&runs).map_err(|error| format!("{}: {error}", runs.display()))?;
    for entry in entries {
        let Some(run) = RunSummary::latest(&entry?.path()) else {
            continue;
        };
        println!("{}: {}", run.path.display(), Tally::of([&run]));
        for problem in &run.unreadable {
            println!("  {problem}");
        }
        for record in run.failures() {
            println!("  {}", record.sidecar.case);
            for detail in record.sidecar.verdict.decisive() {
                println!("    {detail}");
            }
            let evidence = FailureArtifacts::of(record)?.unwrap_or_default();
            if let Some(exit) = &evidence.scx_exit {
                println!(
                    "    the kernel ejected the scheduler: {} ({})",
                    exit.kind, exit.message
                );
            }
            if let Some(line) = evidence.kernel_log.lines().last() {
                println!("    last line of the kernel's log: {line}");
            }
            let args = replay_args(&record.sidecar, &[]);
            println!(
                "    cargo nextest run {}",
                args.join(" ".as_ref()).display()
            );
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
