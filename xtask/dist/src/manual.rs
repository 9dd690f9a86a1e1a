//! Manual pages, in section 1.

use common::args::{Page, Row};
use roff::{Inline, Roff, bold, italic, roman};

/// The name of a page's file: `line-log-client-load.1`.
pub(crate) fn file_name(page: &Page) -> String {
    format!("{}.1", title(page))
}

fn title(page: &Page) -> String {
    page.name.replace(' ', "-")
}

/// The manual of a page. `others` are all pages; related ones go under SEE ALSO.
pub(crate) fn render(page: &Page, others: &[Page]) -> String {
    let mut manual = Roff::new();
    let title = title(page);
    let version = format!("line-log {}", env!("CARGO_PKG_VERSION"));
    manual.control("TH", [title.to_uppercase().as_str(), "1", "", &version, ""]);
    manual.control("SH", ["NAME"]);
    let first = page.about.split([':', '.', ',']).next().unwrap_or_default();
    manual.text([roman(format!("{title} - {}", lower_first(first)))]);
    manual.control("SH", ["SYNOPSIS"]);
    manual.text([bold(&page.name), roman(format!(" {}", page.usage))]);
    manual.control("SH", ["DESCRIPTION"]);
    manual.text([roman(&page.about)]);
    if !page.commands.is_empty() {
        manual.control("SH", ["COMMANDS"]);
        for (name, about) in page.commands {
            let name = format!("{} {name}", page.name);
            entry(&mut manual, vec![bold(name)], about);
        }
    }
    manual.control("SH", ["OPTIONS"]);
    let spelling = "Every option takes one dash or two, and its value after a space or '='.";
    manual.text([roman(spelling)]);
    for row in &page.options {
        entry(&mut manual, label(row), &row.help);
    }
    if !page.examples.is_empty() {
        manual.control("SH", ["EXAMPLES"]);
        for (command, meaning) in &page.examples {
            entry(&mut manual, vec![bold(command)], meaning);
        }
    }
    notes(&mut manual, page);
    see_also(&mut manual, page, others);
    manual.render()
}

fn entry(manual: &mut Roff, term: Vec<Inline>, text: &str) {
    manual.control("TP", []);
    manual.text(term);
    manual.text([roman(text)]);
}

fn label(row: &Row) -> Vec<Inline> {
    let mut label = Vec::new();
    for (index, name) in row.names.iter().enumerate() {
        if index > 0 {
            label.push(roman(", "));
        }
        label.push(bold(format!("-{name}")));
    }
    if !row.value.is_empty() {
        label.extend([roman(" "), italic(row.value)]);
    }
    label
}

/// Each line of the notes is a paragraph; that about exit codes gets its own heading.
fn notes(manual: &mut Roff, page: &Page) {
    let (codes, others): (Vec<_>, Vec<_>) =
        page.notes.lines().partition(|line| line.starts_with("Exit codes: "));
    for (heading, lines) in [("NOTES", others), ("EXIT STATUS", codes)] {
        if lines.is_empty() {
            continue;
        }
        manual.control("SH", [heading]);
        for line in lines {
            let line = line.trim_start_matches("Exit codes: ");
            manual.control("PP", []);
            manual.text([roman(line)]);
        }
    }
}

fn see_also(manual: &mut Roff, page: &Page, others: &[Page]) {
    let names = others.iter().filter(|other| other.name != page.name).map(title);
    let mut inlines = Vec::new();
    for name in names {
        if !inlines.is_empty() {
            inlines.push(roman(", "));
        }
        inlines.extend([bold(name), roman("(1)")]);
    }
    manual.control("SH", ["SEE ALSO"]);
    manual.text(inlines);
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}
