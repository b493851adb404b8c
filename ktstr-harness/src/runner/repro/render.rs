//! The trail of a failure as people read it, for 80 columns.

mod words;

use std::fmt::Write as _;

use self::words::{details, flags, nanoseconds, pids_in, wrapped};
use super::calls::{Call, Trail};
use super::plan::{Backtrace, Known};
use super::trace::Task;
use crate::probe::{ProbePlan, ProbeReport};

/// Lines of calls that are shown.
const SHOWN_LINES: usize = 40;

/// Calls that are kept for whoever wants more.
const KEPT_CALLS: usize = 2000;

/// Room for a function's name with its callbacks.
const FUNCTION_WIDTH: usize = 34;

/// Where the arguments of a call stand, below it.
const INDENT: &str = "                  ";

/// What is known of the end that a trail leads to.
#[derive(Debug)]
pub(super) struct End<'a> {
    pub(super) plan: &'a ProbePlan,
    pub(super) probes: &'a ProbeReport,
    pub(super) backtrace: Backtrace,
    /// The kernel's words.
    pub(super) message: &'a str,
    /// Whether the scheduler's program died: then it is the one to look at.
    pub(super) of_program: bool,
}

/// A rendered trail.
#[derive(Debug, Default)]
pub(super) struct Rendered {
    /// The end of it, to be shown.
    pub(super) shown: String,
    /// All of it.
    pub(super) whole: String,
}

/// Renders the calls about the task that the end was about.
pub(super) fn render(trail: &Trail, end: &End<'_>) -> Rendered {
    let mut view = View { trail, end };
    view.render()
}

/// Something about a task, with its name.
type Field = (&'static str, fn(&Task) -> String);

/// What the failing call is shown with, before and after.
const FIELDS: &[Field] = &[
    ("pid", |task| task.pid.to_string()),
    ("cpu", |task| task.cpu.to_string()),
    ("slice ns", |task| nanoseconds(task.slice)),
    ("dsq_vtime", |task| task.vtime.to_string()),
    ("flags", |task| flags(task.flags)),
];

/// Calls that repeat each other, from the first to the last of them.
struct Repeats<'a> {
    first: &'a Call,
    last: &'a Call,
    count: usize,
    may_grow: bool,
}

struct View<'a> {
    trail: &'a Trail,
    end: &'a End<'a>,
}

