//! Foreign text in messages.

use std::path::Path;

/// `text` as part of a line: without what would end it or command a terminal, and not endless.
pub(crate) fn line(text: &str) -> String {
    const LONGEST: usize = 200;
    let plain = |c: char| {
        let breaks = c.is_control() || ['\u{2028}', '\u{2029}'].contains(&c);
        if breaks { '?' } else { c }
    };
    let mut shown: String = text.chars().take(LONGEST).map(plain).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push_str("...");
    }
    shown
}

/// `path` as a shell reads it back.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
