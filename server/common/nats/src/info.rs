//! The INFO of a node.

use serde::Deserialize;

use crate::version::Version;

/// `INFO`: the first operation of a node, sent again when something changes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(clippy::struct_excessive_bools, reason = "as the protocol has it")]
pub struct Info {
    /// Its version, e.g. `2.15.1`.
    pub version: String,
    /// The maximum size of a message in bytes, headers included.
    pub max_payload: usize,
    /// Whether it supports headers.
    pub headers: bool,
    /// Whether it has `JetStream`.
    pub jetstream: bool,
    /// Whether it requires TLS after INFO.
    pub tls_required: bool,
    /// The bytes to sign with the credentials.
    pub nonce: Option<String>,
    /// Other nodes of the cluster, as `HOST:PORT`.
    pub connect_urls: Vec<String>,
    /// "Lame duck mode": it will stop soon, and clients should move to other nodes.
    pub ldm: bool,
}

impl Info {
    /// Parses the JSON.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(json).map_err(|error| format!("its INFO is not understood: {error}"))
    }

    /// Whether its version is this one or later. A pre-release of this version is not.
    pub fn is_at_least(&self, version: &Version) -> bool {
        Version::parse(&self.version).is_some_and(|own| own >= *version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_version_is_a_release() {
        let needed = Version::new(2, 10, 25);
        for (version, expected) in [("2.10.25", true), ("2.10.25-beta.1", false), ("", false)] {
            let json = format!(r#"{{"version":"{version}","unknown":[1]}}"#);
            let info = Info::parse(json.as_bytes()).unwrap();
            assert_eq!(info.is_at_least(&needed), expected, "{version}");
        }
        assert!(Info::parse(b"{").is_err());
    }
}
