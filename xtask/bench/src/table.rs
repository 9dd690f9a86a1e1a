//! Tables, as text for a terminal and as HTML.

use std::fmt::Write as _;

use common::html::escaped;

/// The head of a column of ratios to the baseline. In HTML they have bars.
pub(crate) const RATIO: &str = "/ baseline";

/// A title and rows, of which the first is the head.
#[derive(Debug)]
pub(crate) struct Table {
    title: String,
    rows: Vec<Vec<String>>,
    /// The number of columns that are aligned left.
    left: usize,
}

impl Table {
    /// Columns without text below their head are not shown. The first `left` columns are aligned left, the
    /// others right.
    pub(crate) fn new(title: &str, left: usize, head: &[&str], body: Vec<Vec<String>>) -> Self {
        let has_text = |column: usize| body.iter().any(|row| !row[column].is_empty());
        let shown: Vec<_> = (0..head.len()).map(has_text).collect();
        let mut rows = vec![head.iter().map(ToString::to_string).collect::<Vec<_>>()];
        rows.extend(body);
        for row in &mut rows {
            let mut shown = shown.iter();
            row.retain(|_| shown.next() == Some(&true));
        }
        let title = title.to_owned();
        Self { title, rows, left }
    }

    /// Text of at most `width` characters a line, if possible. Columns that do not fit go below, after the
    /// first column again.
    pub(crate) fn text(&self, width: usize) -> String {
        let width_of = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..self.rows[0].len()).map(width_of).collect();
        let mut text = format!("{}\n", self.title);
        let mut from = 1;
        while from < widths.len() {
            let mut taken = 2 + widths[0];
            let fits = widths[from..].iter().take_while(|column| {
                taken += 2 + **column;
                taken <= width
            });
            // At least one column, or the loop would never end.
            let to = from + fits.count().max(1);
            for row in &self.rows {
                let cell = |column: usize| {
                    let (cell, width) = (&row[column], widths[column]);
                    if column < self.left {
                        return format!("  {cell:width$}");
                    }
                    format!("  {cell:>width$}")
                };
                let line: String = [0].into_iter().chain(from..to).map(cell).collect();
                _ = writeln!(text, "{}", line.trim_end());
            }
            from = to;
        }
        text
    }

    pub(crate) fn html(&self) -> String {
        let cell = |(text, head): (&String, &String)| match text.parse::<f64>() {
            Ok(ratio) if head == RATIO => format!("<td><meter max=4 value={ratio}></meter> {text}"),
            _ => format!("<td>{}", escaped(text)),
        };
        let cells = |row: &Vec<String>| row.iter().zip(&self.rows[0]).map(cell).collect::<String>();
        let rows = self.rows.iter().map(|row| format!("<tr>{}\n", cells(row)));
        format!(
            "<h2>{}</h2>\n<table class=left{}>\n{}</table>\n",
            escaped(&self.title),
            self.left,
            rows.collect::<String>()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(left: usize, rows: &[&[&str]]) -> Table {
        let cells = |row: &&[&str]| row.iter().map(ToString::to_string).collect();
        Table::new("t", left, rows[0], rows[1..].iter().map(cells).collect())
    }

    #[test]
    fn columns_line_up() {
        let rows: &[&[&str]] = &[&["a", "±", "c"], &["long", "1", "22"]];
        let table_of = |left, width| table(left, rows).text(width);
        assert_eq!(table_of(1, 80), "t\n  a     ±   c\n  long  1  22\n");
        assert_eq!(table_of(3, 80), "t\n  a     ±  c\n  long  1  22\n");
        let narrow = "t\n  a     ±\n  long  1\n  a      c\n  long  22\n";
        assert_eq!(table_of(1, 10), narrow);
        assert_eq!(table_of(1, 1), narrow, "one at least");
    }

    #[test]
    fn empty_columns_are_left_out() {
        let rows: &[&[&str]] = &[&["a", "b", "c"], &["1", "", "2"], &["3", "", ""]];
        assert_eq!(table(1, rows).text(80), "t\n  a  c\n  1  2\n  3\n");
    }

    #[test]
    fn html_is_escaped_and_has_bars() {
        let html = table(1, &[&["name", RATIO, "x"], &["<b>", "1.50", "1.60"]]).html();
        let bar = "<td><meter max=4 value=1.5></meter> 1.50<td>1.60\n";
        assert!(html.contains(bar) && html.contains("<tr><td>&lt;b&gt;<td>"), "{html}");
    }
}
