//! The result of a command.

use std::fmt::Display;
use std::process::ExitCode;

use crate::remedy::worded;
use ktstr_core::text;

/// An exit code, or what went wrong.
pub(crate) type CommandResult = Result<ExitCode, Failure>;

/// One or more problems, each printed as one `error:` line.
#[derive(Debug, Default)]
pub(crate) struct Failure(Vec<Problem>);

#[derive(Debug)]
struct Problem {
    /// Lines to show before the error itself.
    context: Vec<String>,
    message: String,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        let mut failure = Self::default();
        failure.add(message);
        failure
    }

    pub(crate) fn add(&mut self, message: impl Into<String>) {
        self.add_with(Vec::new(), message);
    }

    pub(crate) fn add_with(&mut self, context: Vec<String>, message: impl Into<String>) {
        self.0.push(Problem {
            context,
            message: message.into(),
        });
    }

    /// `Ok` when nothing went wrong.
    pub(crate) fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }

    /// The text to print: explaining lines first, then one `error:` line for each problem.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        let context = self.0.iter().flat_map(|problem| problem.context.clone());
        let errors = self.0.iter().map(|it| format!("error: {}", it.message));
        context.chain(errors)
    }
}

impl<E: std::error::Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(one_line(worded(&error)))
    }
}

/// `text` in one line and without terminal commands: a path may contain both.
pub(crate) fn one_line(text: impl Display) -> String {
    text::line(&text.to_string())
}
