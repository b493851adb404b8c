//! Documents as text, of any width, with and without colours.

use ktstr_core::record::{RunDir, RunStore, SchedulerExit, Sidecar, Timings};
use ktstr_core::{KernelLabel, Preset, Verdict};
use ktstr_driver::stats::{self, Analysis};
use textwrap::core::display_width;

use super::*;

/// What does something to a terminal, or looks like a line of ktstr's own.
const HOSTILE: &str = "a\u{1b}[31m\u{7}\r\n\u{202e}b";

/// A session with something of every kind.
fn write(dir: &std::path::Path) {
    let run = dir.join("6.12.1-abc");
    let put = |sidecar: &Sidecar| {
        RunDir::new(&run, "1767225600000000000-7")
            .write(sidecar, None::<&()>)
            .unwrap();
    };
    for (n, preset) in Preset::ALL.iter().enumerate() {
        let verdict = match n {
            3 => Verdict::fail("max_gap_ms", format!("900 > 500 in cgroup {HOSTILE}")),
            5 => Verdict::inconclusive("ratio", "0 / 0"),
            8 => Verdict::skip(HOSTILE),
            _ => Verdict::pass(),
        };
        let mut sidecar = Sidecar {
            variant: preset.name.to_owned(),
            topology: Some(preset.topology),
            kernel_label: Some(KernelLabel::from_version("6.12.1")),
            timings: Timings {
                boot_s: Some(1.0),
                scenario_s: Some(3.0),
                ..Timings::default()
            },
            ..Sidecar::new(
                "steady",
                &format!("gauntlet/steady/{}", preset.name),
                verdict,
            )
        };
        let gap = if n == 3 { 900.0 } else { 100.0 + n as f64 };
        sidecar.metrics.insert("max_gap_ms".to_owned(), gap);
        put(&sidecar);
    }
    put(&Sidecar {
        scheduler: HOSTILE.to_owned(),
        scheduler_restarts: 3,
        kernel_warnings: vec![ktstr_core::KernelWarning {
            line: HOSTILE.to_owned(),
            allowed: false,
            at_boot: true,
        }],
        scheduler_exit: Some(SchedulerExit {
            kind: HOSTILE.to_owned(),
            reason: HOSTILE.to_owned(),
            message: String::new(),
        }),
        ..Sidecar::new(
            HOSTILE,
            &format!("ktstr/{HOSTILE}"),
            Verdict::fail(HOSTILE, HOSTILE),
        )
    });
    for (attempt, verdict) in [(1, Verdict::fail("x", HOSTILE)), (2, Verdict::pass())] {
        put(&Sidecar {
            attempt,
            ..Sidecar::new("flaky", "ktstr/flaky", verdict)
        });
    }
    std::fs::write(run.join("bad\u{1b}[31m.ktstr.json"), "{").unwrap();
}

fn texts(dir: &std::path::Path, style: &Style) -> Vec<String> {
    let store = RunStore::new(dir);
    vec![
        text(&stats::analyze(&store).unwrap(), style),
        runs(&stats::list_runs(&store).unwrap(), style),
        values(&stats::list_values(&store).unwrap(), style),
        metrics(&stats::list_metrics(), style),
        hosts(&stats::host_of_run(&store, "6.12.1-abc").unwrap(), style),
        explanation(&stats::explain(&store, "6.12.1-abc").unwrap(), style),
    ]
}

/// `text` without the colours that this crate makes.
fn without_colors(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        plain.push_str(&rest[..at]);
        let end = rest[at..].find('m').unwrap();
        rest = &rest[at + end + 1..];
    }
    plain + rest
}

#[test]
fn nothing_of_a_record_reaches_the_terminal_raw_at_any_width() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    for width in [20, 40, 60, 80] {
        for unicode in [false, true] {
            let style = Style {
                unicode,
                ..Style::new("x", Some(width), None)
            };
            let plain = texts(dir.path(), &style);
            for text in &plain {
                let raw = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
                assert!(!text.contains(raw), "{text:?}");
                assert!(unicode || text.is_ascii(), "{text}");
                for line in text.lines().filter(|_| width >= 60) {
                    // Only a path may be longer: it is not broken.
                    let is_path = line.contains(&*dir.path().to_string_lossy());
                    assert!(display_width(line) <= width || is_path, "{width}: {line}");
                }
            }
            let colored = texts(
                dir.path(),
                &Style {
                    colors: true,
                    ..style
                },
            );
            let stripped: Vec<String> = colored.iter().map(|it| without_colors(it)).collect();
            assert_eq!(stripped, plain);
            assert!(colored[0].contains("\u{1b}["));
        }
    }
}

#[test]
fn every_section_is_there_where_there_is_something() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let store = RunStore::new(dir.path());
    let analysis: Analysis = stats::analyze(&store).unwrap();
    let text = text(&analysis, &Style::default());
    let sections = [
        "Run of 2026-01-01T00:00:00Z\n  6.12.1-abc: 27 cases\n  23 passed, 2 failed, 1 inconclusive, 1 skipped\n",
        "\nVerdicts\n  test    pass  fail  incl  skip  by size of machine\n",
        "  steady    22     1     1     1  ",
        "\nFailed and inconclusive\n",
        "  fail  gauntlet/steady/15cpu-5llc-nosmt\n    max_gap_ms: 900 > 500 in cgroup a? ?b\n",
        "\nExits of schedulers\n",
        "\nKernel warnings\n",
        "\nFlaky: not every attempt ended alike\n  ktstr/flaky: 1 of 2 attempts did not pass, counts as pass\n",
        "\nRestarts of schedulers\n",
        "\nOutliers among the gauntlet variants of a test\n",
        "    15cpu-5llc-nosmt: 900 ms (",
        "\nSlowest tests, by all of their cases\n",
        "\nSkipped\n",
        "\nNot read\n",
    ];
    let mut rest = text.as_str();
    for section in sections {
        let at = rest
            .find(section)
            .unwrap_or_else(|| panic!("{section}: {text}"));
        rest = &rest[at..];
    }
}
