//! Tables that fit.

use std::io::{self, Write};

use super::{Screen, Tone, wrap};

/// What stands between columns.
const GAP: &str = "  ";
/// A column is made no narrower than this, or its head if that is wider, in columns of the terminal.
const NARROWEST: usize = 10;

/// A field of a table: a text, and what it means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(crate) fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self { text: text.into(), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(Tone::Plain, text)
    }
}

/// Rows of a table that belong together, with a line above them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Section<const N: usize> {
    pub(crate) title: String,
    pub(crate) rows: Vec<[Cell; N]>,
}

/// Rows under a head, in columns as wide as they need to be. Where they do not all fit, the widest give way, and what
/// stands in them goes on in the next line.
pub(crate) fn table<const N: usize>(
    out: &mut dyn Write,
    screen: Screen,
    head: [&str; N],
    rows: &[[Cell; N]],
) -> io::Result<()> {
    let widths = widths(screen, head, rows.iter());
    row(out, screen, &widths, &head.map(|name| Cell::new(Tone::Heading, name)))?;
    rows.iter().try_for_each(|cells| row(out, screen, &widths, cells))
}

/// A table in sections, whose columns are the same.
pub(crate) fn sections<const N: usize>(
    out: &mut dyn Write,
    screen: Screen,
    head: [&str; N],
    sections: &[Section<N>],
) -> io::Result<()> {
    let widths = widths(screen, head, sections.iter().flat_map(|section| &section.rows));
    row(out, screen, &widths, &head.map(|name| Cell::new(Tone::Heading, name)))?;
    for (at, section) in sections.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{}", screen.paint(Tone::Heading, screen.wrapped(&section.title, 0)))?;
        section.rows.iter().try_for_each(|cells| row(out, screen, &widths, cells))?;
    }
    Ok(())
}

/// The width of each column.
fn widths<'c, const N: usize>(
    screen: Screen,
    head: [&str; N],
    rows: impl Iterator<Item = &'c [Cell; N]>,
) -> [usize; N] {
    let least = head.map(|name| name.chars().count());
    let mut widths = least;
    for cells in rows {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = cell.text.split('\n').map(|line| line.chars().count()).fold(*width, usize::max);
        }
    }
    let Some(room) = screen.width else { return widths };
    let room = room.saturating_sub(GAP.len() * N.saturating_sub(1));
    while widths.iter().sum::<usize>() > room {
        let shrinkable = widths.iter_mut().zip(least).filter(|(width, least)| **width > NARROWEST.max(*least));
        let Some((widest, _)) = shrinkable.max_by_key(|(width, _)| **width) else { break };
        *widest -= 1;
    }
    widths
}

/// One row, in as many lines as its longest cell needs.
fn row<const N: usize>(out: &mut dyn Write, screen: Screen, widths: &[usize; N], cells: &[Cell; N]) -> io::Result<()> {
    let columns: Vec<Vec<String>> = cells.iter().zip(widths).map(|(cell, width)| wrap(&cell.text, *width)).collect();
    for line in 0..columns.iter().map(Vec::len).max().unwrap_or_default() {
        // Spaces are written when something follows them, so that no line ends with some.
        let mut spaces = 0;
        for ((lines, cell), width) in columns.iter().zip(cells).zip(widths) {
            let text = lines.get(line).map(String::as_str).unwrap_or_default();
            if !text.is_empty() {
                write!(out, "{:spaces$}{}", "", screen.paint(cell.tone, text))?;
                spaces = 0;
            }
            spaces += width - text.chars().count() + GAP.len();
        }
        writeln!(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(screen: Screen, head: [&str; 3], rows: &[[&str; 3]]) -> String {
        let rows: Vec<[Cell; 3]> = rows.iter().map(|cells| cells.map(Cell::from)).collect();
        let mut out = Vec::new();
        table(&mut out, screen, head, &rows).unwrap();
        String::from_utf8(out).unwrap()
    }

    const HEAD: [&str; 3] = ["NAME", "STATE", "WHY"];
    const ROWS: [[&str; 3]; 2] =
        [["bridge", "ready", "all that it needs is there"], ["a", "", "the file /etc/cni/net.d/10-a.conf is missing"]];

    #[test]
    fn without_a_limit_columns_are_as_wide_as_they_need() {
        let expected = "\
NAME    STATE  WHY
bridge  ready  all that it needs is there
a              the file /etc/cni/net.d/10-a.conf is missing
";
        assert_eq!(text(Screen::default(), HEAD, &ROWS), expected);
    }

    #[test]
    fn the_widest_column_gives_way() {
        let screen = Screen { width: Some(36), ..Screen::default() };
        let expected = "\
NAME    STATE  WHY
bridge  ready  all that it needs is
               there
a              the file
               /etc/cni/net.d/10-
               a.conf is missing
";
        let table = text(screen, HEAD, &ROWS);
        assert_eq!(table, expected);
        assert!(table.lines().all(|line| line.chars().count() <= 36), "{table}");
    }

    #[test]
    fn sections_share_their_columns() {
        let section = |title: &str, rows: &[[&str; 2]]| Section {
            title: title.to_owned(),
            rows: rows.iter().map(|cells| cells.map(Cell::from)).collect(),
        };
        let both = [section("one:", &[["a", "1"]]), section("the other:", &[["bbbb", "2"], ["c", "3"]])];
        let mut out = Vec::new();
        sections(&mut out, Screen::default(), ["A", "B"], &both).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "A     B\none:\na     1\n\nthe other:\nbbbb  2\nc     3\n");
    }

    #[test]
    fn heads_are_never_broken() {
        let screen = Screen { width: Some(20), ..Screen::default() };
        let table = text(screen, ["A-LONG-HEADING", "ANOTHER-HEADING", "C"], &[["x", "y", "a b c d e f g h i j k"]]);
        assert!(table.starts_with("A-LONG-HEADING  ANOTHER-HEADING  C\n"), "{table}");
    }

    #[test]
    fn colour_does_not_count_as_width() {
        let screen = Screen { colour: true, ..Screen::default() };
        let rows = [[Cell::new(Tone::Ok, "up"), Cell::from("x")], [Cell::new(Tone::Error, "down"), Cell::from("y")]];
        let mut out = Vec::new();
        table(&mut out, screen, ["S", "N"], &rows).unwrap();
        let plain = anstyle_free(&String::from_utf8(out).unwrap());
        assert_eq!(plain, "S     N\nup    x\ndown  y\n");
    }

    fn anstyle_free(text: &str) -> String {
        text.split('\u{1b}')
            .enumerate()
            .map(|(i, part)| if i == 0 { part } else { part.split_once('m').unwrap().1 })
            .collect()
    }
}
