//! HTML parts that charts and tables share.

use std::fmt::Write as _;

use common::html::escaped;

use crate::show::page::chart::COLOURS;

/// A legend: the names of lines, each with its colour.
pub(super) fn legend(html: &mut String, names: &[&str]) {
    html.push_str("<p class=\"legend\">\n");
    for (n, name) in names.iter().enumerate() {
        let (colour, name) = (n % COLOURS, escaped(name));
        _ = writeln!(html, "<span style=\"--line:var(--line{colour})\">{name}</span>");
    }
    html.push_str("</p>\n");
}
