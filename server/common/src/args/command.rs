//! Table of a program's options, and its parser.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::process::ExitCode;

use super::arg_value::{ArgValue, UsageError};
use super::help::columns;
use super::lexer::{Token, next_token};
use super::page::{Page, Row};
use crate::program::{self, Names};

/// The exit code for an invalid command line.
pub const EXIT_USAGE: u8 = 2;

/// The options of a program or a subcommand, which are parsed into a `T`.
///
/// In `about`, `examples`, `notes` and the help of an option, a program is written `{server}`, `{client}` or
/// `{launcher}`: it may be installed under another name.
#[derive(Debug)]
pub struct Command<T: 'static> {
    /// The program as it is built, and the subcommand, e.g. `client load`. Every error begins with it.
    pub name: &'static str,
    /// What follows the name in the usage line, e.g. `[options]`.
    pub usage: &'static str,
    /// The purpose, in one or two sentences.
    pub about: &'static str,
    /// Subcommands, and what they do.
    pub commands: &'static [(&'static str, &'static str)],
    /// The options, in the order of the help text.
    pub options: &'static [Opt<T>],
    /// Takes an operand. `None`: there are no operands.
    pub operand: Option<Take<T>>,
    /// Checks all options together, after they were taken.
    pub check: fn(&mut T) -> Result<(), UsageError>,
    /// Example commands, and what they do.
    pub examples: &'static [(&'static str, &'static str)],
    /// The last lines of the help text (exit codes, environment); may be empty.
    pub notes: &'static str,
}

/// Stores a value in the options, or returns what is wrong with it.
pub type Take<T> = fn(&mut T, &ArgValue) -> Result<(), UsageError>;

/// One option of a [`Command`].
#[derive(Debug)]
pub struct Opt<T: 'static> {
    /// All names, without dashes. The first is the main one.
    pub names: &'static [&'static str],
    /// The name of its value in the help text; empty for a switch.
    pub value: &'static str,
    /// Its effect and default.
    pub help: &'static str,
    /// Stores its value.
    pub take: Take<T>,
}

impl<T> Opt<T> {
    /// A row of the table, in short form.
    pub const fn new(
        names: &'static [&'static str],
        value: &'static str,
        help: &'static str,
        take: Take<T>,
    ) -> Self {
        Self { names, value, help, take }
    }
}

/// The result of parsing a command line.
#[derive(Debug)]
pub enum Parsed<T> {
    /// Run with these options.
    Run(T),
    /// Print this text (help or version) and exit 0.
    Print(String),
}

impl<T> Command<T> {
    /// Parses a command line, without the program's name, into `options`, which holds the defaults. On help,
    /// version or an error, prints the text and returns the exit code.
    pub fn read<I>(&self, options: T, args: I) -> Result<T, ExitCode>
    where
        I: IntoIterator<Item: Into<OsString>>,
    {
        match self.parse(options, args) {
            Ok(Parsed::Run(options)) => Ok(options),
            Ok(Parsed::Print(text)) => Err(print(&text)),
            Err(error) => Err(self.refuse(&error)),
        }
    }

    /// Like [`read`](Self::read), but prints nothing.
    pub fn parse<I>(&self, mut options: T, args: I) -> Result<Parsed<T>, UsageError>
    where
        I: IntoIterator<Item: Into<OsString>>,
    {
        let mut parser = lexopt::Parser::from_args(args);
        while let Some(token) = next_token(&mut parser)? {
            let (typed, inline) = match token {
                Token::Option(typed, inline) => (typed, inline),
                Token::Operand(value) => {
                    let take = self.operand.ok_or_else(|| self.unexpected(&value))?;
                    let typed = String::new();
                    take(&mut options, &ArgValue { typed, value })?;
                    continue;
                }
            };
            match typed.trim_start_matches('-') {
                "h" | "help" => return Ok(Parsed::Print(self.help())),
                "V" | "version" => return Ok(Parsed::Print(program::version(self.name))),
                _ => {}
            }
            let option = self.option(&typed)?;
            let value = match (option.value.is_empty(), inline) {
                (true, None) => OsString::new(),
                (true, Some(value)) => {
                    let value = value.to_string_lossy();
                    return Err(UsageError::new(format!("{typed} takes no value, got '{value}'")));
                }
                (false, Some(value)) => value,
                (false, None) => self.separate_value(&mut parser, &typed, option)?,
            };
            (option.take)(&mut options, &ArgValue { typed, value })?;
        }
        (self.check)(&mut options)?;
        Ok(Parsed::Run(options))
    }

