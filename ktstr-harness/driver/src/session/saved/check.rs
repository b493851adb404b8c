//! Reads the file of a session that anybody may have written.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ktstr_core::KernelLabel;
use serde::Deserialize;

use super::{SavedSession, SavedSessionError};

/// What every layout has.
#[derive(Deserialize)]
struct Layout {
    schema: u64,
}

/// What is wrong with a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Schema(u64),
    Other(String),
}

impl Fault {
    pub(super) fn in_file(self, path: &Path) -> SavedSessionError {
        let path = path.to_owned();
        match self {
            Self::Schema(found) => SavedSessionError::Schema { path, found },
            Self::Other(why) => SavedSessionError::Parse { path, why },
        }
    }
}

/// Reads the session called `epoch` from the contents of its file.
pub(super) fn parse(bytes: &[u8], epoch: &str) -> Result<SavedSession, Fault> {
    let fault = |error: serde_json::Error| Fault::Other(error.to_string());
    let Layout { schema } = serde_json::from_slice(bytes).map_err(fault)?;
    if schema != u64::from(SavedSession::SCHEMA) {
        return Err(Fault::Schema(schema));
    }
    let session: SavedSession = serde_json::from_slice(bytes).map_err(fault)?;
    check(&session, epoch).map_err(Fault::Other)?;
    Ok(session)
}

/// Each value becomes a word of a command line, a path or a line on a terminal.
fn check(session: &SavedSession, epoch: &str) -> Result<(), String> {
    if session.epoch != epoch {
        return Err("it is another session's".to_owned());
    }
    let words = [
        ("scheduler_profile", &session.scheduler_profile),
        ("nextest_profile", &session.nextest_profile),
    ];
    for (field, word) in words {
        if word.as_deref().is_some_and(|word| !is_word(word)) {
            return Err(format!("`{field}` is not a name"));
        }
    }
    if !session.identifiers.iter().all(|word| is_word(word)) {
        return Err("`identifiers` has what is none".to_owned());
    }
    let has_nul = |arg: &OsString| arg.as_bytes().contains(&0);
    if session.nextest_args.iter().any(has_nul) {
        return Err("an argument has a NUL in it".to_owned());
    }
    for (name, value) in &session.variables {
        if !SavedSession::VARIABLES.contains(&name.as_str()) || value.contains('\0') {
            return Err(format!("`variables` has `{}`", name.escape_debug()));
        }
    }
    for kernel in &session.kernels {
        if KernelLabel::parse(kernel.label.as_str()).is_none() {
            return Err("a kernel's label is none".to_owned());
        }
        if !kernel.image.is_absolute() || kernel.image.as_os_str().as_bytes().contains(&0) {
            return Err(format!(
                "the image of {} is not an absolute path",
                kernel.label
            ));
        }
    }
    Ok(())
}

/// Whether `text` is a word that no command takes for an option.
fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('-') && !text.chars().any(char::is_control)
}
