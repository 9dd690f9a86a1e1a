//! Lexer of the command line.
//!
//! [`lexopt`] reads `-host` as `-h -o -s -t`, so an argument with one dash and a longer name is taken from its
//! input first ([`lexopt::Parser::try_raw_args`]).

use std::ffi::{OsStr, OsString};

use super::arg_value::UsageError;

pub(super) enum Token {
    /// As typed, dashes included, and the value if it was joined with `=`.
    Option(String, Option<OsString>),
    Operand(OsString),
}

pub(super) fn next_token(parser: &mut lexopt::Parser) -> Result<Option<Token>, UsageError> {
    if let Some(token) = parser.try_raw_args().and_then(|mut raw| one_dash(&mut raw)) {
        return Ok(Some(token));
    }
    let name = match parser.next() {
        Ok(None) => return Ok(None),
        Ok(Some(lexopt::Arg::Value(value))) => return Ok(Some(Token::Operand(value))),
        Ok(Some(lexopt::Arg::Short(short))) => format!("-{short}"),
        Ok(Some(lexopt::Arg::Long(long))) => format!("--{long}"),
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
    let typed = std::str::from_utf8(name).ok()?;
    let name = typed.strip_prefix('-')?;
    if name.len() < 2 || name.starts_with('-') {
        return None;
    }
    let typed = typed.to_owned();
    let value = value.map(|value| os_string_suffix(arg, value.len()));
    raw.next();
    Some(Token::Option(typed, value))
}

/// The last `len` bytes of `arg`, which follow an ASCII character.
fn os_string_suffix(arg: &OsStr, len: usize) -> OsString {
    use std::os::unix::ffi::OsStrExt as _;
    let bytes = arg.as_bytes();
    OsStr::from_bytes(&bytes[bytes.len() - len..]).to_owned()
}
