//! A program's command line as data, for man pages and shell completions.

use super::Command;

/// The command line of a program or a subcommand.
#[derive(Clone, Debug)]
pub struct Page {
    /// As typed, e.g. `client load`.
    pub name: &'static str,
    /// What follows the name.
    pub usage: &'static str,
    /// The purpose.
    pub about: &'static str,
    /// Subcommands, and what they do.
    pub commands: &'static [(&'static str, &'static str)],
    /// The options.
    pub options: Vec<Row>,
    /// Whether it takes operands.
    pub has_operands: bool,
    /// Example commands, and what they do.
    pub examples: &'static [(&'static str, &'static str)],
    /// The last lines.
    pub notes: &'static str,
}

/// An option.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its names, without dashes.
    pub names: &'static [&'static str],
    /// The name of its value; empty for a switch.
    pub value: &'static str,
    /// Its effect and default.
    pub help: &'static str,
}

impl<T> Command<T> {
    /// The whole command line, with the options that every program has.
    pub fn page(&self) -> Page {
        let own = self.options.iter().map(|option| Row {
            names: option.names,
            value: option.value,
            help: option.help,
        });
        let about_these = [
            Row {
                names: &["help", "h"],
                value: "",
                help: "show what can be typed, and exit",
            },
            Row {
                names: &["version", "V"],
                value: "",
                help: "show the version, and exit",
            },
        ];
        Page {
            name: self.name,
            usage: self.usage,
            about: self.about,
            commands: self.commands,
            options: own.chain(about_these).collect(),
            has_operands: self.operand.is_some(),
            examples: self.examples,
            notes: self.notes,
        }
    }
}
