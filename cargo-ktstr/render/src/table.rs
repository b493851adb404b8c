//! Tables for a terminal of any width: columns that do not fit beside each other follow below, with the names of the rows
//! again.
//!
//! ```
//! use ktstr_render::table::{Column, Table};
//!
//! let names = Column::left("kernel", ["6.12", "6.14"]);
//! let figures = [Column::right("load", ["4", "12"]), Column::right("exit", ["1", "-"])];
//! let text = Table::new(&names, &figures).text(80);
//! assert_eq!(text, "  kernel  load  exit\n  6.12       4     1\n  6.14      12     -\n");
//! ```

use std::fmt::Write;
use std::iter;

use textwrap::core::display_width;

/// On which side of a column its cells stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Align {
    Left,
    Right,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    title: String,
    /// One per row.
    cells: Vec<String>,
    align: Align,
    least: usize,
}

impl Column {
    /// A column of words: they stand at its left side.
    pub fn left<C: Into<String>>(
        title: impl Into<String>,
        cells: impl IntoIterator<Item = C>,
    ) -> Self {
        Self {
            title: title.into(),
            cells: cells.into_iter().map(Into::into).collect(),
            align: Align::Left,
            least: 0,
        }
    }

    /// A column of figures: they stand at its right side.
    pub fn right<C: Into<String>>(
        title: impl Into<String>,
        cells: impl IntoIterator<Item = C>,
    ) -> Self {
        Self {
            align: Align::Right,
            ..Self::left(title, cells)
        }
    }

    /// A column that is at least `width` wide, so that tables of different contents look alike.
    #[must_use]
    pub fn at_least(mut self, width: usize) -> Self {
        self.least = width;
        self
    }

    pub(crate) fn width(&self) -> usize {
        let cells = self.cells.iter().chain([&self.title]);
        let widest = cells.map(|cell| display_width(cell)).max();
        widest.unwrap_or(0).max(self.least)
    }

    /// The cell of a row, or the title above the first one; empty where the column has no such row.
    fn cell(&self, row: Option<usize>) -> &str {
        let cell = |row: usize| self.cells.get(row).map_or("", String::as_str);
        row.map_or(&self.title, cell)
    }

    fn padded(&self, row: Option<usize>) -> String {
        let cell = self.cell(row);
        let padding = " ".repeat(self.width().saturating_sub(display_width(cell)));
        match self.align {
            Align::Left => format!("{cell}{padding}"),
            Align::Right => format!("{padding}{cell}"),
        }
    }
}

/// A table: a column of names, and others beside it.
#[derive(Debug, Clone, Copy)]
pub struct Table<'t> {
    names: &'t Column,
    columns: &'t [Column],
    has_titles: bool,
    gap: usize,
}

impl<'t> Table<'t> {
    /// A table of `columns` beside `names`, which has a cell for each row. All stand below their titles.
    pub fn new(names: &'t Column, columns: &'t [Column]) -> Self {
        Self {
            names,
            columns,
            has_titles: true,
            gap: 2,
        }
    }

    /// The same without titles.
    #[must_use]
    pub fn untitled(mut self) -> Self {
        self.has_titles = false;
        self
    }

    /// The same with `gap` spaces between columns, instead of two.
    #[must_use]
    pub fn gap(mut self, gap: usize) -> Self {
        self.gap = gap;
        self
    }

    /// The table in lines of at most `width` columns, as far as each of its columns fits beside the names.
    pub fn text(&self, width: usize) -> String {
        let left = 2 + self.names.width();
        let mut text = String::new();
        let mut rest = self.columns;
        while !rest.is_empty() {
            let mut room = width.saturating_sub(left);
            let fitting = rest.iter().take_while(|column| {
                let needed = column.width() + self.gap;
                let fits = needed <= room;
                room = room.saturating_sub(needed);
                fits
            });
            // One that is too wide for any line stands alone.
            let (block, further) = rest.split_at(fitting.count().max(1));
            if !text.is_empty() {
                text.push('\n');
            }
            self.push_block(&mut text, block);
            rest = further;
        }
        text
    }

    fn push_block(&self, text: &mut String, columns: &[Column]) {
        let title = self.has_titles.then_some(None);
        let rows = (0..self.names.cells.len()).map(Some);
        let gap = " ".repeat(self.gap);
        for row in title.into_iter().chain(rows) {
            let cells = columns.iter().map(|column| column.padded(row));
            let cells: Vec<String> = iter::once(self.names.padded(row)).chain(cells).collect();
            let line = cells.join(&gap);
            let _ = writeln!(text, "  {}", line.trim_end());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_do_not_fit_follow_below() {
        let two = [
            Column::right("init", ["4", "12345..99999"]),
            Column::right("exit", ["1", "-"]),
        ];
        let names = Column::left("kernel", ["kernel_6_12", "kernel_6_14"]);
        let text = Table::new(&names, &two).text(80);
        assert_eq!(
            text,
            "  kernel               init  exit\n  kernel_6_12             4     1\n  kernel_6_14  12345..99999     -\n"
        );
        let many: Vec<_> = (0..9)
            .map(|n| Column::right(format!("program_number_{n}"), ["1", "2"]))
            .collect();
        let text = Table::new(&names, &many).text(80);
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        assert_eq!(
            text.lines()
                .filter(|line| line.contains("kernel_6_12"))
                .count(),
            3
        );
        for n in 0..9 {
            assert_eq!(text.matches(&format!("program_number_{n}")).count(), 1);
        }
        let wide = [Column::right("x".repeat(100), ["1", "2"])];
        assert_eq!(Table::new(&names, &wide).text(80).lines().count(), 3);
        // Nowhere is there room: each stands alone.
        assert_eq!(Table::new(&names, &two).text(0).lines().count(), 7);
    }

    #[test]
    fn a_list_has_no_titles() {
        let names = Column::left("", ["a", "long"]);
        let values = [Column::left("", ["1 ms", "-"])];
        let table = Table::new(&names, &values).untitled();
        assert_eq!(table.text(80), "  a     1 ms\n  long  -\n");
    }

    #[test]
    fn gaps_and_widths_can_be_given() {
        let names = Column::left("KEY", ["a"]).at_least(6);
        let others = [
            Column::left("ARCH", ["x86_64", "left out"]),
            Column::left("BUILT", [""; 0]),
        ];
        let text = Table::new(&names, &others).gap(1).text(usize::MAX);
        assert_eq!(text, "  KEY    ARCH     BUILT\n  a      x86_64\n");
    }

    #[test]
    fn wide_characters_take_their_room() {
        let names = Column::left("", ["漢字", "ab"]);
        let values = [Column::left("", ["1", "2"])];
        let text = Table::new(&names, &values).untitled().text(80);
        assert_eq!(text, "  漢字  1\n  ab    2\n");
    }
}
