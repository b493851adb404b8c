//! How long a binary with 100 tests x 25 presets takes to list them, as nextest asks for it.

use std::process::{Command, Stdio};

use ktstr_benches::{figure, median, ms, timed};

fn main() {
    let hundred = env!("CARGO_BIN_EXE_hundred");
    let list = |extra: &[&str]| {
        let mut command = Command::new(hundred);
        command
            .args(["--list", "--format", "terse"])
            .args(extra)
            .stdin(Stdio::null());
        command.output().expect("the binary runs")
    };
    let ignored = list(&["--ignored"]);
    let lines = String::from_utf8_lossy(&ignored.stdout).lines().count();
    assert_eq!(
        lines,
        100 * 25,
        "{}",
        String::from_utf8_lossy(&ignored.stderr)
    );
    // Nextest lists twice: all tests, then the ignored ones.
    let both = median(21, || timed(|| drop((list(&[]), list(&["--ignored"])))));
    figure(
        "list 100 tests x 25 presets (both listings)",
        &ms(both),
        "50 ms",
    );
}
