//! The value of one option as typed, its parsing, and the errors.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

/// An option or operand as given.
#[derive(Debug)]
pub struct ArgValue {
    /// The option as typed, dashes included; empty for an operand.
    pub(super) typed: String,
    pub(super) value: OsString,
}

/// An error of the command line: one line that names the option and says what was expected. Exit code 2.
#[derive(Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl UsageError {
    /// An error that concerns no single value, e.g. two options that exclude each other.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Turns on a switch, an option without a value.
pub fn switch(option: &mut bool) -> Result<(), UsageError> {
    *option = true;
    Ok(())
}

impl ArgValue {
    /// The value as text.
    pub fn text(&self) -> Result<String, UsageError> {
        let text = self.value.to_str().map(str::to_owned);
        text.ok_or_else(|| self.unexpected("text in UTF-8"))
    }

    /// The value as a path, which must not be empty.
    pub fn path(&self) -> Result<PathBuf, UsageError> {
        if self.value.is_empty() {
            return Err(self.unexpected("a path"));
        }
        Ok(PathBuf::from(&self.value))
    }

    /// The value as an integer within `range`. `what` names it, e.g. `a port number`.
    pub fn number<T>(&self, what: &str, range: RangeInclusive<T>) -> Result<T, UsageError>
    where
        T: FromStr + PartialOrd + fmt::Display,
    {
        let number = self.value.to_str().and_then(|text| text.parse().ok());
        number.filter(|n| range.contains(n)).ok_or_else(|| {
            let (low, high) = (range.start(), range.end());
            self.unexpected(&format!("{what} ({low} to {high})"))
        })
    }

    /// The value as one of the `choices`, each with its spelling.
    pub fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, UsageError> {
        let chosen = choices.iter().find(|(name, _)| self.value == OsStr::new(name));
        chosen.map(|&(_, choice)| choice).ok_or_else(|| {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            let expected = match names.split_last() {
                Some((last, [])) => (*last).to_owned(),
                Some((last, others)) => format!("{} or {last}", others.join(", ")),
                None => String::new(),
            };
            self.unexpected(&expected)
        })
    }

    /// The value as a comma-separated list of words. `what` names them.
    pub fn list(&self, what: &str) -> Result<Vec<String>, UsageError> {
        let text = self.text()?;
        let words: Vec<_> = text.split(',').map(|word| word.trim().to_owned()).collect();
        if words.iter().any(String::is_empty) {
            return Err(self.unexpected(&format!("{what} with commas between them")));
        }
        Ok(words)
    }

    /// The value parsed by [`FromStr`], whose error says what is wrong.
    pub fn parsed<T: FromStr<Err: fmt::Display>>(&self) -> Result<T, UsageError> {
        self.text()?.parse().map_err(|error: T::Err| self.wrong(&error.to_string()))
    }

    /// The error for a value that is not what was `expected`.
    pub fn unexpected(&self, expected: &str) -> UsageError {
        let value = self.value.to_string_lossy();
        self.wrong(&format!("expected {expected}, got '{value}'"))
    }

    /// An error that begins with the option's name.
    pub fn wrong(&self, what: &str) -> UsageError {
        match self.typed.as_str() {
            "" => UsageError(what.to_owned()),
            typed => UsageError(format!("{typed}: {what}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked() {
        let given = |value: &str| ArgValue { typed: "-port".to_owned(), value: value.into() };
        assert_eq!(given("80").number("a port number", 0..=65535), Ok(80));
        for bad in ["", "x", "-1", "65536", "8 0"] {
            let error = given(bad).number("a port number", 0..=65535).unwrap_err();
            let expected = format!("-port: expected a port number (0 to 65535), got '{bad}'");
            assert_eq!(error.to_string(), expected);
        }
        let choices = [("line", 1), ("none", 2)];
        assert_eq!(given("none").choice(&choices), Ok(2));
        let error = given("lines").choice(&choices).unwrap_err().to_string();
        assert_eq!(error, "-port: expected line or none, got 'lines'");
    }
}
