//! Errors of the libraries as a command tells them: in one line each, with what to do next.
//!
//! An error of a library says what is wrong, and what to do where that is the same for every caller. Where the options or
//! commands of a program help, it holds facts or a [`Remedy`]; here they are put in words, with the options that
//! `cargo ktstr` has. A program with other options words these errors itself.
//!
//! ```
//! use ktstr_kernel::{CacheError, CacheKey};
//! use ktstr_render::errors;
//!
//! let error = CacheError::Unknown { key: CacheKey::parse("6.12.9-a")?, near: vec![] };
//! assert_eq!(
//!     errors::text(&errors::problems(&error, "cargo ktstr")),
//!     "error: no cached kernel `6.12.9-a`; a path starts with ./, `cargo ktstr kernel list` shows the keys\n"
//! );
//! # Ok::<(), ktstr_kernel::cache::CacheKeyError>(())
//! ```

use std::error::Error as StdError;
use std::fmt::{Display, Write};

use ktstr_core::text::line;
use ktstr_driver::affected::AffectedError;
use ktstr_driver::kernels::KernelsError;
use ktstr_driver::perf_delta::PerfDeltaError;
use ktstr_driver::replay::ReplayError;
use ktstr_driver::shell::ShellError;
use ktstr_driver::stats::StatsError;
use ktstr_driver::verifier::SweepError;
use ktstr_driver::{ExportError, FindTestError, SessionError};
use ktstr_kernel::cache::CleanFailures;
use ktstr_kernel::discover::DiscoverError;
use ktstr_kernel::{BuiltTreeError, CacheError, Error, Failed, Failures, FetchError, Remedy};

pub use ktstr_harness::remedy::words as remedy;

/// Something that went wrong, as a person reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Lines that show more of it, such as the last ones of a build that failed.
    pub context: Vec<String>,
    /// What is wrong, why, and what to do next: in one line, without control characters.
    pub message: String,
}

impl Problem {
    /// A problem that needs no more than a line, which `message` is made: a path in it may contain anything.
    pub fn new(message: impl Display) -> Self {
        Self {
            context: Vec::new(),
            message: line(&message.to_string()),
        }
    }
}

