//! `HAProxy` in front of servers.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::commands::Running;

/// A running `HAProxy`. Dropping it kills the process.
pub struct Balancer {
    _process: Running,
    pub address: SocketAddr,
    _folder: TempDir,
}

impl Balancer {
    /// Starts a balancer that distributes clients round-robin to the servers that are up; `how` are more
    /// options for each `server` line. Its listening socket is its standard input, so that no port has to
    /// be guessed.
    pub fn start(servers: &[SocketAddr], how: &str) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut text = "\
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option redispatch
listen front
    bind fd@0
    balance roundrobin
"
        .to_owned();
        for (n, server) in servers.iter().enumerate() {
            // Writing to a String cannot fail.
            _ = writeln!(text, "    server s{n} {server} {how} check inter 100ms");
        }
        let path = folder.path().join("haproxy.cfg");
        fs::write(&path, text)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let child = Command::new("haproxy")
            // No `-q`: with it, HAProxy closes its standard input.
            .args(["-db", "-f"])
            .arg(&path)
            .stdin(OwnedFd::from(listener))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { _process: Running(child), address, _folder: folder })
    }
}
