//! Why a watch could not be started or ended early.

use std::io;
use std::path::{Path, PathBuf};

use super::format::FormatError;
use super::page::PageError;

/// A watch that could not be started, or lost its kernel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// A file of tracefs.
    #[error("{path}: {source}; {remedy}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
        /// What a kernel needs to have it.
        remedy: &'static str,
    },
    /// A function that cannot be watched.
    #[error("watch {function}: the kernel says: {why}")]
    Function {
        /// The function and its fields.
        function: String,
        /// What the kernel said.
        why: String,
    },
    /// A function or a field that cannot be one.
    #[error("watch {function}: {what}")]
    Invalid {
        /// The function and its fields.
        function: String,
        /// What is wrong.
        what: String,
    },
    /// The kernel writes its events in a way that is not known.
    #[error("the kernel's trace events: {0}")]
    Layout(String),
    /// The watch's thread.
    #[error("the thread that watches: {0}")]
    Thread(#[source] io::Error),
}

impl TraceError {
    pub(super) fn file(path: &Path, source: io::Error, remedy: &'static str) -> Self {
        let path = path.to_owned();
        Self::File {
            path,
            source,
            remedy,
        }
    }
}

impl From<FormatError> for TraceError {
    fn from(error: FormatError) -> Self {
        Self::Layout(error.to_string())
    }
}

impl From<PageError> for TraceError {
    fn from(error: PageError) -> Self {
        Self::Layout(error.to_string())
    }
}
