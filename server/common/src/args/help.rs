//! The help text.

use std::fmt::Write as _;
use std::io;
use std::ops::RangeInclusive;

use rustix::termios::tcgetwinsize;

use super::page::Page;

/// The width of help texts if that of the terminal is unknown.
const COLUMNS: usize = 80;

/// Longer lines are hard to read, and shorter ones have no room for an option and its help.
const USUAL_COLUMNS: RangeInclusive<usize> = 40..=110;

impl Page {
    /// The help text in lines of at most `columns`, unless a word is longer.
    pub fn help(&self, columns: usize) -> String {
        let mut text = String::new();
        wrap(&mut text, columns, "Usage: ", "       ", &format!("{} {}", self.name, self.usage));
        text.push('\n');
        wrap(&mut text, columns, "", "", &self.about);
        if !self.commands.is_empty() {
            text.push_str("\nCommands:\n");
            let rows = self.commands.iter();
            let rows = rows.map(|&(name, about)| (format!("{} {name}", self.name), about));
            table(&mut text, columns, &rows.collect::<Vec<_>>());
        }
        text.push_str("\nOptions:\n");
        let rows = self.options.iter();
        let rows: Vec<_> = rows.map(|row| (row.label(), row.help.as_str())).collect();
        table(&mut text, columns, &rows);
        text.push('\n');
        let spelling = "Every option takes one dash or two, and its value after a space or '='.";
        wrap(&mut text, columns, "", "", spelling);
        if !self.examples.is_empty() {
            text.push_str("\nExamples:\n");
        }
        for (command, meaning) in &self.examples {
            _ = writeln!(text, "  {command}");
            wrap(&mut text, columns, "      ", "      ", meaning);
        }
        if !self.notes.is_empty() {
            text.push('\n');
            for line in self.notes.lines() {
                wrap(&mut text, columns, "", "  ", line);
            }
        }
        text
    }
}

/// The width of the terminal: COLUMNS, or else that of the terminal on stdout.
pub fn columns() -> usize {
    let given = std::env::var("COLUMNS").ok();
    let given = given.and_then(|columns| columns.parse::<usize>().ok());
    let measured = || {
        let size = tcgetwinsize(io::stdout()).ok()?;
        Some(usize::from(size.ws_col)).filter(|&columns| columns > 0)
    };
    let columns = given.or_else(measured).unwrap_or(COLUMNS);
    columns.clamp(*USUAL_COLUMNS.start(), *USUAL_COLUMNS.end())
}

/// Appends names and descriptions in two columns. If the second one would be narrow, the description follows
/// on a line of its own.
fn table(text: &mut String, columns: usize, rows: &[(String, &str)]) {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max();
    let width = width.unwrap_or(0) + 4;
    for (name, about) in rows {
        if width <= columns / 2 {
            let label = format!("{:width$}", format!("  {name}"));
            wrap(text, columns, &label, &" ".repeat(width), about);
        } else {
            _ = writeln!(text, "  {name}");
            wrap(text, columns, "      ", "      ", about);
        }
    }
}

/// Appends `words` to `text` in lines of at most `columns`. The first line begins with `first`, the others
/// with `rest`.
fn wrap(text: &mut String, columns: usize, first: &str, rest: &str, words: &str) {
    let mut line = first.to_owned();
    let mut lead = first.len();
    for word in words.split_whitespace() {
        let space = usize::from(line.len() > lead);
        if space == 1 && line.chars().count() + 1 + word.chars().count() > columns {
            _ = writeln!(text, "{line}");
            rest.clone_into(&mut line);
            lead = rest.len();
        } else if space == 1 {
            line.push(' ');
        }
        line.push_str(word);
    }
    _ = writeln!(text, "{}", line.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_help_is_wrapped() {
        let mut text = String::new();
        wrap(&mut text, 80, "  -a  ", "      ", &"word ".repeat(40));
        assert!(text.lines().count() > 1);
        assert!(text.lines().all(|line| line.len() <= 80));
        assert!(text.lines().skip(1).all(|line| line.starts_with("      word")));
    }
}
