//! Where text is shown, and by which program.

use std::path::{Path, PathBuf};

use ktstr_core::text::line;

use crate::text;

/// Lines are no longer on wider terminals: those are hard to read.
const WIDEST: usize = 80;

/// On narrower terminals lines are cut off: hardly a word would fit.
const NARROWEST: usize = 20;

/// Where text is shown, and by which program: what most functions here take beside a report.
///
/// ```
/// use ktstr_render::Style;
///
/// // A program that runs in a terminal of 60 columns.
/// let style = Style::new("mine", Some(60), Some("/home/me".into()));
/// assert_eq!(style.path("/home/me/linux".as_ref()), "~/linux");
/// // Wide terminals are not filled.
/// assert_eq!(Style::new("mine", Some(200), None).width, 80);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Style {
    /// How the user calls the program, such as `cargo ktstr`. Headings begin with it, and so do the commands that a text
    /// recommends: `locks`, `kernel build` and the like.
    pub program: String,
    /// Columns that a line may have. A word that is longer, such as a path, is not broken.
    pub width: usize,
    /// The user's home directory, which is written as `~`.
    pub home: Option<PathBuf>,
    /// Whether bars are drawn with block characters; with letters and digits otherwise.
    pub unicode: bool,
    /// Whether parts are coloured. A text says the same without.
    pub colors: bool,
}

impl Style {
    /// The style of `program` in a terminal of `columns`; `None` where there is no terminal. The width is no more than is
    /// easy to read: 80. Without block characters and colours. A `home` that is empty or the root directory is none.
    pub fn new(program: impl Into<String>, columns: Option<usize>, home: Option<PathBuf>) -> Self {
        let is_home = |home: &PathBuf| !home.as_os_str().is_empty() && home != Path::new("/");
        Self {
            program: program.into(),
            width: columns.unwrap_or(WIDEST).clamp(NARROWEST, WIDEST),
            home: home.filter(is_home),
            unicode: false,
            colors: false,
        }
    }

    /// `path` in one line, with `~` for the home directory and without control characters.
    pub fn path(&self, path: &Path) -> String {
        line(&text::tilde(path, self.home.as_deref()))
    }
}

/// `cargo ktstr`, without a terminal.
impl Default for Style {
    fn default() -> Self {
        Self::new("cargo ktstr", None, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_width_is_one_that_can_be_read() {
        let width = |columns| Style::new("x", columns, None).width;
        assert_eq!(width(None), 80);
        assert_eq!(
            [1, 20, 41, 80, 500].map(|n| width(Some(n))),
            [20, 20, 41, 80, 80]
        );
    }

    #[test]
    fn a_path_does_nothing_to_a_terminal() {
        let path = Style::default().path("/a\u{1b}[31m\nb\u{7}".as_ref());
        assert_eq!(path, "/a b?");
    }

    #[test]
    fn the_root_directory_is_nobodys_home() {
        for home in ["", "/"] {
            let style = Style::new("x", None, Some(home.into()));
            assert_eq!(style.path("/a".as_ref()), "/a");
        }
    }
}
