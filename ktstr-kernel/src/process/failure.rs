//! How commands fail.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A step of make that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildFailure {
    /// The command, as a person would type it.
    pub command: String,
    /// The sources.
    pub tree: PathBuf,
    /// How it ended.
    pub ending: Ending,
    /// The first line of its output that tells of an error.
    pub cause: Option<String>,
    /// The last lines of its output.
    pub tail: Vec<String>,
    /// All of its output.
    pub log: PathBuf,
}

/// How a step of make ended that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// With this exit code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
    /// It was ended after this many seconds.
    TimedOut(u64),
    /// It was ended after it had printed nothing for longer than
    /// [`BuildOptions::silence`](crate::BuildOptions::silence).
    Silent {
        /// How long.
        silence: Duration,
        /// The programs that were running then, each once: what make waited for. Empty where there was none to see.
        programs: Vec<String>,
    },
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "failed with exit code {code}"),
            Self::Killed(signal) => write!(f, "was killed by signal {signal}"),
            Self::TimedOut(seconds) => write!(f, "was not done after {seconds} s"),
            Self::Silent { silence, programs } => {
                let silence = silence.as_secs_f32();
                write!(f, "was ended, as it had printed nothing for {silence} s")?;
                if !programs.is_empty() {
                    write!(f, " while it waited for {}", programs.join(", "))?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for BuildFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tree = self.tree.display();
        write!(f, "{tree}: `{}` {}", self.command, self.ending)?;
        if let Some(cause) = &self.cause {
            write!(f, " ({cause})")?;
        }
        let starved = |line: &str| line.contains("Killed signal terminated");
        if self.cause.as_deref().is_some_and(starved) {
            write!(f, "; memory ran out: build with fewer jobs")?;
        }
        if let Ending::Silent { programs, .. } = &self.ending {
            let program = programs.first().map_or("it", String::as_str);
            write!(
                f,
                "; find out why {program} hangs, or use another version of it, and build again"
            )?;
        }
        write!(f, "; its output is in {}", self.log.display())
    }
}

/// Why a command could not be run to its end, or failed.
#[derive(Debug)]
pub(crate) enum RunError {
    /// It could not be started, read from or logged.
    Io {
        /// The program, or the log.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It found no room to write.
    NoSpace {
        /// Where it writes.
        dir: PathBuf,
        /// More advice, or nothing.
        hint: &'static str,
    },
    /// It failed.
    Failed(Box<BuildFailure>),
}

impl RunError {
    pub(super) fn io(path: impl Into<PathBuf>, action: &'static str, source: io::Error) -> Self {
        let path = path.into();
        Self::Io {
            path,
            action,
            source,
        }
    }
}
