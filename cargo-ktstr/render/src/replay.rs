//! The failures of a session, and what becomes of them in a replay.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use ktstr_core::Outcome;
use ktstr_core::host::Host;
use ktstr_core::text::{cut, line};
use ktstr_core::timestamp::rfc3339;
use ktstr_driver::SavedSessionError;
use ktstr_driver::replay::{
    GoneKernel, Replay, ReplayCase, ReplayKernel, ReplayPlan, ReplaySession,
};
use ktstr_kernel::BaseConfig;

use crate::Style;
use crate::text::{command, counted, fit, wrap};

/// How many cases are shown.
const MOST: usize = 10;

/// What goes before the further lines of a text.
const INDENT: &str = "  ";

/// Most characters that are shown of a command: a filter in it may name hundreds of cases.
const LONGEST: usize = 400;

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
        let said = format!("warning: {unreadable}");
        let _ = writeln!(text, "{}", wrapped(&said, style));
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
        let command = cut(&line(command), LONGEST);
        let _ = writeln!(text, "  it ran as: {command}");
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
        "{program}: to run them\n  {program} replay --exec\n  \
        {program} test -- --run-ignored all -E \"$({program} replay)\"\n"
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

/// What the session had that its replay in the environment of `host` has not: variables that are set otherwise there, and
/// arguments of nextest that are not taken from an archive.
pub fn differences(replay: &Replay, host: &Host, style: &Style) -> String {
    let refused = replay.refused_args();
    let refused: Vec<String> = refused
        .iter()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    otherwise(
        &replay.other_variables(host),
        replay.is_own(),
        &refused,
        style,
    )
}

fn otherwise(
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
        let _ = writeln!(text, "{}", wrapped(&said, style));
    }
    text
}

/// One line, or several of which all but the first are indented.
fn wrapped(text: &str, style: &Style) -> String {
    wrap(
        &line(text),
        style.width - INDENT.len(),
        &format!("\n{INDENT}"),
    )
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
    let _ = writeln!(text, "{}", wrapped(&said, style));
}

