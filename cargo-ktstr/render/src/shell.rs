//! What is said beside a shell: how to leave it, and how it ended.

use std::fmt::Write;

use ktstr_core::{Topology, text};
use ktstr_driver::TestMachine;
use ktstr_driver::shell::{ShellEnd, ShellExit, ShellOutcome};

/// Lines of the console that show how a machine ended.
const LAST_LINES: usize = 12;

/// How a kernel says that it goes no further; the end of its dump repeats it.
const PANIC: &str = "] Kernel panic - not syncing";

/// Lines of a scheduler's log.
const LOG_LINES: usize = 20;

/// The longest line of either, in characters.
const LONGEST: usize = 200;

/// The line before a shell's first prompt: where one is, and how to leave.
pub fn greeting(release: &str, topology: Topology, program: &str) -> String {
    let release = text::line(release);
    format!("{program}: Linux {release} on {topology}; Ctrl-] three times ends the machine\n")
}

/// Whose machine a shell has, where several test binaries have a test called `test`: that of the first of `found`. Nothing
/// elsewhere.
pub fn other_binaries(test: &str, found: &[TestMachine], program: &str) -> String {
    match found {
        [first, others @ ..] if others.iter().any(|it| it.binary != first.binary) => {
            let binary = text::line(&first.binary.display().to_string());
            format!(
                "{program}: several test binaries have `{test}`; this is that of {binary}, -- -p PACKAGE names another\n"
            )
        }
        _ => String::new(),
    }
}

/// The lines that tell how to debug a machine's kernel.
pub fn debugger(command: &str, program: &str) -> String {
    format!("{program}: to debug its kernel, type elsewhere:\n  {command}\n")
}

/// The end of what the program of a scheduler wrote, each line with this end.
pub fn scheduler_log(log: &str, end: &str) -> String {
    let mut told = String::new();
    for line in last_lines(log, LOG_LINES) {
        let _ = write!(told, "scheduler: {line}{end}");
    }
    told
}

/// How a shell ended, in an error's line below the last lines of the console; `None` where it ended by itself.
pub fn end(outcome: &ShellOutcome, program: &str) -> Option<String> {
    let mut told = String::new();
    let _ = match &outcome.end {
        ShellEnd::Exited(ShellExit::Exited(_) | ShellExit::Killed { .. }) => return None,
        ShellEnd::Exited(ShellExit::NotStarted(why)) => {
            writeln!(
                told,
                "error: the shell was not started: {}",
                text::line(why)
            )
        }
        ShellEnd::Escaped => writeln!(told, "{program}: the machine was ended"),
        ShellEnd::HungUp => writeln!(told, "error: the terminal is gone; the machine was ended"),
        ShellEnd::StreamFailed { stream, source } => writeln!(told, "error: {stream}: {source}"),
        _ => {
            for line in last_words(&outcome.console) {
                let _ = writeln!(told, "  {line}");
            }
            let why = outcome.machine_end().unwrap_or_default();
            writeln!(told, "error: {}", text::line(&why))
        }
    };
    Some(told)
}

/// The lines of a console that tell most of its end: those around the kernel's panic, else the last.
fn last_words(console: &str) -> Vec<String> {
    let from = console.rfind(PANIC).map_or(0, |at| {
        let before = console[..at].rmatch_indices('\n').nth(2);
        before.map_or(0, |(newline, _)| newline + 1)
    });
    if from == 0 && !console.contains(PANIC) {
        return last_lines(console, LAST_LINES);
    }
    let words = last_lines(&console[from..], usize::MAX);
    words.into_iter().take(LAST_LINES).collect()
}

/// The last lines that are not empty, without control characters.
fn last_lines(log: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = log
        .lines()
        .rev()
        .map(|line| text::cut(text::line(line).trim_end(), LONGEST))
        .filter(|line| !line.trim().is_empty())
        .take(most)
        .collect();
    lines.reverse();
    lines
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ktstr_driver::shell::MachineEnd;
    use ktstr_driver::shell::RunTimes;

    use super::*;

    fn outcome(end: ShellEnd) -> ShellOutcome {
        ShellOutcome {
            end,
            console: "boot\n\n\u{1b}[31mlast words\n".to_owned(),
            kernel_release: None,
            times: RunTimes {
                waited: Duration::ZERO,
                ready: Some(Duration::from_secs(1)),
                reported: None,
                whole: Duration::from_secs(2),
            },
        }
    }

    #[test]
    fn only_what_the_shell_cannot_tell_is_told() {
        let told = |end_of_it| end(&outcome(end_of_it), "x");
        assert_eq!(told(ShellEnd::Exited(ShellExit::Exited(7))), None);
        let killed = ShellExit::Killed { signal: 9 };
        assert_eq!(told(ShellEnd::Exited(killed)), None);
        let escaped = told(ShellEnd::Escaped);
        assert_eq!(escaped.as_deref(), Some("x: the machine was ended\n"));
        let panicked = told(ShellEnd::Machine(MachineEnd::KernelPanic {
            message: "sysrq triggered crash".to_owned(),
            init: None,
        }));
        let expected =
            "  boot\n  last words\nerror: the guest's kernel panicked: sysrq triggered crash\n";
        assert_eq!(panicked.as_deref(), Some(expected));
        let gone = told(ShellEnd::Machine(MachineEnd::Gone)).unwrap();
        assert!(gone.ends_with("before the shell had ended\n"), "{gone}");
    }

    #[test]
    fn a_panic_is_shown_from_its_beginning() {
        let before = "[1] a\n[1] b\n[1] c\n";
        let dump = "[2] RAX: 0\n".repeat(40);
        let end = "[2] ---[ end Kernel panic - not syncing: x ]---\n";
        let shown = last_words(&format!(
            "{before}[2] Kernel panic - not syncing: x\n{dump}{end}"
        ));
        assert_eq!(
            shown[..3],
            ["[1] b", "[1] c", "[2] Kernel panic - not syncing: x"]
        );
        assert_eq!(shown.len(), LAST_LINES);
        assert_eq!(last_words(before), ["[1] a", "[1] b", "[1] c"]);
        assert_eq!(
            last_words("[1] Kernel panic - not syncing: y"),
            ["[1] Kernel panic - not syncing: y"]
        );
    }

    #[test]
    fn what_is_said_fits_a_terminal() {
        let line = greeting("6.12.117", Topology::constant(1, 2, 4, 1), "cargo ktstr");
        assert!(line.len() <= 80, "{}", line.len());
        assert_eq!(
            scheduler_log("a\n\nb\n", "\r\n"),
            "scheduler: a\r\nscheduler: b\r\n"
        );
    }
}
