//! Tables: fitted to a terminal for people; for programs lines of whole values, with tabs between them.

use console::{Term, measure_text_width, pad_str, style, truncate_str};

/// Space between two columns.
const GAP: usize = 2;
/// Narrowest terminal that is fitted to.
const NARROWEST: usize = 40;

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Head.
    pub head: &'static str,
    /// Narrowest width to which it may be cut where the terminal is too small; `None`: it stays whole.
    pub least: Option<usize>,
    /// True if numbers stand in it.
    pub right: bool,
    /// True if it is cut at its beginning: the end of a path tells more.
    pub is_path: bool,
}

/// A column that stays whole.
pub const fn whole(head: &'static str) -> Column {
    Column { head, least: None, right: false, is_path: false }
}

/// A column of numbers.
pub const fn number(head: &'static str) -> Column {
    Column { head, least: None, right: true, is_path: false }
}

/// A column of texts that may be cut to this width.
pub const fn text(head: &'static str, least: usize) -> Column {
    Column { head, least: Some(least), right: false, is_path: false }
}

/// A column of paths that may be cut to this width.
pub const fn path(head: &'static str, least: usize) -> Column {
    Column { head, least: Some(least), right: false, is_path: true }
}

/// A value, and its colour.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    style: fn(String) -> String,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), style: |text| text }
    }
}

impl Cell {
    /// A value in a colour.
    pub fn styled(text: impl Into<String>, style: fn(String) -> String) -> Self {
        Self { text: text.into(), style }
    }
}

/// True if the output is for people: a terminal shows it.
pub fn is_for_people() -> bool {
    Term::stdout().is_term()
}

/// Prints rows: a table on a terminal, else lines of values.
pub fn print(columns: &[Column], rows: &[Vec<Cell>]) {
    if is_for_people() {
        lines(columns, rows, usize::from(Term::stdout().size().1)).iter().for_each(|line| println!("{line}"));
    } else {
        for row in rows {
            let values: Vec<&str> = row.iter().map(|cell| cell.text.as_str()).collect();
            println!("{}", values.join("\t"));
        }
    }
}

/// The lines of a table, at most `width` wide.
pub fn lines(columns: &[Column], rows: &[Vec<Cell>], width: usize) -> Vec<String> {
    let widths = fit(columns, rows, width.max(NARROWEST));
    let line = |cells: &mut dyn Iterator<Item = (String, fn(String) -> String)>| {
        let cells = cells.zip(columns).zip(&widths).map(|(((text, style), column), width)| {
            let side = if column.right { console::Alignment::Right } else { console::Alignment::Left };
            let text =
                if column.is_path { keep_end(&text, *width) } else { truncate_str(&text, *width, "…").into_owned() };
            style(pad_str(&text, *width, side, None).into_owned())
        });
        cells.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned()
    };
    let head = line(
        &mut columns
            .iter()
            .map(|column| (column.head.to_owned(), (|text| style(text).dim().to_string()) as fn(String) -> String)),
    );
    let rows = rows.iter().map(|row| line(&mut row.iter().map(|cell| (cell.text.clone(), cell.style))));
    std::iter::once(head).chain(rows).collect()
}

/// The end of a text, as far as it fits.
fn keep_end(text: &str, width: usize) -> String {
    if measure_text_width(text) <= width {
        return text.to_owned();
    }
    let mut end = text.char_indices().map(|(at, _)| &text[at..]);
    format!("…{}", end.find(|end| measure_text_width(end) < width).unwrap_or_default())
}

/// Widths of the columns: what is too much is taken from those that may be cut, the widest first.
fn fit(columns: &[Column], rows: &[Vec<Cell>], width: usize) -> Vec<usize> {
    let mut widths: Vec<usize> = columns.iter().map(|column| measure_text_width(column.head)).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(measure_text_width(&cell.text));
        }
    }
    let all = |widths: &[usize]| widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
    while all(&widths) > width {
        let may_give = |at: &usize| columns[*at].least.is_some_and(|least| widths[*at] > least);
        let Some(widest) = (0..columns.len()).filter(may_give).max_by_key(|at| widths[*at]) else { break };
        widths[widest] -= 1;
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[whole("ID"), text("TASK", 8), path("FOLDER", 6), number("COST")];

    fn rows() -> Vec<Vec<Cell>> {
        let row = |cells: [&str; 4]| cells.map(Cell::from).to_vec();
        vec![
            row(["00e652b3", "Mend the failing test of the lease", "~/project", "$0.31"]),
            row(["1b", "日本語の長い説明です", "…/a/long/way/down", "$12.00"]),
        ]
    }

    #[test]
    fn a_table_fits_its_terminal_and_nothing_is_cut_that_has_room() {
        for width in [40, 60, 80, 140] {
            let lines = lines(COLUMNS, &rows(), width);
            assert!(lines.iter().all(|line| measure_text_width(line) <= width), "{width}: {lines:#?}");
            let ends: Vec<usize> = lines.iter().map(|line| measure_text_width(line)).collect();
            assert!(ends.iter().all(|end| *end == ends[0]), "numbers stand below each other: {lines:#?}");
        }
        let wide = lines(COLUMNS, &rows(), 140).join("\n");
        assert!(wide.contains("Mend the failing test of the lease") && wide.contains("…/a/long/way/down"), "{wide}");
        assert!(lines(COLUMNS, &rows(), 60).join("\n").contains("Mend the fail"));
        assert!(lines(COLUMNS, &rows(), 50).join("\n").contains("way/down"), "the end of a path stays");
    }
}