fn push_kernel(text: &mut String, kernel: &ReplayKernel, style: &Style) {
    let said = match &kernel.kernel {
        Err(gone) => return push_gone(text, gone, style),
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
    let _ = writeln!(text, "{}", wrapped(&said, style));
}

/// That a kernel is gone, and what brings it back.
fn push_gone(text: &mut String, gone: &GoneKernel, style: &Style) {
    let program = &style.program;
    let said = format!("warning: {gone}");
    let _ = writeln!(text, "{}", wrapped(&said, style));
    if let Some(identifier) = &gone.identifier {
        let base = gone.base_config.map(BaseConfig::name);
        let base = base.iter().flat_map(|base| ["--base-config", base]);
        let words = command(["--kernel", identifier].into_iter().chain(base));
        let _ = writeln!(text, "  to build it again: {program} kernel build {words}");
    }
    let _ = writeln!(
        text,
        "  to replay on another: {program} replay --exec --kernel ID"
    );
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use ktstr_core::record::{RunDir, Sidecar};
    use ktstr_core::{KernelLabel, Verdict};
    use ktstr_kernel::ResolvedKernel;

    use super::*;

    /// When the sessions here began, and a moment 125 seconds later.
    const EPOCH: &str = "1795824037000000000-4711";

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_824_037 + 125)
    }

    fn write(dir: &Path, verdicts: &[(&str, Verdict)]) {
        let run = RunDir::new(dir.join("k-c"), EPOCH);
        for (test, verdict) in verdicts {
            let sidecar = Sidecar::new(test, &format!("ktstr/{test}"), verdict.clone());
            run.write(&sidecar, None::<&()>).unwrap();
        }
    }

    fn shown(dir: &Path, name_contains: Option<&str>, kernels: &[ReplayKernel]) -> String {
        let replay = Replay::of_dir(dir, name_contains).unwrap();
        let text = found(&replay, kernels, Some("x test -- -p p"), now(), &style());
        let shown = text.lines().filter(|line| !line.contains("it ran as"));
        let wide = shown.filter(|line| line.chars().count() > 80 && line.contains(' '));
        assert_eq!(wide.count(), 0, "{text}");
        text
    }

    fn style() -> Style {
        Style::new("x", None, None)
    }

    #[test]
    fn failures_are_shown_with_their_session() {
        let dir = tempfile::tempdir().unwrap();
        let none = shown(&dir.path().join("none"), None, &[]);
        assert!(
            none.starts_with("x: nothing to replay: no session left"),
            "{none}"
        );
        write(
            dir.path(),
            &[
                ("good", Verdict::pass()),
                ("bad", Verdict::fail("gap", "w".repeat(100))),
                ("odd", Verdict::inconclusive("ratio", "0/0\u{1b}[31m")),
            ],
        );
        let text = shown(dir.path(), None, &[]);
        let expected = format!(
            "x: session of 2026-11-28T00:00:37Z (2m ago)
  3 tests: 1 passed, 1 failed, 1 inconclusive
  failed        ktstr/bad  gap: {}...
  inconclusive  ktstr/odd  ratio: 0/0
  it ran as: x test -- -p p
note: that session left no options",
            "w".repeat(45)
        );
        assert!(text.starts_with(&expected), "{text}");
        let narrow = shown(dir.path(), Some("bad"), &[]);
        assert!(
            narrow.contains("\n  1 failure of other names left out\n"),
            "{narrow}"
        );
        let other = shown(dir.path(), Some("none"), &[]).replace('\n', " ");
        assert!(
            other.contains("(2m ago) has 2 failures, whose names are others (3 tests: "),
            "{other}"
        );
        fs::write(dir.path().join("k-c/a-1.ktstr.json"), "{").unwrap();
        let broken = shown(dir.path(), None, &[]);
        assert!(broken.starts_with("warning: sidecar "), "{broken}");
    }

    #[test]
    fn kernels_that_are_gone_are_told_with_what_brings_them_back() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[("bad", Verdict::fail("x", "y"))]);
        let label = KernelLabel::from_version("6.14.2");
        let there = ResolvedKernel {
            image: "/i".into(),
            vmlinux: None,
            config: None,
            label: label.clone(),
            version: "6.14.2".to_owned(),
            cache_key: None,
            dirty: true,
        };
        let kernel = |kernel, is_changed| ReplayKernel {
            label: label.clone(),
            kernel,
            is_changed,
        };
        let gone = GoneKernel {
            label: label.clone(),
            why: "no cached kernel".to_owned(),
            identifier: Some("6.14.2".to_owned()),
            base_config: Some(BaseConfig::Lean),
        };
        let kernels = [
            kernel(Err(gone), false),
            kernel(Ok(there.clone()), true),
            kernel(Ok(there), false),
        ];
        let text = shown(dir.path(), None, &kernels).replace("\n  ", " ");
        for line in [
            "warning: kernel kernel_6_14_2 is gone: no cached kernel to build it again: x kernel build --kernel 6.14.2 \
             --base-config lean to replay on another: x replay --exec --kernel ID\n",
            "warning: kernel_6_14_2 is another kernel than then: /i has changed\n",
            "note: kernel_6_14_2 is taken as it was built, /i; --kernel builds its tree again\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn what_a_replay_has_not_is_told() {
        let variables = [("KTSTR_SCHEDULER".to_owned(), "/s\nx".to_owned())];
        let text = otherwise(
            &variables,
            false,
            &["--config".to_owned(), "a b".to_owned()],
            &style(),
        );
        let expected = "note: that session had KTSTR_SCHEDULER=/s x; it is not set
warning: not taken from the archive: --config 'a b'; give after -- what you
  trust
";
        assert_eq!(text, expected);
        assert_eq!(otherwise(&[], true, &[], &style()), "");
    }
}
