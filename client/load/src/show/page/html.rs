//! What charts and tables share.

use std::fmt::Write as _;

use crate::show::page::chart::COLOURS;

/// The names of lines, each with its colour.
pub(super) fn legend(html: &mut String, names: &[&str]) {
    html.push_str("<p class=\"legend\">\n");
    for (n, name) in names.iter().enumerate() {
        let (colour, name) = (n % COLOURS, escaped(name));
        _ = writeln!(
            html,
            "<span style=\"--line:var(--line{colour})\">{name}</span>"
        );
    }
    html.push_str("</p>\n");
}

/// Text that came from anywhere, safe between tags and in attributes.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
