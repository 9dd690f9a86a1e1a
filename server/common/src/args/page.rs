//! A program's command line as data, for help texts, man pages and shell completions.

/// The command line of a program or a subcommand.
#[derive(Clone, Debug)]
pub struct Page {
    /// As typed, e.g. `line-log-client load`.
    pub name: String,
    /// What follows the name.
    pub usage: &'static str,
    /// The purpose.
    pub about: String,
    /// Subcommands, and what they do.
    pub commands: &'static [(&'static str, &'static str)],
    /// The options.
    pub options: Vec<Row>,
    /// Whether it takes operands.
    pub has_operands: bool,
    /// Example commands, and what they do.
    pub examples: Vec<(String, String)>,
    /// The last lines.
    pub notes: String,
}

/// An option.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its names, without dashes.
    pub names: &'static [&'static str],
    /// The name of its value; empty for a switch.
    pub value: &'static str,
    /// Its effect and default.
    pub help: String,
}

impl Row {
    /// The options that every program has.
    pub(super) fn of_every_program() -> [Self; 2] {
        let row = |names, help: &str| Self { names, value: "", help: help.to_owned() };
        [
            row(&["h", "help"], "show this help and exit"),
            row(&["V", "version"], "show the version and exit"),
        ]
    }

    /// The names and the value: `-h, -help`, `-port PORT`.
    pub fn label(&self) -> String {
        let names: Vec<_> = self.names.iter().map(|name| format!("-{name}")).collect();
        let label = format!("{} {}", names.join(", "), self.value);
        label.trim_end().to_owned()
    }
}