    /// The error for an operand where only options are allowed.
    fn unexpected(&self, word: &OsStr) -> UsageError {
        let own = program::named(self.name);
        let word = word.to_string_lossy();
        let commands = self.commands.iter().map(|(name, _)| *name);
        let hint = if let Some(command) = nearest(&word, commands) {
            format!("'{own} {command}' is typed before all options")
        } else if let Some(option) = nearest(&word, self.names()) {
            format!("did you mean '-{option}'?")
        } else {
            format!("'{own} -help' shows the usage")
        };
        UsageError::new(format!("unexpected argument '{word}': {hint}"))
    }

    /// The value in `-opt value`. If another option follows, the value was forgotten.
    fn separate_value(
        &self,
        parser: &mut lexopt::Parser,
        typed: &str,
        option: &Opt<T>,
    ) -> Result<OsString, UsageError> {
        let expected = option.value;
        let value = parser
            .value()
            .map_err(|_| UsageError::new(format!("{typed}: expected {expected} after it")))?;
        let known = value
            .to_str()
            .and_then(|text| text.strip_prefix('-'))
            .map(|text| text.strip_prefix('-').unwrap_or(text))
            .is_some_and(|text| self.names().any(|name| name == text));
        if known {
            let value = value.to_string_lossy();
            return Err(UsageError::new(format!(
                "{typed}: expected {expected}, got the option '{value}' ({typed}={value} if meant)"
            )));
        }
        Ok(value)
    }

    fn option(&self, typed: &str) -> Result<&Opt<T>, UsageError> {
        let name = typed.trim_start_matches('-');
        let known = self.options.iter().find(|opt| opt.names.contains(&name));
        known.ok_or_else(|| {
            let hint = match nearest(name, self.names()) {
                Some(nearest) => format!("did you mean '-{nearest}'?"),
                None => format!("'{} -help' lists them", program::named(self.name)),
            };
            UsageError::new(format!("unknown option '{typed}': {hint}"))
        })
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        let options = self.options.iter().flat_map(|opt| opt.names);
        options.copied().chain(["help", "version"])
    }

    /// The whole command line, with the options that every program has.
    pub fn page(&self, names: &Names) -> Page {
        let own = self.options.iter().map(|option| Row {
            names: option.names,
            value: option.value,
            help: names.fill(option.help),
        });
        let examples = self.examples.iter();
        Page {
            name: names.of(self.name),
            usage: self.usage,
            about: names.fill(self.about),
            commands: self.commands,
            options: own.chain(Row::of_every_program()).collect(),
            has_operands: self.operand.is_some(),
            examples: examples
                .map(|(command, meaning)| (names.fill(command), names.fill(meaning)))
                .collect(),
            notes: names.fill(self.notes),
        }
    }

    /// The help text for the width of the terminal, ended by a newline.
    pub fn help(&self) -> String {
        self.help_of(columns())
    }

    /// The help text in lines of at most `columns`, unless a word is longer.
    pub fn help_of(&self, columns: usize) -> String {
        self.page(program::names()).help(columns)
    }

    /// Prints the error to stderr. Returns the exit code.
    pub fn refuse(&self, error: &UsageError) -> ExitCode {
        _ = writeln!(io::stderr(), "{}: {error}", program::named(self.name));
        ExitCode::from(EXIT_USAGE)
    }
}

