//! A little colour, where a style has it.

use std::fmt::Display;

use anstyle::{AnsiColor, Effects};
use ktstr_core::Outcome;

use crate::Style;

/// What a part of a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    Heading,
    Bad,
    Doubtful,
    Good,
    Dim,
}

impl Ink {
    fn style(self) -> anstyle::Style {
        match self {
            Self::Heading => anstyle::Style::new() | Effects::BOLD,
            Self::Bad => AnsiColor::Red.on_default() | Effects::BOLD,
            Self::Doubtful => AnsiColor::Yellow.on_default(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Dim => anstyle::Style::new() | Effects::DIMMED,
        }
    }

    pub(crate) fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Pass => Self::Good,
            Outcome::Fail => Self::Bad,
            Outcome::Inconclusive => Self::Doubtful,
            Outcome::Skip => Self::Dim,
        }
    }
}

impl Style {
    /// `text` in a colour, if this style has colours.
    pub(crate) fn paint(&self, ink: Ink, text: impl Display) -> String {
        if !self.colors {
            return text.to_string();
        }
        let ink = ink.style();
        format!("{ink}{text}{ink:#}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_there_where_they_are_wanted() {
        let plain = Style::default();
        assert_eq!(plain.paint(Ink::Bad, "x"), "x");
        let colored = Style {
            colors: true,
            ..plain
        };
        assert_eq!(colored.paint(Ink::Doubtful, "x"), "\u{1b}[33mx\u{1b}[0m");
    }
}
