//! A program's command line as data, whatever it makes of it: for manuals and for shells that complete.

use super::Command;

/// What can be typed, and what it means.
#[derive(Clone, Debug)]
pub struct Page {
    /// As typed, e.g. `client load`.
    pub name: &'static str,
    /// What follows the name.
    pub usage: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// Words in the place of options, and what they do.
    pub commands: &'static [(&'static str, &'static str)],
    /// Its options.
    pub options: Vec<Row>,
    /// It takes arguments that are no options.
    pub has_operands: bool,
    /// What to type, and what that does.
    pub examples: &'static [(&'static str, &'static str)],
    /// Closing lines.
    pub notes: &'static str,
}

/// An option.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its names, without dashes.
    pub names: &'static [&'static str],
    /// What its value is called; empty for a switch.
    pub value: &'static str,
    /// What it does.
    pub help: &'static str,
}

impl<T> Command<T> {
    /// All of it, those options included that every program has.
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
