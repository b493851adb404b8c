//! Untrusted text in output for people.
//!
//! Logs, names and messages come from guests, kernels and programs under test. They must neither control the terminal
//! nor look like a line of ktstr's own.

/// Replaces a character that cannot be shown.
const HIDDEN: char = '?';

/// `text` made safe to print: line breaks and tabs stay, colours are removed, and other control characters become `?`.
///
/// ```
/// assert_eq!(ktstr_core::text::plain("\u{1b}[31mred\u{1b}[0m\r\n\u{7}x"), "red\n?x");
/// ```
pub fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' | '\t' => shown.push(c),
            // The line ending of terminals and DOS.
            '\r' if chars.peek() == Some(&'\n') => {}
            '\u{1b}' if chars.peek() == Some(&'[') => {
                chars.next();
                // ECMA-48, 5.4: parameters and intermediates, then one final byte.
                while chars.next_if(|c| (' '..='?').contains(c)).is_some() {}
                chars.next_if(|c| ('@'..='~').contains(c));
            }
            c if commands(c) => shown.push(HIDDEN),
            c => shown.push(c),
        }
    }
    shown
}

/// `text` as one line: like [`plain`], with tabs and line breaks as spaces.
///
/// ```
/// assert_eq!(ktstr_core::text::line(" one\n\n  two\n"), "one two");
/// ```
pub fn line(text: &str) -> String {
    let plain = plain(text);
    let words: Vec<&str> = plain
        .split(['\n', '\t'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect();
    words.join(" ")
}

/// `text` cut to at most `most` characters, with `...` for what is left out.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

/// Whether a character has an effect instead of a glyph: it moves the cursor, colours text, or changes its direction.
fn commands(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn colours_go_and_other_commands_are_shown() {
        let coloured = "\u{1b}[2m2026\u{1b}[0m \u{1b}[32m INFO\u{1b}[0m up";
        assert_eq!(plain(coloured), "2026  INFO up");
        assert_eq!(plain("\u{1b}]0;title\u{7}x\u{202e}y"), "?]0;title?x?y");
        assert_eq!(plain("cut \u{1b}[3"), "cut ");
        assert_eq!(plain("a\r\nb\rc\td"), "a\nb?c\td");
        assert_eq!(
            line("Error: x\n\nCaused by:\n\t0: y"),
            "Error: x Caused by: 0: y"
        );
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöü", 2), "äö...");
    }

    proptest! {
        #[test]
        fn nothing_that_commands_is_left(text: String) {
            let left = |c: char| commands(c) && c != '\n' && c != '\t';
            prop_assert!(!plain(&text).contains(left));
            prop_assert!(!line(&text).contains(commands));
        }
    }
}
