//! The systems to measure: the baseline, this server in its variants, and its peers. `tables/systems.json`
//! has a row for each.

use std::env;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use serde::Deserialize;

use test_support::nodes;

use crate::protocol::{self, Protocol};

/// A system to measure.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct System {
    /// The name in `-only` and in the tables.
    pub(crate) name: &'static str,
    /// Where a message is when it is acknowledged.
    pub(crate) promise: &'static str,
    /// Empty if clients talk to the NATS nodes.
    pub(crate) program: &'static str,
    /// The Debian packages that contain the program; empty if it is built with the benchmark.
    packages: &'static str,
    /// The option that prints the program's version, if it is not `--version`.
    version: Option<&'static str>,
    /// Separated by spaces. `{dir}` and `{port}` stand for the system's own directory and port, `{backend}`
    /// for the port of the server behind it, `{nats}` for the URL of its stream, `{peers}` for the folder
    /// `peers`.
    pub(crate) arguments: &'static str,
    /// Files of the folder `peers`. Together, with the same placeholders, they are `{dir}/server.conf`.
    pub(crate) config: Vec<&'static str>,
    pub(crate) stdout: Stdout,
    /// A row of `tables/protocols.json`.
    protocol: &'static str,
    /// The largest number of connections it takes in reasonable time. rsyslog takes seconds to accept the
    /// thousands after that, and Python has a thread for each.
    pub(crate) max_connections: Option<usize>,
    /// Its acknowledgements take so long that a shorter measurement would see none.
    pub(crate) min_seconds: u64,
    /// It writes no messages to files.
    pub(crate) in_memory: bool,
    pub(crate) tls: Tls,
    /// The server behind this proxy. The CPU time of both counts.
    pub(crate) in_front_of: Option<&'static str>,
    /// The number of NATS nodes that keep its stream.
    pub(crate) nodes: usize,
}

/// Where a server's stdout goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Stdout {
    /// `/dev/null`.
    #[default]
    Null,
    /// A pipe that is read at once.
    Read,
    /// A pipe that is never read.
    Stalled,
}

/// Which sides have a certificate. They are in `{dir}`: `server.pem` and `server.key`, or both in
/// `both.pem`; `client.pem` and `client.key`; that of the CA is `ca.pem`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Tls {
    #[default]
    None,
    Server,
    ServerAndClient,
}

/// The server that the others are compared with.
pub(crate) const BASELINE: &str = "baseline";

pub(crate) static SYSTEMS: LazyLock<Vec<System>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../tables/systems.json")).expect("a table of systems")
});

/// The system of this name.
pub(crate) fn named(name: &str) -> Option<&'static System> {
    SYSTEMS.iter().find(|system| system.name == name)
}

/// The path of a program that is built with this one.
pub(crate) fn own_program(name: &str) -> io::Result<PathBuf> {
    Ok(env::current_exe()?.with_file_name(name))
}

impl System {
    pub(crate) fn protocol(&self) -> &'static Protocol {
        protocol::named(self.protocol)
    }

    /// Whether clients talk to the nodes: there is no server.
    pub(crate) fn is_bare(&self) -> bool {
        self.program.is_empty()
    }

    /// The path of its program, which may not exist.
    pub(crate) fn path(&self) -> io::Result<PathBuf> {
        if self.packages.is_empty() {
            return own_program(self.program);
        }
        // Debian's directories for servers may be missing in a user's `PATH`.
        let path = env::var_os("PATH").unwrap_or_default();
        let directories = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
        let mut paths = directories.map(|dir| dir.join(self.program));
        let found = paths.find(|path| path.is_file());
        Ok(found.unwrap_or_else(|| self.program.into()))
    }

    /// The first line of its version output that has a digit; an error says what is missing.
    pub(crate) fn version(&self) -> Result<String, String> {
        if self.nodes > 0 {
            nodes::install(nodes::CURRENT)?;
        }
        if self.is_bare() {
            return Ok(format!("nats-server {}", nodes::CURRENT.version));
        }
        if self.name == BASELINE {
            return Ok(String::new());
        }
        let missing = match self.packages {
            "" => "not built".to_owned(),
            packages => format!("not installed (Debian: apt install {packages})"),
        };
        let path = self.path().map_err(|error| error.to_string())?;
        let mut command = Command::new(path);
        let said = command.arg(self.version.unwrap_or("--version")).output();
        let said = said.map_err(|_| missing.clone())?;
        // Some print it on stderr, or print other lines first.
        let said = [said.stdout, said.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let is_version = |line: &&str| line.contains(|c: char| c.is_ascii_digit());
        let line = said.lines().find(is_version).ok_or(missing)?.trim();
        Ok(line.chars().take(60).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_usable() {
        for system in SYSTEMS.iter() {
            assert_eq!(named(system.name).unwrap().promise, system.promise);
            assert!(system.is_bare() || system.path().is_ok(), "{}", system.name);
            assert!(!system.is_bare() || system.nodes > 0, "{}", system.name);
            // It panics for an unknown name.
            _ = system.protocol();
            if let Some(backend) = system.in_front_of {
                assert!(named(backend).is_some(), "{backend}");
            }
            for file in &system.config {
                let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers").join(file);
                assert!(path.is_file(), "{file}");
            }
        }
        assert!(named(BASELINE).is_some());
    }
}
