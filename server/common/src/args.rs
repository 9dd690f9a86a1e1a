//! The option spelling that every program of the workspace shares: one dash or two, `-opt value`
//! or `-opt=value`, `-h`/`-help`, `-V`/`-version`.
//!
//! A program describes itself as a [`Command`], a table that serves the parser, the help text and
//! the tests alike. [`Command::parse`] says what was typed; what it means is for the program, which
//! a [`Given`] helps to read its value.
//!
//! [`lexopt`] does the lexing. It reads `-host` as `-h -o -s -t`, so an argument with one dash and
//! a longer name is taken off its hands before it looks ([`lexopt::Parser::try_raw_args`]).

mod given;
mod help;
mod quantity;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::process::ExitCode;

pub use self::given::{Given, UsageError};
pub use self::quantity::LONGEST_TIME;

/// Exit code for a command line that could not be understood.
pub const EXIT_USAGE: u8 = 2;

/// What a program, or one of its subcommands, takes.
#[derive(Debug)]
pub struct Command {
    /// As typed, e.g. `client load`; starts every error.
    pub name: &'static str,
    /// What follows the name in the usage line, e.g. `[options]`.
    pub usage: &'static str,
    /// One or two sentences: what it is for.
    pub about: &'static str,
    /// The options, in the order of the help text.
    pub options: &'static [Opt],
    /// Whether arguments that are no options are taken.
    pub operands: bool,
    /// What to type, and what that does.
    pub examples: &'static [(&'static str, &'static str)],
    /// Closing lines of the help text (exit codes, environment); may be empty.
    pub notes: &'static str,
}

/// One option of a [`Command`].
#[derive(Debug)]
pub struct Opt {
    /// All its names, without dashes; the first is the one that errors and help use.
    pub names: &'static [&'static str],
    /// What its value is called in the help text; empty for a switch.
    pub value: &'static str,
    /// What it does, default included.
    pub help: &'static str,
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// Run with these options and operands, in the order they were given.
    Run(Vec<Given>),
    /// Print this (help or version) and exit 0.
    Print(String),
}

impl Command {
    /// Reads a command line, the program's own name left out.
    pub fn parse<I>(&self, args: I) -> Result<Invocation, UsageError>
    where
        I: IntoIterator<Item: Into<OsString>>,
    {
        let mut parser = lexopt::Parser::from_args(args);
        let mut given = Vec::new();
        while let Some(token) = next_token(&mut parser)? {
            let (name, inline) = match token {
                Token::Option(name, inline) => (name, inline),
                Token::Operand(value) if self.operands => {
                    given.push(Given { name: "", value });
                    continue;
                }
                Token::Operand(value) => {
                    let value = value.to_string_lossy();
                    return Err(UsageError::new(format!("unexpected argument '{value}'")));
                }
            };
            match name.as_str() {
                "h" | "help" => return Ok(Invocation::Print(self.help())),
                "V" | "version" => return Ok(Invocation::Print(self.version())),
                _ => {}
            }
            let option = self.option(&name)?;
            let value = match (option.value.is_empty(), inline) {
                (true, None) => OsString::new(),
                (true, Some(value)) => {
                    let value = value.to_string_lossy();
                    return Err(UsageError::new(format!(
                        "-{name} takes no value, got '{value}'"
                    )));
                }
                (false, Some(value)) => value,
                (false, None) => self.separate_value(&mut parser, option)?,
            };
            let name = option.names[0];
            given.push(Given { name, value });
        }
        Ok(Invocation::Run(given))
    }

    /// The value of `-opt value`. Another option in its place means that it was forgotten.
    fn separate_value(
        &self,
        parser: &mut lexopt::Parser,
        option: &Opt,
    ) -> Result<OsString, UsageError> {
        let (name, expected) = (option.names[0], option.value);
        let value = parser
            .value()
            .map_err(|_| UsageError::new(format!("-{name}: expected {expected} after it")))?;
        let known = value
            .to_str()
            .and_then(|text| text.strip_prefix('-'))
            .map(|text| text.strip_prefix('-').unwrap_or(text))
            .is_some_and(|text| self.names().any(|name| name == text));
        if known {
            let value = value.to_string_lossy();
            return Err(UsageError::new(format!(
                "-{name}: expected {expected}, got the option '{value}' (-{name}={value} if meant)"
            )));
        }
        Ok(value)
    }

    fn option(&self, name: &str) -> Result<&Opt, UsageError> {
        let known = self.options.iter().find(|opt| opt.names.contains(&name));
        known.ok_or_else(|| {
            let hint = match nearest(name, self.names()) {
                Some(nearest) => format!("did you mean '-{nearest}'?"),
                None => format!("'{} -help' lists them", self.name),
            };
            UsageError::new(format!("unknown option '-{name}': {hint}"))
        })
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        let options = self.options.iter().flat_map(|opt| opt.names);
        options.copied().chain(["help", "version"])
    }

    fn version(&self) -> String {
        format!("{} {}\n", self.name, env!("CARGO_PKG_VERSION"))
    }

