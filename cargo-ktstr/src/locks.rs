//! `locks`: shows which locks are held and by whom.

use std::env::current_dir;
use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::thread::sleep;

use ktstr_core::host::{Host, LockHolder, LockKind, LockMode, LockPlaces, LockStatus, held_locks};
use ktstr_core::{CpuSet, text};
use ktstr_driver::lock_places;
use serde_json::json;

use crate::cli::Locks;
use crate::failure::CommandResult;
use crate::terminal::{columns, print_more, quote, tilde};

/// Homes the cursor and clears the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

pub(crate) fn run(arguments: &Locks, host: &Host) -> CommandResult {
    let places = lock_places(host, &current_dir()?);
    let clear = arguments.watch.is_some() && !arguments.json && io::stdout().is_terminal();
    loop {
        let locks = held_locks(&places, &host.root)?;
        let mut text = if clear {
            CLEAR.to_owned()
        } else {
            String::new()
        };
        if arguments.json {
            let json = json!({
                "lock_dir": places.lock_dir,
                "cache_locks": places.cache,
                "run_locks": places.runs,
                "locks": locks,
            });
            let _ = match arguments.watch {
                Some(_) => writeln!(text, "{json}"),
                None => writeln!(text, "{json:#}"),
            };
        } else {
            text.push_str(&render(&places, &locks));
        }
        let more = print_more(text.as_bytes())?;
        let Some(interval) = arguments.watch.filter(|_| more) else {
            return Ok(ExitCode::SUCCESS);
        };
        sleep(interval);
    }
}

fn render(places: &LockPlaces, locks: &[LockStatus]) -> String {
    let of = |kinds: &[LockKind]| -> Vec<&LockStatus> {
        let locks = locks.iter();
        locks.filter(|lock| kinds.contains(&lock.kind)).collect()
    };
    let mut text = format!("host CPU locks: {}\n", text::line(&tilde(&places.lock_dir)));
    let kinds = [LockKind::Llc, LockKind::Cpu, LockKind::Emulator];
    section(&mut text, &of(&kinds));
    for (title, dir, kind, absent) in [
        (
            "kernel cache",
            &places.cache,
            LockKind::Cache,
            "no directory: set KTSTR_CACHE_DIR, XDG_CACHE_HOME or HOME",
        ),
        ("runs", &places.runs, LockKind::Run, "no cargo project here"),
    ] {
        match dir {
            Some(dir) => {
                let _ = writeln!(text, "{title}: {}", text::line(&tilde(dir)));
                section(&mut text, &of(&[kind]));
            }
            None => {
                let _ = writeln!(text, "{title}: {absent}");
            }
        }
    }
    text
}

fn section(text: &mut String, locks: &[&LockStatus]) {
    let (held, free): (Vec<&LockStatus>, Vec<_>) = locks
        .iter()
        .copied()
        .partition(|lock| !lock.holders.is_empty());
    for lock in held {
        let _ = writeln!(text, "  {}", name(lock));
        for holder in &lock.holders {
            let _ = writeln!(text, "{}", fitting(&by(holder)));
        }
    }
    for kind in [LockKind::Llc, LockKind::Cpu, LockKind::Emulator] {
        let of_kind = free.iter().filter(|lock| lock.kind == kind);
        let numbers: CpuSet = of_kind.filter_map(|lock| lock.number).collect();
        // `CPU 3-5` is read as names, `QEMU slots 0-1` as a count.
        let plural = if kind == LockKind::Emulator && numbers.len() > 1 {
            "s"
        } else {
            ""
        };
        if !numbers.is_empty() {
            let _ = writeln!(
                text,
                "{}",
                fitting(&format!("  {}{plural} {numbers}: free", word(kind)))
            );
        }
    }
    for lock in free.iter().filter(|lock| lock.number.is_none()) {
        let _ = writeln!(text, "  {}: free", name(lock));
    }
    if locks.is_empty() {
        text.push_str("  no locks\n");
    }
}

fn name(lock: &LockStatus) -> String {
    match lock.number {
        Some(number) => format!("{} {number}", word(lock.kind)),
        None => text::line(&lock.name),
    }
}

fn word(kind: LockKind) -> &'static str {
    match kind {
        LockKind::Llc => "LLC",
        LockKind::Cpu => "CPU",
        LockKind::Emulator => "QEMU slot",
        LockKind::Cache => "kernel",
        LockKind::Run => "run",
    }
}

fn by(holder: &LockHolder) -> String {
    let mode = match holder.mode {
        LockMode::Exclusive => "exclusive",
        LockMode::Shared => "shared",
    };
    let command = match &holder.command {
        Some(words) => {
            let words: Vec<_> = words.iter().map(|word| quote(word)).collect();
            text::line(&words.join(" "))
        }
        None => "(exited; a child may still hold the lock)".to_owned(),
    };
    format!("    {mode:<9}  {:>7}  {command}", holder.pid)
}

/// The beginning of `line` that fits.
fn fitting(line: &str) -> String {
    let width = columns();
    if line.chars().count() <= width {
        return line.to_owned();
    }
    text::cut(line, width - 3)
}
