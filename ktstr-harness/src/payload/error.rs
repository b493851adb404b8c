//! What goes wrong with a program in the guest.

use std::io;

/// A program that did not do what it was started for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// It could not be started.
    #[error("{program}: could not be started: {source}")]
    Start {
        /// The program.
        program: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It exited with a code that is not among its `exit_codes`.
    #[error("{program}: exited with status {status}, and should have with {expected}; {said}")]
    Exited {
        /// The program.
        program: &'static str,
        /// Its exit status.
        status: i32,
        /// What is fine.
        expected: String,
        /// Its last words.
        said: String,
    },
    /// A signal ended it.
    #[error("{program}: was killed by {signal}{why}; {said}")]
    Killed {
        /// The program.
        program: &'static str,
        /// The signal, with its name.
        signal: String,
        /// Why, where that is known.
        why: &'static str,
        /// Its last words.
        said: String,
    },
    /// It was still running at its limit, and was killed.
    #[error(
        "{program}: still ran after {seconds:.0} s and was killed with its {processes} processes; {said}; raise its \
         time_limit_s, or the test's duration_s"
    )]
    Hung {
        /// The program.
        program: &'static str,
        /// How long it had run.
        seconds: f64,
        /// How many processes its cgroup had.
        processes: usize,
        /// Its last words.
        said: String,
    },
    /// It was killed, and is still there.
    #[error(
        "{program}: still there {seconds} s after it was killed; the scheduler does not run it"
    )]
    NotGone {
        /// The program.
        program: &'static str,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A metric is not in its output.
    #[error("{program}: metric `{metric}`: {source}")]
    Metric {
        /// The program.
        program: &'static str,
        /// Name of the metric.
        metric: &'static str,
        /// Why not.
        source: Box<MetricError>,
    },
}

/// A number that is not in a program's output.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// Standard output is not JSON.
    #[error(
        "standard output is not JSON, in which `{path}` is looked for ({source}{cut}); {begins}"
    )]
    NotJson {
        /// The path.
        path: String,
        /// Where it stops making sense.
        source: serde_json::Error,
        /// Whether there is more.
        cut: &'static str,
        /// How the output begins.
        begins: String,
    },
    /// The JSON value has no such part.
    #[error("there is no `{path}` in its JSON; {there}")]
    NoPath {
        /// The path.
        path: String,
        /// What there is.
        there: String,
    },
    /// What is there is not a number.
    #[error("{place} is `{found}`, not a number")]
    NotANumber {
        /// The place.
        place: String,
        /// What is there.
        found: String,
    },
    /// No line has the key.
    #[error("no line begins with `{key}` and a value; {begins}")]
    NoKey {
        /// The key.
        key: String,
        /// How the output begins.
        begins: String,
    },
    /// No line fits the pattern.
    #[error("no line fits `{pattern}`; {begins}")]
    NoLine {
        /// The pattern.
        pattern: String,
        /// How the output begins.
        begins: String,
    },
}