impl View<'_> {
    fn render(&mut self) -> Rendered {
        let Some(pid) = self.target() else {
            let why = "no call about the task that it was about was recorded\n".to_owned();
            let text = why + &self.left_out();
            return Rendered {
                shown: text.clone(),
                whole: text,
            };
        };
        let key = self.key_call(pid);
        let mut head = String::new();
        if let Some(call) = key {
            self.summary(&mut head, call);
        }
        let lines = self.lines(pid, key);
        let shown = |count: usize| {
            let mut text = head.clone();
            let hidden = lines.len().saturating_sub(count);
            self.trail_head(&mut text, pid, hidden);
            for line in &lines[hidden..] {
                text.push_str(line);
                text.push('\n');
            }
            text + &self.left_out()
        };
        Rendered {
            shown: shown(SHOWN_LINES),
            whole: shown(lines.len()),
        }
    }

    /// The task to tell about.
    fn target(&self) -> Option<i32> {
        let trail = self.trail;
        let open = trail.innermost(|call| call.task().is_some());
        let program = self
            .end
            .probes
            .scheduler_pid
            .filter(|_| self.end.of_program);
        let current = trail.exit.as_ref().map(|exit| exit.current);
        let pids = pids_in(self.end.message)
            .chain(open.and_then(Call::task).map(|task| task.pid))
            .chain(program)
            .chain(current);
        trail.first_known(pids)
    }

    /// The call that matters most: of the callback that failed, or else of the task's last callback.
    fn key_call(&self, pid: i32) -> Option<&Call> {
        let calls = || self.trail.calls.iter().rev();
        match self.end.backtrace.callback {
            Some((callback, below)) => {
                let caller = self.end.backtrace.functions.get(below);
                let is_caller = |call: &Call| {
                    let name = self.name(call);
                    let known = Known::find(name).is_some_and(|k| k.callbacks.contains(&callback));
                    call.task().is_some() && (known || caller.is_some_and(|caller| caller == name))
                };
                self.trail.innermost(is_caller)
            }
            None => calls()
                .find(|call| self.trail.is_about(call, pid) && !self.callbacks(call).is_empty()),
        }
    }

    fn name(&self, call: &Call) -> &str {
        let armed = self.end.probes.armed.get(call.function);
        armed.and_then(Option::as_deref).unwrap_or("?")
    }

    /// The loaded callbacks that the function of `call` calls.
    fn callbacks(&self, call: &Call) -> Vec<&'static str> {
        let loaded = &self.end.probes.callbacks;
        let known = Known::find(self.name(call)).map_or(&[][..], |known| known.callbacks);
        let is_loaded =
            |callback: &&&str| loaded.is_empty() || loaded.iter().any(|l| l == *callback);
        known.iter().filter(is_loaded).copied().collect()
    }

    /// Entry and exit of one call, field by field.
    fn summary(&self, text: &mut String, call: &Call) {
        let Some(before) = call.task() else { return };
        let (cpu, name) = (call.cpu, self.name(call));
        let task = format!("{}[{}]", before.name, before.pid);
        let _ = match self.end.backtrace.callback {
            Some((callback, _)) => writeln!(
                text,
                "ops.{callback} failed for {task}, called by {name} on CPU {cpu}:"
            ),
            None => writeln!(
                text,
                "last callback for {task}: ops.{}, called by {name} on CPU {cpu}:",
                self.callbacks(call).join(", ops.")
            ),
        };
        let after = call.after.as_ref().and_then(|after| after.task.as_ref());
        let _ = writeln!(text, "  {:<10} {:>22} {:>22}", "", "before", "after");
        for (name, value) in FIELDS {
            let before = value(before);
            let after = after.map_or_else(|| "?".to_owned(), value);
            let mark = if after == before || after == "?" {
                ""
            } else {
                "*"
            };
            let line = format!("  {name:<10} {before:>22} {after:>22} {mark}");
            let _ = writeln!(text, "{}", line.trim_end());
        }
        if after.is_none() {
            text.push_str("  (it had not returned when the recording ended)\n");
        }
    }

    fn trail_head(&self, text: &mut String, pid: i32, hidden: usize) {
        let tasks = self.trail.calls.iter().rev().filter_map(Call::task);
        let name = tasks
            .clone()
            .find(|task| task.pid == pid)
            .map_or("", |task| &task.name);
        let _ = write!(text, "calls about {name}[{pid}] up to the end, * changed");
        if hidden > 0 {
            let _ = write!(text, "\n({hidden} lines more in the failure dump)");
        }
        let _ = writeln!(
            text,
            "\n{:>9} {:>3}  {:<FUNCTION_WIDTH$} {:>6} {:>10} {:>10}",
            "ms to end", "cpu", "function > callback", "task's", "slice ns", "after"
        );
    }

    /// The newest calls about `pid`, oldest first, a line or two for each.
    fn lines(&self, pid: i32, key: Option<&Call>) -> Vec<String> {
        let is_key = |call: &Call| key.is_some_and(|key| std::ptr::eq(key, call));
        // The newest come first here.
        let mut runs: Vec<Repeats<'_>> = Vec::new();
        let mine = |call: &&Call| self.trail.is_about(call, pid) && self.matters(call);
        for call in self.trail.calls.iter().rev().filter(mine) {
            let may_grow = !is_key(call) && details(call, pid).is_empty();
            let before = runs.last_mut().filter(|run| may_grow && run.may_grow);
            if let Some(run) = before.filter(|run| run.last.repeats(call)) {
                run.first = call;
                run.count += 1;
                continue;
            }
            if runs.len() == KEPT_CALLS {
                break;
            }
            runs.push(Repeats {
                first: call,
                last: call,
                count: 1,
                may_grow,
            });
        }
        let lines = |run: &Repeats<'_>| self.run_lines(run, pid, is_key(run.last));
        runs.iter().rev().flat_map(lines).collect()
    }

    /// Whether a call is more than noise for this scheduler.
    fn matters(&self, call: &Call) -> bool {
        let name = self.name(call);
        let on_backtrace = self.end.backtrace.functions.iter().any(|f| f == name);
        let loaded = &self.end.probes.callbacks;
        on_backtrace || Known::find(name).is_none_or(|known| known.matters_to(loaded))
    }

    fn run_lines(&self, run: &Repeats<'_>, pid: i32, is_key: bool) -> Vec<String> {
        let call = run.first;
        let mut function = format!("{:1$}{2}", "", 2 * self.depth(call), self.name(call));
        let callbacks = self.callbacks(call);
        if !callbacks.is_empty() {
            let _ = write!(function, " > {}", callbacks.join(", "));
        }
        if run.count > 1 {
            let _ = write!(function, " x{}", run.count);
        }
        if function.len() > FUNCTION_WIDTH {
            // Names are ASCII: the kernel's, or the table's.
            function.truncate(FUNCTION_WIDTH - 1);
            function.push('~');
        }
        let mark = if is_key { '>' } else { ' ' };
        let before_end = self.trail.end_us.saturating_sub(call.at_us);
        let time = format!("-{}.{:03}", before_end / 1000, before_end % 1000);
        let mut line = format!(
            "{time:>9} {:>3} {mark}{function:<FUNCTION_WIDTH$}",
            call.cpu
        );
        let details = details(call, pid).join(" ");
        let Some(task) = call.task() else {
            let _ = write!(line, " {details}");
            return vec![line.trim_end().to_owned()];
        };
        let after = run
            .last
            .after
            .as_ref()
            .and_then(|after| after.task.as_ref());
        let cpu = match after {
            Some(after) if after.cpu != task.cpu => format!("{}>{}*", task.cpu, after.cpu),
            _ => task.cpu.to_string(),
        };
        let (slice, mark) = match after {
            Some(after) if after.slice == task.slice => (nanoseconds(after.slice), ""),
            Some(after) => (nanoseconds(after.slice), "*"),
            None => ("?".to_owned(), ""),
        };
        let before = nanoseconds(task.slice);
        let _ = write!(line, " {cpu:>6} {before:>10} {slice:>10}{mark}");
        let mut lines = vec![line];
        lines.extend(wrapped(&details, INDENT));
        lines
    }

    /// Recorded calls that `call` was made within, as far as there is room to show them.
    fn depth(&self, call: &Call) -> usize {
        let parents = std::iter::successors(call.parent, |at| self.trail.calls[*at].parent);
        parents.take(5).count()
    }

    /// What could not be recorded, where there is such.
    fn left_out(&self) -> String {
        let End {
            plan,
            probes,
            backtrace,
            ..
        } = self.end;
        let is_missed = |name: &String| {
            backtrace.functions.contains(name)
                || Known::find(name).is_some_and(|known| {
                    let loaded = |callback: &&str| probes.callbacks.iter().any(|l| l == callback);
                    known.callbacks.iter().any(loaded)
                })
        };
        let pairs = plan.functions.iter().zip(&probes.armed);
        let missed: Vec<_> = pairs
            .filter(|(function, armed)| armed.is_none() && function.names.iter().any(is_missed))
            .filter_map(|(function, _)| function.names.last().map(String::as_str))
            .collect();
        let mut text = String::new();
        if !missed.is_empty() {
            let line = format!(
                "not recorded, as this kernel lets nobody probe them: {}",
                missed.join(" ")
            );
            for line in wrapped(&line, "") {
                let _ = writeln!(text, "{line}");
            }
        }
        if !plan.only.is_empty() {
            let names = plan.only.join(", ");
            let _ = writeln!(text, "only calls about tasks called {names} were recorded");
        }
        if probes.late {
            text.push_str("there was no time to set up all probes\n");
        }
        if probes.cut {
            text.push_str("the recording was too long to be read to its end\n");
        }
        text
    }
}
