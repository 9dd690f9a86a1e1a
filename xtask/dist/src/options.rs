//! The reference of all options, `docs/options*.md`, generated from the tables of options.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use common::args::{Page, Row};

/// A document of the reference, in the folder `docs`.
struct Document {
    file: &'static str,
    title: &'static str,
    /// What precedes the sections, in Markdown.
    about: &'static str,
    /// The names of the pages, each a section.
    pages: &'static [&'static str],
}

const DOCUMENTS: [Document; 3] = [
    Document {
        file: "options.md",
        title: "Options of server and launcher",
        about: "\
Every option of `server` and `launcher`, with its default, and the options that several programs share.
[options-client.md](options-client.md) has those of `client`, `client send` and `client read`,
[options-load.md](options-load.md) those of `client load`, `verify` and `report`.

An option takes one dash or two, and its value after a space or `=`. Times are `500ms`, `5s`, `1.5m`, `24h`; a bare
number is seconds. Sizes are `4096`, `64K`, `1M`; a bare number is bytes. IPv6 addresses may have brackets. Installed
programs are called `line-log-server`, `line-log-client` and `line-log-launcher`.
",
        pages: &["server", "launcher"],
    },
    Document {
        file: "options-client.md",
        title: "Options of client, client send and client read",
        about: "\
Every option, with its default. [options.md](options.md) says how options are written.
",
        pages: &["client", "client send", "client read"],
    },
    Document {
        file: "options-load.md",
        title: "Options of client load, verify and report",
        about: "\
Every option, with its default. [options.md](options.md) says how options are written.
",
        pages: &["client load", "client verify", "client report"],
    },
];

const GENERATED: &str =
    "<!-- Generated: edit the tables of options, then run `cargo xtask dist options`. -->";

/// The names of the pages that have the same option.
type Owners<'a> = Vec<&'a str>;

/// All documents: paths relative to the root, and texts in Markdown.
pub(crate) fn render(pages: &[Page]) -> Vec<(String, String)> {
    let documents = DOCUMENTS.iter();
    let rendered = documents.map(|document| (path(document.file), text(document, pages)));
    rendered.collect()
}

fn path(file: &str) -> String {
    format!("docs/{file}")
}

fn text(document: &Document, pages: &[Page]) -> String {
    let mut text = format!("# {}\n\n{GENERATED}\n\n{}", document.title, document.about);
    let mut shared: BTreeMap<Owners<'_>, Vec<&Row>> = BTreeMap::new();
    let own = |page: &&Page| document.pages.contains(&page.name.as_str());
    for page in pages.iter().filter(own) {
        section(&mut text, page, pages);
        for row in &page.options {
            let owners = owners(row, pages);
            // The page that has the option first also has it in its document.
            if owners.len() > 1 && owners[0] == page.name {
                shared.entry(owners).or_default().push(row);
            }
        }
    }
    for (owners, rows) in &shared {
        _ = writeln!(text, "\n## {}\n", heading(owners, pages));
        for row in rows {
            text.push_str(&item(row));
        }
    }
    text
}

/// The section of a page, with links to the options that other pages have as well.
fn section(text: &mut String, page: &Page, pages: &[Page]) {
    _ = writeln!(
        text,
        "\n## {}\n\n`{} {}`\n\n{}\n",
        page.name,
        page.name,
        page.usage,
        escaped(&page.about)
    );
    let mut elsewhere = Vec::new();
    for row in &page.options {
        let owners = owners(row, pages);
        if owners.len() == 1 {
            text.push_str(&item(row));
        } else if !elsewhere.contains(&owners) {
            elsewhere.push(owners);
        }
    }
    for owners in elsewhere {
        let heading = heading(&owners, pages);
        let file = if file_of(owners[0]) == file_of(&page.name) { "" } else { file_of(owners[0]) };
        _ = writeln!(text, "- [{heading}]({file}#{})", anchor(&heading));
    }
    if !page.notes.is_empty() {
        _ = writeln!(text, "\n{}", escaped(&page.notes).replace('\n', "\n\n"));
    }
}

/// The document that has the section of a page.
fn file_of(page: &str) -> &'static str {
    let mut documents = DOCUMENTS.iter();
    let document = documents.find(|document| document.pages.contains(&page));
    document.map_or("", |document| document.file)
}

/// The pages that have an option with the same names, value and help.
fn owners<'a>(row: &Row, pages: &'a [Page]) -> Owners<'a> {
    let has = |page: &&Page| {
        let mut rows = page.options.iter();
        rows.any(|other| {
            (other.names, other.value, &other.help) == (row.names, row.value, &row.help)
        })
    };
    pages.iter().filter(has).map(|page| page.name.as_str()).collect()
}

fn heading(owners: &Owners<'_>, pages: &[Page]) -> String {
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
    format!("- `{}`: {}\n", row.label(), escaped(&row.help))
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
    use common::program::Names;

    use super::*;

    #[test]
    fn the_reference_is_what_the_tables_say() {
        for (path, rendered) in render(&crate::pages::all(&Names::default())) {
            let written =
                std::fs::read_to_string(crate::project::root().join(&path)).unwrap_or_default();
            let lines = written.lines().zip(rendered.lines());
            let line = lines.take_while(|(old, new)| old == new).count() + 1;
            assert!(
                written == rendered,
                "{path} is out of date from line {line} on; renew it: cargo xtask dist options"
            );
        }
    }

    #[test]
    fn every_option_of_every_page_is_there() {
        let pages = crate::pages::all(&Names::default());
        let texts: String = render(&pages).into_iter().map(|(_, text)| text).collect();
        for page in &pages {
            let section = format!("\n## {}\n", page.name);
            assert_eq!(texts.matches(&section).count(), 1, "{}", page.name);
            for row in &page.options {
                assert!(texts.contains(&item(row)), "{} {:?}", page.name, row.names);
            }
        }
    }

    #[test]
    fn help_is_no_markup() {
        assert_eq!(escaped(r"\n *a* [b] _c_"), r"\\n \*a\* \[b\] \_c\_");
        assert_eq!(anchor("Options of a, b c and d"), "options-of-a-b-c-and-d");
    }
}
