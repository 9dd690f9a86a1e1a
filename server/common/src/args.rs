//! The option syntax of all programs: one dash or two, `-opt value` or `-opt=value`, `-h`/`-help`,
//! `-V`/`-version`.
//!
//! A program describes itself as a [`Command`], a table that the parser, the help text and the tests use. A
//! row holds an option's names, help and effect. [`Command::read`] parses a command line into the program's
//! options. An [`ArgValue`] parses the value of an option.

mod arg_value;
mod command;
mod help;
mod lexer;
mod page;
mod quantity;

pub use self::arg_value::{ArgValue, UsageError, switch};
pub use self::command::{Command, EXIT_USAGE, Opt, Parsed, Take, nearest, print};
pub use self::help::columns;
pub use self::page::{Page, Row};
pub use self::quantity::MAX_TIME;
