//! The packaged configuration for several machines is accepted by the programs.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::path::PathBuf;
use std::process::Command;

use test_support::nodes::{CURRENT, OLDER};
use test_support::stream_log::setup_of;

fn packaged(name: &str) -> PathBuf {
    let packaging = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/cluster");
    PathBuf::from(packaging).join(name)
}

/// Runs a program's check of its configuration.
fn assert_accepts(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

#[test]
fn nodes_accept_theirs() {
    for release in [CURRENT, OLDER] {
        let Some(setup) = setup_of(release, 1) else {
            return;
        };
        let mut look = Command::new(setup.program);
        look.args(["-t", "-c"]).arg(packaged("nats.conf"));
        let names = ["NODE", "LINE_LOG_PASSWORD", "READER_PASSWORD", "ADMIN_PASSWORD"];
        look.envs(names.map(|name| (name, "a")));
        assert_accepts(&mut look);
    }
}

#[test]
fn haproxy_accepts_its_own() {
    if Command::new("haproxy").arg("-v").output().is_err() {
        eprintln!("skipped: haproxy is not installed");
        return;
    }
    let mut look = Command::new("haproxy");
    assert_accepts(look.arg("-c").arg("-f").arg(packaged("haproxy.cfg")));
}
