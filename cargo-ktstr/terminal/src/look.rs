//! How text looks on this process's terminal.

use std::io::{self, IsTerminal};

use anstream::{AutoStream, ColorChoice};
use ktstr_core::host::Host;
use ktstr_render::Style;
use ktstr_render::progress::{ProgressDrawTarget, Reporter};

/// The style of `program`: as wide as `COLUMNS` of `host` says, or else the terminal of standard output.
pub fn style(program: &str, host: &Host) -> Style {
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
/// terminal, and by the locale that `host` names.
#[must_use]
pub fn with_pictures(style: &Style, host: &Host) -> Style {
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
pub fn reporter(style: &Style) -> Reporter {
    if io::stderr().is_terminal() {
        Reporter::bars(style, ProgressDrawTarget::stderr(), io::stderr())
    } else {
        Reporter::lines(style, io::stderr())
    }
}