/// Every problem that `error` tells of, with what to do: options, and commands of `program`.
pub fn problems(error: &(dyn StdError + 'static), program: &str) -> Vec<Problem> {
    if let Some(error) = error.downcast_ref() {
        return of_kernels(error, program);
    }
    if let Some(Failures(failures)) = error.downcast_ref() {
        let failures = failures.iter();
        return failures.map(|failed| of_failed(failed, program)).collect();
    }
    if let Some(CleanFailures(failures)) = error.downcast_ref() {
        let failures = failures.iter();
        return failures
            .flat_map(|error| problems(error, program))
            .collect();
    }
    match error.downcast_ref() {
        Some(SweepError::Session(error)) => return problems(error, program),
        Some(SweepError::UnknownScheduler { name, there }) => {
            return vec![Problem::new(format!(
                "--scheduler {name}: no such scheduler has a cell on these kernels; there are {}",
                there.join(", ")
            ))];
        }
        _ => {}
    }
    if let Some(error) = error.downcast_ref() {
        return vec![of_stats(error, program)];
    }
    if let Some(ExportError::Find(error)) = error.downcast_ref() {
        return problems(error, program);
    }
    if let Some(FindTestError::Session(error)) = error.downcast_ref() {
        return problems(error, program);
    }
    match error.downcast_ref() {
        Some(PerfDeltaError::Session(error)) => return problems(error, program),
        Some(PerfDeltaError::Affected(error)) => return problems(error, program),
        Some(error @ PerfDeltaError::NoDirectory { .. }) => {
            return vec![Problem::new(format!("--dir {error}"))];
        }
        _ => {}
    }
    match error.downcast_ref() {
        Some(ShellError::Kernels(error)) => return of_kernels(error, program),
        Some(error @ ShellError::SeveralKernels { .. }) => {
            return vec![Problem::new(format!("--kernel {error}"))];
        }
        _ => {}
    }
    match error.downcast_ref() {
        Some(ReplayError::Session(error)) => return problems(error, program),
        Some(error @ ReplayError::KernelsGone(_)) => {
            return vec![Problem::new(format!(
                "{error}; build them again, or give others with --kernel"
            ))];
        }
        _ => {}
    }
    if let Some(AffectedError::Session(error)) = error.downcast_ref() {
        return problems(error, program);
    }
    match error.downcast_ref() {
        Some(SessionError::Kernels(error)) => return of_kernels(error, program),
        Some(error @ SessionError::SameLabel { .. }) => {
            return vec![Problem::new(format!("--kernel: {error}"))];
        }
        _ => {}
    }
    let words = remedy_of(error).map(|it| remedy(&it, program));
    vec![Problem::new(format!(
        "{error}{}",
        words.unwrap_or_default()
    ))]
}

fn of_kernels(error: &KernelsError, program: &str) -> Vec<Problem> {
    match error {
        KernelsError::Failures(failures) => problems(failures, program),
        KernelsError::Releases(error) => problems(error, program),
        KernelsError::Cache(error) => problems(error, program),
        KernelsError::Fetch(error) => problems(error, program),
        KernelsError::NotARange { range } => vec![Problem::new(format!(
            "`{range}` is not a range; --kernel of `kernel list` takes one, such as 6.12..6.14"
        ))],
        KernelsError::TooFewCpus { cap, allowed } => vec![Problem::new(format!(
            "--cpu-cap asks for {cap} host CPUs and this process may use {allowed}; give fewer, see taskset -p"
        ))],
        other => vec![Problem::new(other)],
    }
}

fn of_stats(error: &StatsError, program: &str) -> Problem {
    match error {
        StatsError::UnknownRun { .. } => {
            Problem::new(format!("{error}; `{program} stats list` shows the runs"))
        }
        StatsError::NoProject => Problem::new(format!(
            "{error}; run this in one, or give --dir the directory that has the runs"
        )),
        StatsError::NoDirectory { .. } => Problem::new(format!(
            "--dir {error}; give the directory that has the runs, such as target/ktstr"
        )),
        other => Problem::new(other),
    }
}

fn of_failed(failed: &Failed, program: &str) -> Problem {
    let words = failed.error.remedy().map(|it| remedy(&it, program));
    let mut problem = Problem::new(format!("{failed}{}", words.unwrap_or_default()));
    if let Error::Make(make) = &failed.error {
        let log = make.log.display();
        problem.context.push(format!("last lines of {log}:"));
        let tail = make.tail.iter();
        problem.context.extend(tail.map(|line| format!("  {line}")));
    }
    problem
}

/// What helps against an error of a library.
fn remedy_of(error: &(dyn StdError + 'static)) -> Option<Remedy> {
    let kernel = error.downcast_ref().and_then(Error::remedy);
    let cache = || error.downcast_ref().and_then(CacheError::remedy);
    let fetch = || error.downcast_ref().and_then(FetchError::remedy);
    let discover = || error.downcast_ref().and_then(DiscoverError::remedy);
    let built = || error.downcast_ref().and_then(BuiltTreeError::remedy);
    let session = || error.downcast_ref().and_then(SessionError::remedy);
    kernel
        .or_else(cache)
        .or_else(fetch)
        .or_else(discover)
        .or_else(built)
        .or_else(session)
}

/// What a command prints of `problems`: the lines that explain them, then one line that begins with `error: ` for each.
pub fn text(problems: &[Problem]) -> String {
    let mut text = String::new();
    for line in problems.iter().flat_map(|problem| &problem.context) {
        let _ = writeln!(text, "{line}");
    }
    for problem in problems {
        let _ = writeln!(text, "error: {}", problem.message);
    }
    text
}

#[cfg(test)]
mod tests {
    use ktstr_kernel::CacheKey;

    use super::*;

    fn message(error: &(dyn StdError + 'static)) -> String {
        match problems(error, "x").as_slice() {
            [problem] => problem.message.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn corrupt() -> CacheError {
        CacheError::Corrupt {
            key: CacheKey::parse("6.12.9-a").unwrap(),
            why: "no\nimage".to_owned(),
        }
    }

    const CORRUPT: &str = "cached kernel `6.12.9-a` is corrupt (no image); run: x kernel clean --corrupt-only, then build it again";

    #[test]
    fn remedies_are_found_wherever_an_error_is() {
        let session = SessionError::Kernel(corrupt().into());
        assert_eq!(message(&session), CORRUPT);
        assert_eq!(message(&corrupt()), CORRUPT);
        assert_eq!(message(&KernelsError::from(corrupt())), CORRUPT);
        assert_eq!(
            message(&KernelsError::from(Error::from(corrupt()))),
            CORRUPT
        );
        let again = SessionError::Kernel(corrupt().into());
        assert_eq!(message(&SweepError::from(again)), CORRUPT);
    }

    #[test]
    fn what_an_option_asked_for_is_told_with_it() {
        let same = SessionError::SameLabel {
            label: "a".to_owned(),
            first: "/1".into(),
            second: "/2".into(),
        };
        assert!(message(&same).starts_with("--kernel: `a` names two kernels"));
        let cpus = KernelsError::TooFewCpus { cap: 9, allowed: 2 };
        assert!(message(&cpus).starts_with("--cpu-cap asks for 9 host CPUs"));
        let unknown = SweepError::UnknownScheduler {
            name: "a".to_owned(),
            there: vec!["b".to_owned(), "c".to_owned()],
        };
        assert!(message(&unknown).ends_with("; there are b, c"));
    }

    #[test]
    fn directories_and_kernels_that_were_asked_for_are_told_with_their_option() {
        let several = ShellError::SeveralKernels {
            identifier: "6.11..6.14".to_owned(),
            versions: vec!["6.12.25".to_owned(), "6.14.2".to_owned()],
        };
        assert_eq!(
            message(&several),
            "--kernel 6.11..6.14 names 2 kernels, and a machine has one; give one of 6.12.25, 6.14.2"
        );
        assert_eq!(
            message(&PerfDeltaError::NoDirectory { dir: "/r".into() }),
            "--dir /r: no such directory; give a copy of target/ktstr or a run directory"
        );
        let gone = StatsError::NoDirectory {
            dir: "/r".into(),
            source: std::io::ErrorKind::NotFound.into(),
        };
        assert!(message(&gone).starts_with("--dir /r: entity not found; give the directory"));
        let kept = CleanFailures(vec![corrupt(), corrupt()]);
        assert_eq!(problems(&kept, "x").len(), 2);
        assert_eq!(problems(&kept, "x")[1].message, CORRUPT);
    }

    #[test]
    fn a_run_that_is_not_there_is_told_with_what_there_is() {
        let unknown = StatsError::UnknownRun {
            run: "6.12".to_owned(),
            dir: "/r".into(),
            near: vec!["6.12.1-abc".to_owned()],
        };
        let expected = "no run `6.12` in /r (there is `6.12.1-abc`); `x stats list` shows the runs";
        assert_eq!(message(&unknown), expected);
    }

    #[test]
    fn each_kernel_that_failed_has_its_line() {
        let failed = |position, kernel: &str| Failed {
            position,
            kernel: kernel.to_owned(),
            error: corrupt().into(),
        };
        let failures = Failures(vec![failed(0, "../linux"), failed(1, "6.12.9-a")]);
        let error = KernelsError::from(failures);
        let mut problems = problems(&error, "x");
        problems[1].context = vec!["last lines".to_owned()];
        assert_eq!(
            text(&problems),
            format!("last lines\nerror: kernel `../linux`: {CORRUPT}\nerror: {CORRUPT}\n")
        );
    }
}
