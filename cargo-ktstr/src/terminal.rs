//! Prints, and takes a closed pipe for no error.

use std::borrow::Cow;
use std::env::var_os;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::failure::{CommandResult, Failure};

/// Lines are no longer on wider terminals: those are hard to read.
const WIDEST: usize = 80;

/// Prints `text` to standard output. It is no error when the reader has gone.
pub(crate) fn print(text: &[u8]) -> CommandResult {
    print_more(text).map(|_| ExitCode::SUCCESS)
}

/// Like [`print`]; returns whether the reader is still there.
pub(crate) fn print_more(text: &[u8]) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(format!("standard output: {error}"))),
        Ok(()) => Ok(true),
    }
}

/// Prints a line to standard error, if that is open.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// How wide text may be: `COLUMNS`, or else what the terminal has; no more than is easy to read.
pub(crate) fn columns() -> usize {
    let told = var_os("COLUMNS").and_then(|told| told.to_str()?.parse().ok());
    let told = told.filter(|columns| *columns > 0);
    let seen = || {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
    };
    told.or_else(seen).unwrap_or(WIDEST).clamp(20, WIDEST)
}

/// `path` with `~` for the home directory.
pub(crate) fn tilde(path: &Path) -> String {
    let home = var_os("HOME").filter(|home| !home.is_empty() && home != "/");
    match home.as_ref().and_then(|home| path.strip_prefix(home).ok()) {
        Some(rest) if rest.as_os_str().is_empty() => "~".to_owned(),
        Some(rest) => format!("~/{}", rest.display()),
        None => path.display().to_string(),
    }
}

/// `word` quoted for a shell.
pub(crate) fn quote(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    // No word of a command line has a NUL in it.
    shlex::try_quote(word).unwrap_or(Cow::Borrowed(word))
}

/// `text` in lines of at most `width` columns where its words allow, joined by `joint`.
pub(crate) fn wrap(text: &str, width: usize, joint: &str) -> String {
    let options = textwrap::Options::new(width)
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .wrap_algorithm(textwrap::WrapAlgorithm::FirstFit);
    let words: Vec<&str> = text.split_whitespace().collect();
    textwrap::wrap(&words.join(" "), options).join(joint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(quote("../linux"), "../linux");
        assert_eq!(quote("test(=ktstr/a)"), "'test(=ktstr/a)'");
        assert_eq!(quote("a'b"), "\"a'b\"");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap("a bb ccc", 4, "\n"), "a bb\nccc");
        assert_eq!(
            wrap("longer than that", 3, " \\\n"),
            "longer \\\nthan \\\nthat"
        );
        assert_eq!(wrap("", 3, "\n"), "");
    }
}