    /// Says on stderr what is wrong with the command line; returns the exit code for it.
    pub fn refuse(&self, error: &UsageError) -> ExitCode {
        _ = writeln!(io::stderr(), "{}: {error}", self.name);
        ExitCode::from(EXIT_USAGE)
    }
}

/// Prints help or version. A reader that has closed its end is no error.
pub fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            _ = writeln!(io::stderr(), "cannot write to stdout: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// The name among `known` that was most likely meant by `typed`, if any is near.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |name: &&str| strsim::damerau_levenshtein(typed, name);
    let best = known.into_iter().min_by_key(near)?;
    let common_start = typed.len() >= 3 && best.starts_with(typed);
    (common_start || near(&best) <= 1 + best.len() / 4).then_some(best)
}

enum Token {
    /// Name without dashes, and the value if it was joined with `=`.
    Option(String, Option<OsString>),
    Operand(OsString),
}

fn next_token(parser: &mut lexopt::Parser) -> Result<Option<Token>, UsageError> {
    if let Some(token) = parser.try_raw_args().and_then(|mut raw| one_dash(&mut raw)) {
        return Ok(Some(token));
    }
    let name = match parser.next() {
        Ok(None) => return Ok(None),
        Ok(Some(lexopt::Arg::Value(value))) => return Ok(Some(Token::Operand(value))),
        Ok(Some(lexopt::Arg::Short(short))) => short.to_string(),
        Ok(Some(lexopt::Arg::Long(long))) => long.to_owned(),
        Err(error) => return Err(UsageError::new(error.to_string())),
    };
    Ok(Some(Token::Option(name, parser.optional_value())))
}

/// Takes the next argument if it is `-name` or `-name=value` with a name of several letters.
fn one_dash(raw: &mut lexopt::RawArgs<'_>) -> Option<Token> {
    let arg = raw.peek()?;
    let bytes = arg.as_encoded_bytes();
    let (name, value) = match memchr::memchr(b'=', bytes) {
        Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
        None => (bytes, None),
    };
    let name = std::str::from_utf8(name).ok()?.strip_prefix('-')?;
    if name.len() < 2 || name.starts_with('-') {
        return None;
    }
    let name = name.to_owned();
    let value = value.map(|value| os_string_suffix(arg, value.len()));
    raw.next();
    Some(Token::Option(name, value))
}

/// The last `len` bytes of `arg`, which follow an ASCII character.
fn os_string_suffix(arg: &OsStr, len: usize) -> OsString {
    use std::os::unix::ffi::OsStrExt as _;
    let bytes = arg.as_bytes();
    OsStr::from_bytes(&bytes[bytes.len() - len..]).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMAND: Command = Command {
        name: "demo",
        usage: "[options] [FILE]",
        about: "Shows how options are spelt.",
        options: &[
            Opt {
                names: &["host", "nhost"],
                value: "HOST",
                help: "the host",
            },
            Opt {
                names: &["port"],
                value: "PORT",
                help: "the port",
            },
            Opt {
                names: &["quiet"],
                value: "",
                help: "say nothing",
            },
        ],
        operands: true,
        examples: &[("demo -host x", "does nothing, at length")],
        notes: "",
    };

    fn run(args: &[&str]) -> Vec<(&'static str, String)> {
        match COMMAND.parse(args) {
            Ok(Invocation::Run(given)) => given
                .iter()
                .map(|given| (given.name, given.text().unwrap()))
                .collect(),
            other => panic!("{args:?}: {other:?}"),
        }
    }

    fn error(args: &[&str]) -> String {
        COMMAND.parse(args).unwrap_err().to_string()
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
        for arg in [&b"-host=\xff"[..], b"--host=\xff"] {
            let invocation = COMMAND.parse([OsStr::from_bytes(arg)]).unwrap();
            let Invocation::Run(given) = invocation else {
                panic!("{invocation:?}")
            };
            assert_eq!(given[0].path().unwrap().as_os_str().as_bytes(), b"\xff");
            let error = given[0].text().unwrap_err().to_string();
            assert_eq!(error, "-host: expected text in UTF-8, got '\u{fffd}'");
        }
    }

    #[test]
    fn operands_stand_anywhere_and_after_two_dashes() {
        let expected = [
            ("", "a".to_owned()),
            ("quiet", String::new()),
            ("", "-host".to_owned()),
        ];
        assert_eq!(run(&["a", "-quiet", "--", "-host"]), expected);
    }

    #[test]
    fn errors_name_the_option_and_what_was_expected() {
        for (args, expected) in [
            (
                &["-prot"][..],
                "unknown option '-prot': did you mean '-port'?",
            ),
            (
                &["--hots", "x"],
                "unknown option '-hots': did you mean '-host'?",
            ),
            (
                &["-verb"],
                "unknown option '-verb': 'demo -help' lists them",
            ),
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
                matches!(COMMAND.parse(args), Ok(Invocation::Print(text)) if text == COMMAND.help())
            );
        }
        for args in [["-V"], ["-version"], ["--version"]] {
            let Ok(Invocation::Print(text)) = COMMAND.parse(args) else {
                panic!("{args:?}")
            };
            assert_eq!(text, concat!("demo ", env!("CARGO_PKG_VERSION"), "\n"));
        }
    }
}
