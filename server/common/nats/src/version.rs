//! Versions of nats-server.

use std::fmt;

/// A version such as `2.10.25` or `2.11.0-RC.1`. A pre-release is earlier than its release; pre-releases of one
/// version are not told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    number: [u64; 3],
    is_release: bool,
}

impl Version {
    /// A released version.
    pub const fn new(major: u64, minor: u64, patch: u64) -> Self {
        Self { number: [major, minor, patch], is_release: true }
    }

    /// Parses a version. Build metadata after a `+` does not count.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.split('+').next()?;
        let (numbers, is_release) = match text.split_once('-') {
            Some((numbers, _)) => (numbers, false),
            None => (text, true),
        };
        let numbers: Option<Vec<u64>> = numbers.split('.').map(|it| it.parse().ok()).collect();
        let number = numbers?.try_into().ok()?;
        Some(Self { number, is_release })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.number;
        write!(f, "{major}.{minor}.{patch}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_order() {
        let versions = [
            "2.9.0-beta",
            "2.9.0",
            "2.9.10",
            "2.10.9",
            "2.10.25-RC.1",
            "2.10.25",
            "2.10.26-RC.1",
            "3.0.0",
        ];
        let versions = versions.map(|text| Version::parse(text).unwrap());
        assert!(versions.is_sorted_by(|earlier, later| earlier < later));
        assert_eq!(Version::parse("2.10.25+a-b"), Some(Version::new(2, 10, 25)));
        for bad in ["", "2", "2.10", "2.10.x", "2.10.25.1", "v2.10.25", "-2.1.0"] {
            assert_eq!(Version::parse(bad), None, "{bad}");
        }
    }
}
