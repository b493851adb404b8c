//! What past runs tell: the documents of [`ktstr_driver::stats`] as text.

mod analysis;
mod explanation;
mod graph;
mod lists;
mod sections;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use ktstr_core::text::line;
use ktstr_driver::stats::Unreadable;

use crate::Style;
use crate::paint::Ink;
use crate::text::wrap;

pub use analysis::text;
pub use explanation::explanation;
pub use lists::{hosts, metrics, runs, values};

/// Files that cannot be read are named up to this number.
const MOST_UNREADABLE: usize = 5;

/// A line that stands above a section.
fn heading(text: &mut String, title: &str, style: &Style) {
    let title = wrap(title, style.width, "\n");
    let _ = writeln!(text, "\n{}", style.paint(Ink::Heading, title));
}

/// `what` in lines that fit, `indent` spaces in.
fn push_wrapped(text: &mut String, indent: usize, what: &str, style: &Style) {
    let joint = format!("\n{:indent$}", "");
    let wrapped = wrap(&line(what), style.width.saturating_sub(indent), &joint);
    let _ = writeln!(text, "{:indent$}{wrapped}", "");
}

/// How many of a list were left out.
fn push_rest(text: &mut String, all: usize, shown: usize, what: &str) {
    if all > shown {
        let _ = writeln!(text, "  and {} more {what}; --json has all", all - shown);
    }
}

/// Names what could not be read.
fn push_unreadable(text: &mut String, unreadable: &[Unreadable], style: &Style) {
    if unreadable.is_empty() {
        return;
    }
    heading(text, "Not read", style);
    for unreadable in unreadable.iter().take(MOST_UNREADABLE) {
        let wrapped = wrap(
            &line(&unreadable.error),
            style.width.saturating_sub(4),
            "\n    ",
        );
        let _ = writeln!(text, "  {}", style.paint(Ink::Doubtful, wrapped));
    }
    push_rest(text, unreadable.len(), MOST_UNREADABLE, "files");
}
