//! The help text.

use std::fmt::Write as _;

use super::{Command, Opt};

/// Help texts fit a terminal of this many columns.
const COLUMNS: usize = 80;

impl Command {
    /// The help text, ended by a newline, at most 80 columns wide.
    pub fn help(&self) -> String {
        let mut text = format!("Usage: {} {}\n\n", self.name, self.usage);
        wrap(&mut text, "", "", self.about);
        text.push_str("\nOptions:\n");
        let about_these: [Opt; 2] = [
            Opt {
                names: &["h", "help"],
                value: "",
                help: "show this text and exit",
            },
            Opt {
                names: &["V", "version"],
                value: "",
                help: "show the version and exit",
            },
        ];
        let all = || self.options.iter().chain(&about_these);
        let width = all().map(|opt| opt.label().len()).max().unwrap_or(0) + 4;
        for opt in all() {
            let label = format!("{:width$}", format!("  {}", opt.label()));
            wrap(&mut text, &label, &" ".repeat(width), opt.help);
        }
        text.push_str(
            "\nEvery option takes one dash or two, and its value after a space or '='.\n",
        );
        if !self.examples.is_empty() {
            text.push_str("\nExamples:\n");
        }
        for (command, meaning) in self.examples {
            _ = writeln!(text, "  {command}");
            wrap(&mut text, "      ", "      ", meaning);
        }
        if !self.notes.is_empty() {
            text.push('\n');
            for line in self.notes.lines() {
                wrap(&mut text, "", "  ", line);
            }
        }
        text
    }
}

impl Opt {
    fn label(&self) -> String {
        let names: Vec<_> = self.names.iter().map(|name| format!("-{name}")).collect();
        let names = names.join(", ");
        match self.value {
            "" => names,
            value => format!("{names} {value}"),
        }
    }
}

/// Appends `words` to `text` in lines of at most [`COLUMNS`], the first led by `first`, the others
/// by `rest`.
fn wrap(text: &mut String, first: &str, rest: &str, words: &str) {
    let mut line = first.to_owned();
    let mut lead = first.len();
    for word in words.split_whitespace() {
        let space = usize::from(line.len() > lead);
        if space == 1 && line.chars().count() + 1 + word.chars().count() > COLUMNS {
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
        wrap(&mut text, "  -a  ", "      ", &"word ".repeat(40));
        assert!(text.lines().count() > 1);
        assert!(text.lines().all(|line| line.len() <= COLUMNS));
        assert!(
            text.lines()
                .skip(1)
                .all(|line| line.starts_with("      word"))
        );
    }
}
