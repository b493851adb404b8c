//! Standard input, output and error.

use std::fmt::Display;
use std::io::{self, BufRead, ErrorKind, IsTerminal, Write};
use std::thread::sleep;
use std::time::Duration;

/// Homes the cursor and clears the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Standard output cannot be written, and its reader has not gone.
#[derive(Debug, thiserror::Error)]
#[error("standard output: {0}")]
pub struct StdoutError(#[from] io::Error);

/// Prints `text` to standard output.
pub fn print(text: impl AsRef<[u8]>) -> Result<(), StdoutError> {
    print_more(text).map(|_| ())
}

/// Like [`print()`]; returns whether the reader is still there.
fn print_more(text: impl AsRef<[u8]>) -> Result<bool, StdoutError> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_ref());
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(true),
    }
}

/// Prints what `text` gives every `interval`, until the reader of standard output has gone: each in place of the one before
/// where that is a terminal and `in_place` says so.
pub fn repeat<E: From<StdoutError>>(
    interval: Duration,
    in_place: bool,
    mut text: impl FnMut() -> Result<String, E>,
) -> Result<(), E> {
    let clear = in_place && io::stdout().is_terminal();
    loop {
        let clear = if clear { CLEAR } else { "" };
        if !print_more(clear.to_owned() + &text()?)? {
            return Ok(());
        }
        sleep(interval);
    }
}

/// Prints `text` to standard error, if that is open.
pub fn tell(text: impl Display) {
    let _ = write!(io::stderr().lock(), "{text}");
}

/// Asks for a yes at the terminal; `None` where there is none.
pub fn confirmed(question: &str) -> io::Result<Option<bool>> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(None);
    }
    tell(format_args!("{question} [y/N]\n"));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    let answer = answer.trim().to_ascii_lowercase();
    Ok(Some(["y", "yes"].contains(&answer.as_str())))
}
