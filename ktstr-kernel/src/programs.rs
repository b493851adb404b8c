//! Finding programs.

use std::env::split_paths;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use ktstr_core::host::files::is_program;

/// The first program called `name` in the search path `path`; a name with a slash is a path itself.
pub(crate) fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(Path::new(name).to_owned()).filter(|program| is_program(program));
    }
    let mut programs = split_paths(path).map(|dir| dir.join(name));
    programs.find(|program| is_program(program))
}
