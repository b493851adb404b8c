//! What could not be resolved, all of it at once.

use std::fmt;

use crate::error::Error;
use crate::spec::without_secret;

/// Identifiers that could not be resolved, in the order given, each with what was wrong; at least one. Displays as a line
/// for each.
#[derive(Debug)]
pub struct Failures(pub Vec<Failed>);

/// An identifier that could not be resolved. Displays as one line, which has the identifier in it.
#[derive(Debug)]
pub struct Failed {
    /// Its place among the identifiers that were given, from 0.
    pub position: usize,
    /// The identifier, without the password that an address in it may have.
    pub kernel: String,
    /// Why there is no kernel.
    pub error: Error,
}

impl Failures {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn add(&mut self, position: usize, kernel: &str, error: Error) {
        let kernel = without_secret(kernel);
        self.0.push(Failed {
            position,
            kernel,
            error,
        });
    }

    /// `Ok` where nothing failed; else what did, in the order given.
    pub(super) fn into_result(mut self) -> Result<(), Self> {
        if self.0.is_empty() {
            return Ok(());
        }
        self.0.sort_by_key(|failed| failed.position);
        Err(self)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, error, .. } = self;
        let error = error.to_string();
        if error.contains(kernel) {
            f.write_str(&error)
        } else {
            write!(f, "kernel `{kernel}`: {error}")
        }
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, failed) in self.0.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            write!(f, "{failed}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failures {}
