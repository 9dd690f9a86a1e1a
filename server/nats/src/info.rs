//! What a server says of itself.

use semver::Version;
use serde::Deserialize;

/// `INFO`: sent first of all, and again when something changes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(clippy::struct_excessive_bools, reason = "as the protocol has it")]
pub struct Info {
    /// Its version, e.g. `2.15.1`.
    pub version: String,
    /// The most bytes that a message may have, headers included.
    pub max_payload: usize,
    /// It knows headers.
    pub headers: bool,
    /// It keeps streams.
    pub jetstream: bool,
    /// It is told of without TLS, but wants it from here on.
    pub tls_required: bool,
    /// What is to be signed to prove who we are.
    pub nonce: Option<String>,
    /// Other servers of the cluster, as `HOST:PORT`.
    pub connect_urls: Vec<String>,
    /// It is about to stop: others should be gone to.
    pub ldm: bool,
}

impl Info {
    /// Reads the JSON of it.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(json).map_err(|error| format!("its INFO is not understood: {error}"))
    }

    /// Whether its version is this or a newer one. What is only about to be that version is not.
    pub fn is_at_least(&self, version: &Version) -> bool {
        let own = Version::parse(&self.version);
        own.is_ok_and(|own| own >= *version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_such() {
        let needed = Version::new(2, 10, 25);
        for (version, expected) in [
            ("2.10.25", true),
            ("2.15.1", true),
            ("2.10.26-RC.1", true),
            ("3.0.0", true),
            ("2.10.25-beta.1", false),
            ("2.10.9", false),
            ("2.9.10", false),
            ("", false),
        ] {
            let json = format!(r#"{{"version":"{version}","unknown":[1]}}"#);
            let info = Info::parse(json.as_bytes()).unwrap();
            assert_eq!(info.is_at_least(&needed), expected, "{version}");
        }
        assert!(Info::parse(b"{").is_err());
    }
}