/// Prints help or version. It is not an error if the reader has closed the pipe.
pub fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            _ = writeln!(io::stderr(), "cannot write to stdout: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// The name in `known` that is most similar to `typed`, if any is similar.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |name: &&str| strsim::damerau_levenshtein(typed, name);
    let best = known.into_iter().min_by_key(near)?;
    let common_start = typed.len() >= 3 && best.starts_with(typed);
    (common_start || near(&best) <= 1 + best.len() / 4).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Seen = Vec<(&'static str, String)>;

    const COMMAND: Command<Seen> = Command {
        name: "demo",
        usage: "[options] [FILE]",
        about: "Shows how options are spelt.",
        options: &[
            Opt {
                names: &["host", "nhost"],
                value: "HOST",
                help: "the host",
                take: |seen, arg| arg.text().map(|text| seen.push(("host", text))),
            },
            Opt {
                names: &["port"],
                value: "PORT",
                help: "the port",
                take: |seen, arg| arg.text().map(|text| seen.push(("port", text))),
            },
            Opt {
                names: &["quiet"],
                value: "",
                help: "say nothing",
                take: |seen, arg| arg.text().map(|text| seen.push(("quiet", text))),
            },
        ],
        commands: &[("load", "measures")],
        operand: Some(|seen, arg| arg.text().map(|text| seen.push(("", text)))),
        check: |_| Ok(()),
        examples: &[("demo -host x", "does nothing, at length")],
        notes: "",
    };

    fn run(args: &[&str]) -> Seen {
        match COMMAND.parse(Seen::new(), args) {
            Ok(Parsed::Run(seen)) => seen,
            other => panic!("{args:?}: {other:?}"),
        }
    }

    fn error(args: &[&str]) -> String {
        COMMAND.parse(Seen::new(), args).unwrap_err().to_string()
    }

    #[test]
    fn every_spelling_of_a_value_is_understood() {
        for args in [
            &["-host", "h"][..],
            &["--host", "h"],
            &["-host=h"],
            &["--host=h"],
            &["-nhost", "h"],
            &["--nhost=h"],
        ] {
            assert_eq!(run(args), [("host", "h".to_owned())], "{args:?}");
        }
        assert_eq!(run(&["-host="]), [("host", String::new())]);
        assert_eq!(run(&["-host=a=b"]), [("host", "a=b".to_owned())]);
        assert_eq!(run(&["-host", "-5"]), [("host", "-5".to_owned())]);
        for args in [["-quiet"], ["--quiet"]] {
            assert_eq!(run(&args), [("quiet", String::new())], "{args:?}");
        }
    }

    #[test]
    fn a_value_that_is_not_utf8_survives() {
        use std::os::unix::ffi::OsStrExt as _;
        const PATH: Command<Vec<std::path::PathBuf>> = Command {
            name: "demo",
            usage: "",
            about: "",
            commands: &[],
            options: &[
                Opt {
                    names: &["path"],
                    value: "PATH",
                    help: "",
                    take: |paths, arg| arg.path().map(|path| paths.push(path)),
                },
                Opt {
                    names: &["text"],
                    value: "TEXT",
                    help: "",
                    take: |_, arg| arg.text().map(drop),
                },
            ],
            operand: None,
            check: |_| Ok(()),
            examples: &[],
            notes: "",
        };
        for arg in [&b"-path=\xff"[..], b"--path=\xff"] {
            let Ok(Parsed::Run(paths)) = PATH.parse(Vec::new(), [OsStr::from_bytes(arg)]) else {
                panic!("{arg:?}")
            };
            assert_eq!(paths[0].as_os_str().as_bytes(), b"\xff");
        }
        let error = PATH.parse(Vec::new(), [OsStr::from_bytes(b"--text=\xff")]);
        let error = error.unwrap_err().to_string();
        assert_eq!(error, "--text: expected text in UTF-8, got '\u{fffd}'");
        for (word, expected) in [
            ("hlep", "unexpected argument 'hlep': did you mean '-help'?"),
            ("a", "unexpected argument 'a': 'demo -help' shows the usage"),
        ] {
            let error = PATH.parse(Vec::new(), [word]).unwrap_err().to_string();
            assert_eq!(error, expected);
        }
        let error = COMMAND.unexpected(OsStr::new("laod")).to_string();
        let expected = "unexpected argument 'laod': 'demo load' is typed before all options";
        assert_eq!(error, expected);
    }

    #[test]
    fn operands_stand_anywhere_and_after_two_dashes() {
        let expected = [("", "a".to_owned()), ("quiet", String::new()), ("", "-host".to_owned())];
        assert_eq!(run(&["a", "-quiet", "--", "-host"]), expected);
    }

    #[test]
    fn errors_name_the_option_and_what_was_expected() {
        for (args, expected) in [
            (&["-prot"][..], "unknown option '-prot': did you mean '-port'?"),
            (&["--hots", "x"], "unknown option '--hots': did you mean '-host'?"),
            (&["-verb"], "unknown option '-verb': 'demo -help' lists them"),
            (&["-x"], "unknown option '-x': 'demo -help' lists them"),
            (&["-port"], "-port: expected PORT after it"),
            (
                &["-host", "-port", "1"],
                "-host: expected HOST, got the option '-port' (-host=-port if meant)",
            ),
            (&["-quiet=yes"], "-quiet takes no value, got 'yes'"),
        ] {
            assert_eq!(error(args), expected, "{args:?}");
        }
    }

    #[test]
    fn help_and_version_win_over_what_follows() {
        for args in [["-h"], ["-help"], ["--help"]] {
            assert!(
                matches!(COMMAND.parse(Seen::new(), args), Ok(Parsed::Print(text)) if text == COMMAND.help())
            );
        }
        for args in [["-V"], ["-version"], ["--version"]] {
            let Ok(Parsed::Print(text)) = COMMAND.parse(Seen::new(), args) else {
                panic!("{args:?}")
            };
            assert_eq!(text, concat!("demo ", env!("CARGO_PKG_VERSION"), "\n"));
        }
    }
}
