//! What a trace of the scheduler showed, for a person to read.

use std::fmt::Write as _;

use ktstr_core::record::{Traced, Wasted};
use ktstr_core::text;

/// Tasks that are shown.
const TASKS: usize = 4;

/// The longest time that a CPU was wasted, and the tasks that took longest to run.
pub(super) fn render(traced: &Traced) -> String {
    let mut text = String::new();
    if let Some(wasted) = &traced.wasted {
        push_wasted(&mut text, wasted);
    }
    if let Some(all) = &traced.wake_to_run {
        let _ = writeln!(
            text,
            "wake to run: {} times, median {:.3} ms, 99% below {:.3} ms; the longest",
            all.count, all.p50_ms, all.p99_ms
        );
        for task in all.tasks.iter().take(TASKS) {
            let _ = writeln!(
                text,
                "  {:>9.3} ms  on CPU {:<3} at {:.3} s  {} ({})",
                task.max_ms,
                task.cpu,
                task.at_s,
                text::line(&task.task),
                task.pid
            );
        }
    }
    let _ = write!(text, "{} events in {:.1} s", traced.events, traced.wall_s);
    match traced.lost {
        0 => text.push_str(", none lost\n"),
        lost => {
            let _ = writeln!(
                text,
                ", {lost} LOST: buffers of {} KiB a CPU were full",
                traced.buffer_kib
            );
        }
    }
    text
}

fn push_wasted(text: &mut String, wasted: &Wasted) {
    let _ = writeln!(
        text,
        "CPU {} was idle for {:.3} ms from {:.3} s on while tasks waited that may use it",
        wasted.cpu, wasted.ms, wasted.at_s
    );
}

#[cfg(test)]
mod tests {
    use ktstr_core::record::{TaskWakes, WakeToRun};

    use super::*;

    #[test]
    fn moments_tasks_and_losses() {
        let worst = TaskWakes {
            pid: 102,
            task: "right\x1b[31m".to_owned(),
            count: 5,
            mean_ms: 1.0,
            max_ms: 25.5,
            at_s: 1.25,
            cpu: 2,
        };
        let traced = Traced {
            events: 1000,
            lost: 3,
            wall_s: 2.0,
            buffer_kib: 512,
            wasted: Some(Wasted {
                cpu: 3,
                ms: 80.0,
                at_s: 0.5,
                pid: 101,
                task: "left".to_owned(),
                waited_ms: 7.0,
                moments: vec!["    -1.500 ms  CPU 3: left (101) sleeps; idle".to_owned()],
            }),
            wake_to_run: Some(WakeToRun {
                count: 5,
                p50_ms: 1.0,
                p99_ms: 2.0,
                tasks: vec![worst],
                cpus: Vec::new(),
            }),
            ..Traced::default()
        };
        let text = render(&traced);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert_eq!(
            lines[0],
            "CPU 3 was idle for 80.000 ms from 0.500 s on while tasks waited that may use it"
        );
        assert!(
            lines[2].starts_with("     25.500 ms  on CPU 2   at 1.250 s  right"),
            "{text}"
        );
        assert_eq!(
            lines[3],
            "1000 events in 2.0 s, 3 LOST: buffers of 512 KiB a CPU were full"
        );
        assert!(lines.iter().all(|line| line.len() <= 80));
        assert!(render(&Traced::default()).ends_with("none lost\n"));
    }
}
