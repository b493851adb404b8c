//! The failures of a session, and what becomes of them in a replay.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use ktstr_core::Outcome;
use ktstr_core::text::line;
use ktstr_core::timestamp::rfc3339;
use ktstr_driver::SavedSessionError;
use ktstr_driver::replay::{
    GoneKernel, Replay, ReplayCase, ReplayKernel, ReplayPlan, ReplaySession,
};

use crate::Style;
use crate::text::{command, counted, fit, wrap};

/// How many cases are shown.
const MOST: usize = 10;

/// What `replay` found, with its session's `kernels`; `now` is the time. `command` is the command that ran the session,
/// as far as it is known.
pub fn found(
    replay: &Replay,
    kernels: &[ReplayKernel],
    command: Option<&str>,
    now: SystemTime,
    style: &Style,
) -> String {
    let program = &style.program;
    let mut text = String::new();
    for unreadable in &replay.unreadable {
        let _ = writeln!(text, "warning: {}", line(unreadable));
    }
    let Some(session) = &replay.session else {
        let dir = style.path(&replay.dir);
        let none = format!(
            "{program}: nothing to replay: no session left records in {dir}; run `{program} test` first"
        );
        return text + &wrap(&none, style.width, "\n") + "\n";
    };
    let when = when(session.begun, now);
    let tally = &session.tally;
    if replay.failures.is_empty() {
        let why = match replay.left_out {
            0 => "has no failure".to_owned(),
            1 => "has one failure, whose name is another".to_owned(),
            count => format!("has {count} failures, whose names are others"),
        };
        let cases = counted(tally.cases(), "test");
        let none =
            format!("{program}: nothing to replay: the session of {when} {why} ({cases}: {tally})");
        return text + &wrap(&none, style.width, "\n") + "\n";
    }
    let cases = counted(tally.cases(), "test");
    let _ = writeln!(text, "{program}: session of {when}\n  {cases}: {tally}");
    push_cases(&mut text, replay, style);
    if let Some(command) = command {
        let _ = writeln!(text, "  it ran as: {}", line(command));
    }
    push_options(&mut text, session, style);
    for kernel in kernels {
        push_kernel(&mut text, kernel, style);
    }
    text
}

/// How to run what a filter selects: below [`found`], where it is not run.
pub fn how_to_run(style: &Style) -> String {
    let program = &style.program;
    format!(
        "{program}: `{program} replay --exec` runs them; the filter is for\n  {program} test -- --run-ignored all -E FILTER\n"
    )
}

/// What a replay leaves out, and how many cases it runs.
pub fn planned(plan: &ReplayPlan, style: &Style) -> String {
    let program = &style.program;
    let mut text = String::new();
    for case in plan.missing.iter().take(MOST) {
        let gone = line(&case.to_string());
        let _ = writeln!(text, "warning: {gone}: this test does not exist any more");
    }
    push_more(&mut text, plan.missing.len());
    for (case, label) in plan.without_kernel.iter().take(MOST) {
        let name = line(&case.case);
        let _ = writeln!(text, "warning: {name}: not run, as {label} is gone");
    }
    push_more(&mut text, plan.without_kernel.len());
    let cases = counted(plan.cases.len(), "test");
    let renamed = if plan.is_renamed {
        ", under other names: those of the kernels that there are"
    } else {
        ""
    };
    let _ = writeln!(text, "{program}: replaying {cases}{renamed}");
    text
}

/// What a session had that its replay has not: `variables` of its environment that are set otherwise now, and arguments of
/// nextest that are not taken from an archive.
pub fn otherwise(
    variables: &[(String, String)],
    are_set: bool,
    refused: &[String],
    style: &Style,
) -> String {
    let mut text = String::new();
    for (name, value) in variables {
        let how = if are_set {
            "where it is not set now, it is set"
        } else {
            "it is not set"
        };
        let said = format!("note: that session had {name}={value}; {how}");
        let _ = writeln!(text, "{}", line(&said));
    }
    if !refused.is_empty() {
        let said = format!(
            "warning: not taken from the archive: {}; give after -- what you trust",
            command(refused)
        );
        let _ = writeln!(text, "{}", wrap(&line(&said), style.width, "\n  "));
    }
    text
}

/// `2026-11-28T04:00:37Z (5m ago)`.
fn when(begun: SystemTime, now: SystemTime) -> String {
    let ago = now.duration_since(begun).unwrap_or_default();
    let rounded = match ago.as_secs() {
        seconds @ 0..60 => Duration::from_secs(seconds),
        seconds @ 60..3600 => Duration::from_secs(seconds / 60 * 60),
        seconds => Duration::from_secs(seconds / 3600 * 3600),
    };
    let ago = humantime::format_duration(rounded);
    format!("{} ({ago} ago)", rfc3339(begun))
}

fn push_cases(text: &mut String, replay: &Replay, style: &Style) {
    for case in replay.failures.iter().take(MOST) {
        let _ = writeln!(text, "{}", fit(&self::case(case), style.width));
    }
    push_more(text, replay.failures.len());
    if replay.left_out > 0 {
        let _ = writeln!(
            text,
            "  {} of other names left out",
            counted(replay.left_out, "failure")
        );
    }
}

fn case(case: &ReplayCase) -> String {
    let how = match case.outcome {
        Outcome::Inconclusive => "inconclusive",
        _ => "failed      ",
    };
    line_of(&format!("{how}  {}  {}", case.case, case.why))
}

/// One line below a heading.
fn line_of(text: &str) -> String {
    format!("  {}", line(text))
}

fn push_more(text: &mut String, count: usize) {
    if count > MOST {
        let _ = writeln!(text, "  and {} more", count - MOST);
    }
}

fn push_options(text: &mut String, session: &ReplaySession, style: &Style) {
    let said = match &session.options {
        Ok(_) => return,
        Err(SavedSessionError::Missing { .. }) => "note: that session left no options, as tests without `cargo ktstr` \
            do: kernels are told by the records; release mode, profiles, backend, switches and nextest's arguments are \
            not known, and taken as given now"
            .to_owned(),
        Err(error) => format!("warning: {error}; its options are taken as given now"),
    };
    let _ = writeln!(text, "{}", wrap(&line(&said), style.width, "\n  "));
}

fn push_kernel(text: &mut String, kernel: &ReplayKernel, style: &Style) {
    let said = match &kernel.kernel {
        Err(gone) => format!("warning: {}", remedied(gone, style)),
        Ok(now) if kernel.is_changed => format!(
            "warning: {} is another kernel than then: {} has changed",
            kernel.label,
            style.path(&now.image)
        ),
        Ok(now) if now.dirty => format!(
            "note: {} is taken as it was built, {}; --kernel builds its tree again",
            kernel.label,
            style.path(&now.image)
        ),
        Ok(_) => return,
    };
    let _ = writeln!(text, "{}", wrap(&line(&said), style.width, "\n  "));
}

/// That a kernel is gone, with what brings it back.
fn remedied(gone: &GoneKernel, style: &Style) -> String {
    let program = &style.program;
    let back = match &gone.identifier {
        Some(identifier) => {
            let base = gone
                .base_config
                .map(|base| format!(" --base-config {base}"));
            let kernel = crate::text::quote(identifier).into_owned();
            let base = base.unwrap_or_default();
            format!("`{program} kernel build --kernel {kernel}{base}` builds it again, or ")
        }
        None => String::new(),
    };
    format!("{gone}; {back}--kernel of `{program} replay --exec` gives another")
}
