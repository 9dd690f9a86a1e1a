//! Names of the programs. A program that is installed as `line-log-server` calls itself so, and the other
//! programs `line-log-client` and `line-log-launcher`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::OnceLock;

use crate::record::one_line;

/// The programs, by the names with which they are built.
pub const PROGRAMS: [&str; 3] = ["server", "client", "launcher"];

/// The names of the programs as people type them. By default these are the names with which they are built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// What stands before the name of every program.
    prefix: String,
    /// A program whose name does not end with the one with which it was built.
    other: Option<(&'static str, String)>,
}

impl Names {
    /// All names with a prefix, e.g. `line-log-`.
    pub fn with_prefix(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), other: None }
    }

    /// The names if the program that was built as `built` has been started as `path`.
    fn started_as(built: &'static str, path: &OsStr) -> Self {
        let name = Path::new(path).file_name().unwrap_or_default();
        let name = one_line(&name.to_string_lossy());
        match name.strip_suffix(built) {
            Some(prefix) => Self::with_prefix(prefix),
            None if name.is_empty() => Self::default(),
            None => Self { prefix: String::new(), other: Some((built, name)) },
        }
    }

    /// The name of a program, or of one of its commands. `command` is as with the built names: `client load`.
    pub fn of(&self, command: &str) -> String {
        let program = command.split(' ').next().unwrap_or_default();
        match &self.other {
            Some((built, name)) if *built == program => {
                format!("{name}{}", &command[program.len()..])
            }
            _ if PROGRAMS.contains(&program) => format!("{}{command}", self.prefix),
            _ => command.to_owned(),
        }
    }

    /// A text with these names in place of `{server}`, `{client}` and `{launcher}`.
    pub fn fill(&self, text: &str) -> String {
        PROGRAMS.iter().fold(text.to_owned(), |text, program| {
            text.replace(&format!("{{{program}}}"), &self.of(program))
        })
    }
}

/// The running program.
#[derive(Debug, Default)]
struct Running {
    names: Names,
    /// The commit that it was built from; empty if it is unknown.
    commit: &'static str,
}

static RUNNING: OnceLock<Running> = OnceLock::new();

/// Sets the name of this program and the commit that it was built from, for `-version`. The commit is not
/// compiled into this library, which would otherwise be rebuilt with every commit. Returns the arguments
/// after the name.
pub fn start(built: &'static str, commit: &'static str) -> impl Iterator<Item = OsString> {
    let mut args = env::args_os();
    let names = Names::started_as(built, &args.next().unwrap_or_default());
    _ = RUNNING.set(Running { names, commit });
    args
}

/// The names of the running program and of the others.
pub fn names() -> &'static Names {
    &RUNNING.get_or_init(Running::default).names
}

/// The name of a program or command: `line-log-client load` for `client load`.
pub fn named(command: &str) -> String {
    names().of(command)
}

/// The name, version and commit of a program or command, as one line.
pub(crate) fn version(command: &str) -> String {
    let commit = match RUNNING.get_or_init(Running::default).commit {
        "" => String::new(),
        commit => format!(" ({commit})"),
    };
    let name = named(command);
    format!("{name} {}{commit}\n", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_the_name_of_its_file() {
        for (path, own, other) in [
            ("server", "server load", "client"),
            ("/usr/bin/line-log-server", "line-log-server load", "line-log-client"),
            ("./logd", "logd load", "client"),
            ("", "server load", "client"),
            ("a\nb", "a\\x0ab load", "client"),
        ] {
            let names = Names::started_as("server", OsStr::new(path));
            assert_eq!(names.of("server load"), own, "{path}");
            assert_eq!(names.of("client"), other, "{path}");
        }
    }

    #[test]
    fn texts_are_filled_with_names_and_keep_other_braces() {
        let names = Names::with_prefix("x-");
        let text = "{client} load -message '{run} {conn}' | {server}";
        let expected = "x-client load -message '{run} {conn}' | x-server";
        assert_eq!(names.fill(text), expected);
        assert_eq!(names.of("bench"), "bench");
    }
}
