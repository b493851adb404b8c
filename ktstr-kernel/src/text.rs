//! Foreign text in messages.

use std::path::Path;

use ktstr_core::text;

/// `text` as part of a line: without control characters, at most about 200 characters.
pub(crate) fn line(text: &str) -> String {
    text::cut(&text::line(text), 200)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn foreign_text_is_one_short_line(text in "(?s).{0,400}") {
            let line = line(&text);
            prop_assert!(!line.contains(char::is_control));
            prop_assert!(line.chars().count() <= 203);
        }
    }
}
