//! The reference of all options, `docs/options.md`, generated from the tables of options.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use common::args::{Page, Row};

/// The path of the reference, relative to the root.
pub(crate) const PATH: &str = "docs/options.md";

const TITLE: &str = "\
# Options

<!-- Generated: edit the tables of options, then run `cargo xtask dist options`. -->

Every option of every program, with its default. An option takes one dash or two, and its value after a space or `=`.
Times are `500ms`, `5s`, `1.5m`, `24h`; a bare number is seconds. Sizes are `4096`, `64K`, `1M`; a bare number is bytes.
IPv6 addresses may have brackets. Installed programs are called `line-log-server`, `line-log-client` and
`line-log-launcher`.
";

/// The names of the pages that have the same option.
type Owners = Vec<&'static str>;

/// The reference in Markdown. An option that is the same on several pages appears once.
pub(crate) fn render(pages: &[Page]) -> String {
    let mut text = TITLE.to_owned();
    let mut shared: BTreeMap<Owners, Vec<&Row>> = BTreeMap::new();
    for page in pages {
        section(&mut text, page, pages, &mut shared);
    }
    for (owners, rows) in &shared {
        _ = writeln!(text, "\n## {}\n", heading(owners, pages));
        for row in rows {
            text.push_str(&item(row));
        }
    }
    text
}

/// The section of a page; options that other pages have as well go to `shared`.
fn section<'a>(
    text: &mut String,
    page: &'a Page,
    pages: &[Page],
    shared: &mut BTreeMap<Owners, Vec<&'a Row>>,
) {
    _ = writeln!(
        text,
        "\n## {}\n\n`{} {}`\n\n{}\n",
        page.name,
        page.name,
        page.usage,
        escaped(page.about)
    );
    let mut elsewhere = Vec::new();
    for row in &page.options {
        let owners = owners(row, pages);
        if owners.len() == 1 {
            text.push_str(&item(row));
            continue;
        }
        if owners[0] == page.name {
            shared.entry(owners.clone()).or_default().push(row);
        }
        if !elsewhere.contains(&owners) {
            elsewhere.push(owners);
        }
    }
    for owners in elsewhere {
        let heading = heading(&owners, pages);
        _ = writeln!(text, "- [{heading}](#{})", anchor(&heading));
    }
    if !page.notes.is_empty() {
        _ = writeln!(text, "\n{}", escaped(page.notes).replace('\n', "\n\n"));
    }
}

/// The pages that have an option with the same names, value and help.
fn owners(row: &Row, pages: &[Page]) -> Owners {
    let has = |page: &&Page| {
        let mut rows = page.options.iter();
        rows.any(|other| (other.names, other.value, other.help) == (row.names, row.value, row.help))
    };
    pages.iter().filter(has).map(|page| page.name).collect()
}

fn heading(owners: &Owners, pages: &[Page]) -> String {
    match owners.split_last() {
        Some((last, others)) if owners.len() < pages.len() => {
            format!("Options of {} and {last}", others.join(", "))
        }
        _ => "Options of all programs".to_owned(),
    }
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    heading.to_lowercase().replace(',', "").replace(' ', "-")
}

fn item(row: &Row) -> String {
    let names: Vec<_> = row.names.iter().map(|name| format!("-{name}")).collect();
    let label = format!("{} {}", names.join(", "), row.value);
    format!("- `{}`: {}\n", label.trim_end(), escaped(row.help))
}

/// The text with Markdown's special characters escaped.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '<' | '[' | ']') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_is_what_the_tables_say() {
        let path = crate::root().join(PATH);
        let written = std::fs::read_to_string(path).unwrap_or_default();
        let rendered = render(&crate::pages::all());
        let lines = written.lines().zip(rendered.lines());
        let line = lines.take_while(|(old, new)| old == new).count() + 1;
        assert!(
            written == rendered,
            "{PATH} is out of date from line {line} on; renew it: cargo xtask dist options"
        );
    }

    #[test]
    fn every_option_of_every_page_is_there() {
        let pages = crate::pages::all();
        let text = render(&pages);
        for page in &pages {
            assert!(text.contains(&format!("\n## {}\n", page.name)));
            for row in &page.options {
                assert!(text.contains(&item(row)), "{} {:?}", page.name, row.names);
            }
        }
    }

    #[test]
    fn help_is_no_markup() {
        assert_eq!(escaped(r"\n *a* [b] _c_"), r"\\n \*a\* \[b\] \_c\_");
        assert_eq!(anchor("Options of a, b c and d"), "options-of-a-b-c-and-d");
    }
}
