//! This process's streams and terminal. It is no error when a reader has gone.

use std::fmt::Display;
use std::io::{self, BufRead, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use anstream::{AutoStream, ColorChoice};
use ktstr_core::host::Host;
use ktstr_render::Style;
use ktstr_render::progress::{ProgressDrawTarget, Reporter};

use crate::failure::{CommandResult, Failure};

/// Prints `text` to standard output.
pub(crate) fn print(text: impl AsRef<[u8]>) -> CommandResult {
    print_more(text).map(|_| ExitCode::SUCCESS)
}

/// Like [`print`]; returns whether the reader is still there.
pub(crate) fn print_more(text: impl AsRef<[u8]>) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_ref());
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(format!("standard output: {error}"))),
        Ok(()) => Ok(true),
    }
}

/// Prints `text` to standard error, if that is open.
pub(crate) fn tell(text: impl Display) {
    let _ = write!(io::stderr().lock(), "{text}");
}

/// Asks for a yes at the terminal; `None` where there is none.
pub(crate) fn confirmed(question: &str) -> io::Result<Option<bool>> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(None);
    }
    tell(format_args!("{question} [y/N]\n"));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    let answer = answer.trim().to_ascii_lowercase();
    Ok(Some(["y", "yes"].contains(&answer.as_str())))
}

/// The style of `program`: as wide as `COLUMNS` says, or else the terminal.
pub(crate) fn style(program: &str, host: &Host) -> Style {
    let told = host.var("COLUMNS");
    let told = told.and_then(|told| told.to_str()?.parse().ok());
    let seen = || {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
    };
    let columns = told.filter(|columns| *columns > 0).or_else(seen);
    Style::new(program, columns, host.var("HOME").map(Into::into))
}

/// `style` with the colours and characters that standard output has: by `NO_COLOR`, `CLICOLOR_FORCE` and the like or the
/// terminal, and by the locale.
pub(crate) fn with_pictures(style: &Style, host: &Host) -> Style {
    let text = |name: &str| host.var(name).and_then(|value| value.into_string().ok());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| text(name).filter(|it| !it.is_empty()));
    let locale = locale.unwrap_or_default().to_ascii_lowercase();
    Style {
        unicode: locale.ends_with("utf-8") || locale.ends_with("utf8"),
        colors: AutoStream::choice(&io::stdout()) != ColorChoice::Never,
        ..style.clone()
    }
}

/// Shows progress on standard error: bars on a terminal, lines elsewhere.
pub(crate) fn reporter(style: &Style) -> Reporter {
    if io::stderr().is_terminal() {
        Reporter::bars(style, ProgressDrawTarget::stderr(), io::stderr())
    } else {
        Reporter::lines(style, io::stderr())
    }
}
