//! A guest that is dead is ended when it dies, and one that only says so is not.

use std::collections::BTreeSet;
use std::process;

use ktstr_vmm::{Diagnostic, ExitReason, Machine, MachineExit, MachineSpec};

use super::processes::children;
use super::{Rig, SMALL, Script, backend_config};

/// Runs `script` in a small machine whose kernel gets these `arguments` last.
fn run(script: &mut Script, arguments: &[&str]) -> MachineExit {
    let rig = Rig::new();
    let spec = MachineSpec {
        cmdline: arguments.iter().map(ToString::to_string).collect(),
        ..rig.spec(SMALL)
    };
    let exit = Machine::new(spec, backend_config())
        .unwrap()
        .run(script)
        .unwrap();
    assert_eq!(children(process::id()), BTreeSet::new());
    exit
}

/// As with a kernel that takes no command line but its own: it does not know that it shall reset the machine.
///
/// It waits by a loop that each CPU calibrates by itself. On a busy host the second CPU counts too little, by a factor of
/// up to 600, and waits that much shorter: so this is the longest time that the kernel takes.
#[test]
fn a_panic_that_resets_nothing_is_seen_when_it_happens() {
    for arguments in [["panic=0"], ["panic=2000000"]] {
        let exit = run(&mut Script::one(b'p'), &arguments);
        let console = String::from_utf8_lossy(&exit.console);
        match &exit.reason {
            ExitReason::KernelPanic(panic) => {
                assert_eq!(panic.message, "sysrq triggered crash");
                assert!(
                    !panic.reset && panic.init.is_none(),
                    "{panic:?}, {:?}:\n{console}",
                    exit.timings
                );
            }
            other => panic!("{other}:\n{console}"),
        }
        // Its report was waited for.
        let last = ["---[ end Kernel panic", "Rebooting in 2000000 seconds"];
        assert!(
            last.iter().any(|words| console.contains(words)),
            "{console}"
        );
        assert!(about_words(&exit).is_empty());
    }
}

#[test]
fn a_guest_that_halts_is_seen_when_it_does() {
    let exit = run(&mut Script::one(b'h'), &[]);
    let console = String::from_utf8_lossy(&exit.console);
    assert_eq!(exit.reason, ExitReason::Halted, "{console}");
}

/// What is told of words of panics that were none.
fn about_words(exit: &MachineExit) -> Vec<String> {
    let is_about_words = |it: &&Diagnostic| matches!(it, Diagnostic::PanicWords(_));
    let told = exit.diagnostics.iter().filter(is_about_words);
    told.map(ToString::to_string).collect()
}

/// A program writes what a panicking kernel would, all of it, and then sleeps or works for longer than a dead guest may.
#[test]
fn a_guest_that_writes_the_words_of_a_panic_runs_on() {
    // The console shows a line when it ends.
    let words = "/dev/kmsg\n<0>Kernel panic - not syncing: says a program\n";
    let end = "/dev/kmsg\n<0>---[ end Kernel panic - not syncing: says a program ]---\n";
    let seconds = b"5".to_vec();
    let mut script = Script::new([
        (b'w', words.as_bytes().to_vec()),
        (b'w', end.as_bytes().to_vec()),
        // It sleeps, then it works.
        (b'S', seconds.clone()),
        (b'w', words.as_bytes().to_vec()),
        (b'B', seconds),
        (b'e', b"still here".to_vec()),
    ]);
    let exit = run(&mut script, &[]);
    let console = String::from_utf8_lossy(&exit.console);
    assert_eq!(exit.reason, ExitReason::Stopped, "{console}");
    assert_eq!(script.answers.last().unwrap().payload, b"still here");
    let told = about_words(&exit);
    assert!(told.len() >= 2, "{told:?}");
    assert!(told[0].ends_with("says a program"), "{told:?}");
    // Nor is its reset later taken for a panic.
    let mut script = Script::new([
        (b'w', words.as_bytes().to_vec()),
        (b'S', b"5".to_vec()),
        (b'b', Vec::new()),
    ]);
    let exit = run(&mut script, &[]);
    let console = String::from_utf8_lossy(&exit.console);
    assert_eq!(
        exit.reason,
        ExitReason::Reset,
        "{console} {:?} {:?}",
        exit.diagnostics,
        exit.timings
    );
}
