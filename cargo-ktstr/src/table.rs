//! Tables of text, for a terminal of any width.

use std::fmt::Write;

/// On which side of a column its cells stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A column of a table.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    title: String,
    /// One per row.
    cells: Vec<String>,
    align: Align,
}

impl Column {
    pub(crate) fn new(
        title: impl Into<String>,
        align: Align,
        cells: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self {
            title: title.into(),
            cells: cells.into_iter().map(Into::into).collect(),
            align,
        }
    }

    fn width(&self) -> usize {
        let cells = self.cells.iter().chain([&self.title]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    }

    /// The cell of a row, or the title above the first one.
    fn cell(&self, row: Option<usize>) -> &str {
        row.map_or(&self.title, |row| &self.cells[row])
    }

    fn padded(&self, row: Option<usize>) -> String {
        let (cell, width) = (self.cell(row), self.width());
        match self.align {
            Align::Left => format!("{cell:<width$}"),
            Align::Right => format!("{cell:>width$}"),
        }
    }
}

/// The rows of `columns`, below their titles, for a terminal of that width; `names` stand left of them.
///
/// Columns that do not fit beside each other follow below, again with the names of the rows.
pub(crate) fn table(names: &Column, columns: &[Column], width: usize) -> String {
    let left = names.width() + 2;
    let mut text = String::new();
    let mut rest = columns;
    while !rest.is_empty() {
        let mut room = width.saturating_sub(left);
        let fitting = rest.iter().take_while(|column| {
            let needed = column.width() + 2;
            let fits = needed <= room;
            room = room.saturating_sub(needed);
            fits
        });
        // One that is too wide for any line stands alone.
        let (block, further) = rest.split_at(fitting.count().max(1));
        if !text.is_empty() {
            text.push('\n');
        }
        let rows = std::iter::once(None).chain((0..names.cells.len()).map(Some));
        for row in rows {
            push_row(&mut text, names, block, row);
        }
        rest = further;
    }
    text
}

/// Like [`table`], of one column beside the names and without titles.
pub(crate) fn list(names: &Column, values: &Column) -> String {
    let mut text = String::new();
    for row in 0..names.cells.len() {
        push_row(&mut text, names, std::slice::from_ref(values), Some(row));
    }
    text
}

fn push_row(text: &mut String, names: &Column, columns: &[Column], row: Option<usize>) {
    let mut line = format!("  {}", names.padded(row));
    for column in columns {
        let _ = write!(line, "  {}", column.padded(row));
    }
    let _ = writeln!(text, "{}", line.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(title: &str, cells: &[&str]) -> Column {
        Column::new(title, Align::Right, cells.iter().copied())
    }

    #[test]
    fn columns_that_do_not_fit_follow_below() {
        let two = [
            right("init", &["4", "12345..99999"]),
            right("exit", &["1", "-"]),
        ];
        let names = Column::new("kernel", Align::Left, ["kernel_6_12", "kernel_6_14"]);
        let text = table(&names, &two, 80);
        assert_eq!(
            text,
            "  kernel               init  exit\n  kernel_6_12             4     1\n  kernel_6_14  12345..99999     -\n"
        );
        let many: Vec<_> = (0..9)
            .map(|n| right(&format!("program_number_{n}"), &["1", "2"]))
            .collect();
        let text = table(&names, &many, 80);
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
        let wide = table(&names, &[right(&"x".repeat(100), &["1", "2"])], 80);
        assert_eq!(wide.lines().count(), 3);
    }

    #[test]
    fn a_list_has_no_titles() {
        let names = Column::new("", Align::Left, ["a", "long"]);
        let values = Column::new("", Align::Left, ["1 ms", "-"]);
        assert_eq!(list(&names, &values), "  a     1 ms\n  long  -\n");
    }
}
