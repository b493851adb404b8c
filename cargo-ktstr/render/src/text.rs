//! Words of one line or several: wrapped, cut, and quoted for a shell.

use std::borrow::Cow;
use std::path::Path;

use textwrap::core::display_width;

/// `word` quoted for a shell, where that needs it.
///
/// ```
/// use ktstr_render::text::quote;
///
/// assert_eq!(quote("../linux"), "../linux");
/// assert_eq!(quote("test(=ktstr/a)"), "'test(=ktstr/a)'");
/// ```
pub fn quote(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    // No word of a command line has a NUL in it.
    shlex::try_quote(word).unwrap_or(Cow::Borrowed(word))
}

/// A command that a shell takes when it is copied.
///
/// ```
/// use ktstr_render::text::command;
///
/// assert_eq!(command(["echo", "a b", "c"]), "echo 'a b' c");
/// ```
pub fn command<W: AsRef<str>>(words: impl IntoIterator<Item = W>) -> String {
    let words = words.into_iter();
    let words: Vec<String> = words
        .map(|word| quote(word.as_ref()).into_owned())
        .collect();
    words.join(" ")
}

/// `text` in lines of at most `width` columns where its words allow, joined by `joint`.
///
/// ```
/// use ktstr_render::text::wrap;
///
/// assert_eq!(wrap("a bb ccc", 4, "\n"), "a bb\nccc");
/// assert_eq!(wrap("longer than that", 3, " \\\n"), "longer \\\nthan \\\nthat");
/// ```
pub fn wrap(text: &str, width: usize, joint: &str) -> String {
    let options = textwrap::Options::new(width)
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .wrap_algorithm(textwrap::WrapAlgorithm::FirstFit);
    let words: Vec<&str> = text.split_whitespace().collect();
    textwrap::wrap(&words.join(" "), options).join(joint)
}

/// The beginning of `line` that fits in `width` columns, with `...` where some is left out.
///
/// ```
/// use ktstr_render::text::fit;
///
/// assert_eq!(fit("a command that is long", 12), "a command...");
/// ```
pub fn fit(line: &str, width: usize) -> String {
    if display_width(line) <= width {
        return line.to_owned();
    }
    let mut room = width.saturating_sub(3);
    let mut shown = String::new();
    for c in line.chars() {
        let needed = display_width(c.encode_utf8(&mut [0; 4]));
        if needed > room {
            break;
        }
        room -= needed;
        shown.push(c);
    }
    shown + "..."
}

/// `path` with `~` for the home directory, if one is given.
///
/// ```
/// use ktstr_render::text::tilde;
///
/// let home = Some("/home/me".as_ref());
/// assert_eq!(tilde("/home/me/linux".as_ref(), home), "~/linux");
/// assert_eq!(tilde("/home/mean".as_ref(), home), "/home/mean");
/// ```
pub fn tilde(path: &Path, home: Option<&Path>) -> String {
    match home.and_then(|home| path.strip_prefix(home).ok()) {
        Some(rest) if rest.as_os_str().is_empty() => "~".to_owned(),
        Some(rest) => format!("~/{}", rest.display()),
        None => path.display().to_string(),
    }
}

/// `1 case`, `2 cases`: `count` with its noun, which gets an `s` behind it unless there is one.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
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
        assert_eq!(command(["a", "b c", ""]), "a 'b c' ''");
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap("a bb ccc", 4, "\n"), "a bb\nccc");
        assert_eq!(
            wrap("longer than that", 3, " \\\n"),
            "longer \\\nthan \\\nthat"
        );
        assert_eq!(wrap("", 3, "\n"), "");
        assert_eq!(wrap("a b", 0, "\n"), "a\nb");
    }

    #[test]
    fn what_does_not_fit_is_cut() {
        assert_eq!(fit("123456", 6), "123456");
        assert_eq!(fit("1234567", 6), "123...");
        assert_eq!(fit("1234567", 2), "...");
        // Each of these takes two columns.
        assert_eq!(fit("漢字漢字", 8), "漢字漢字");
        assert_eq!(fit("漢字漢字", 6), "漢...");
    }

    #[test]
    fn a_home_directory_is_a_tilde() {
        let tilde = |path: &str, home: &str| super::tilde(path.as_ref(), Some(home.as_ref()));
        assert_eq!(tilde("/home/me", "/home/me"), "~");
        assert_eq!(tilde("/home/me/a/b", "/home/me/"), "~/a/b");
        assert_eq!(super::tilde("/home/me".as_ref(), None), "/home/me");
    }
}
