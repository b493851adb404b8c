//! The result of a command.

use std::error::Error;
use std::fmt::Display;
use std::process::ExitCode;

use ktstr_render::errors::{Problem, problems, text};

use crate::RECOMMENDED;

/// An exit code, or what went wrong.
pub(crate) type CommandResult = Result<ExitCode, Failure>;

/// What went wrong; nothing yet, by default.
#[derive(Debug, Default)]
pub(crate) struct Failure(Vec<Problem>);

impl Failure {
    pub(crate) fn new(message: impl Display) -> Self {
        Self(vec![Problem::new(message)])
    }

    /// Adds what another failure tells.
    pub(crate) fn add(&mut self, other: impl Into<Self>) {
        self.0.extend(other.into().0);
    }

    /// `Ok` when nothing went wrong.
    pub(crate) fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }

    /// Explaining lines first, then one `error:` line for each problem.
    pub(crate) fn text(&self) -> String {
        text(&self.0)
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(problems(&error, RECOMMENDED))
    }
}
