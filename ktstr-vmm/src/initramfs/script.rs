//! The program that a script names in its first line.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// How much of a first line the kernel reads (`BINPRM_BUF_SIZE`).
pub(super) const MAX_LINE: usize = 256;

/// What runs a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interpreter {
    /// The program that its first line names.
    pub(super) program: PathBuf,
    /// The program that `env` is told to look for, where that is what the first line names.
    pub(super) by_env: Option<PathBuf>,
}

/// The interpreter of the script that begins with `head`; `None` if it is no script, or names no absolute path.
pub(super) fn interpreter(head: &[u8]) -> Option<Interpreter> {
    let head = &head[..head.len().min(MAX_LINE)];
    let line = head.strip_prefix(b"#!")?.split(|&b| b == b'\n').next()?;
    let mut words = line
        .split(|b| matches!(b, b' ' | b'\t' | b'\r'))
        .filter(|word| !word.is_empty())
        .map(|word| PathBuf::from(OsStr::from_bytes(word)));
    let program = words.next().filter(|program| program.is_absolute())?;
    let by_env = if program.file_name() == Some(OsStr::new("env")) {
        // `env -S program arguments`, and variables to set.
        words.find(|word| {
            let word = word.as_os_str().as_bytes();
            !word.starts_with(b"-") && !word.contains(&b'=')
        })
    } else {
        None
    };
    Some(Interpreter { program, by_env })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn first_lines_name_programs() {
        let of = |head: &str| {
            let found = interpreter(head.as_bytes())?;
            let text = |path: PathBuf| path.to_str().unwrap().to_owned();
            Some((text(found.program), found.by_env.map(text)))
        };
        let plain = |program: &str| Some((program.to_owned(), None));
        let env = |name: &str| Some(("/usr/bin/env".to_owned(), Some(name.to_owned())));
        assert_eq!(of("#!/bin/sh\necho"), plain("/bin/sh"));
        assert_eq!(of("#! /bin/sh -e"), plain("/bin/sh"));
        assert_eq!(of("#!/bin/bash\r\n"), plain("/bin/bash"));
        assert_eq!(of("#!/usr/bin/env python3\n"), env("python3"));
        assert_eq!(of("#!/usr/bin/env -S A=1 awk -f\n"), env("awk"));
        assert_eq!(of("#!/usr/bin/env\n"), plain("/usr/bin/env"));
        for none in ["", "#!", "#!\n/bin/sh", "#!sh", "/bin/sh", "\x7fELF"] {
            assert_eq!(of(none), None, "{none:?}");
        }
    }

    proptest! {
        #[test]
        fn no_first_line_panics(head: Vec<u8>) {
            let _ = interpreter(&head);
            let _ = interpreter(&[b"#!/".as_slice(), &head].concat());
        }
    }
}
