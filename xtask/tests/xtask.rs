//! Output and builds of `cargo xtask`.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

fn xtask(args: &[&str]) -> (String, String, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).args(args).output();
    let output = output.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

#[test]
fn help_goes_to_stdout() {
    let (help, stderr, code) = xtask(&["-help"]);
    assert!(help.starts_with("Usage: cargo xtask COMMAND\n"));
    assert!(help.lines().all(|line| line.len() <= 80));
    assert_eq!((stderr.as_str(), code), ("", Some(0)));
    for other in ["-h", "--help"] {
        assert_eq!(xtask(&[other]).0, help);
    }
}

#[test]
fn without_a_known_command_help_goes_to_stderr() {
    let (help, ..) = xtask(&["-help"]);
    assert_eq!(xtask(&[]), (String::new(), help.clone(), Some(2)));
    for (typed, hint) in [
        ("run_all", ": did you mean 'run-all'?"),
        ("benhc", ": did you mean 'bench'?"),
        ("make-coffee", ""),
    ] {
        let (stdout, stderr, code) = xtask(&[typed]);
        let expected = format!("xtask: unknown command '{typed}'{hint}\n\n{help}");
        assert_eq!((stdout.as_str(), stderr, code), ("", expected, Some(2)));
    }
}

/// The arguments that a command passes to cargo, and what cargo sees of the variables of this test. A script
/// stands in for cargo: it prints them, builds nothing, and fails.
fn asked_for(chore: &[&str]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let cargo = folder.path().join("cargo");
    // Another process writes it: a file cannot be executed while it is open for writing, and a child
    // that another thread forks holds it open until its `exec`.
    let write = "printf '#!/bin/sh\nprintf \"%%s\\n\" \"$@\"\n'\
                 'echo CARGO_PKG_NAME=$CARGO_PKG_NAME CARGO_MANIFEST_DIR=$CARGO_MANIFEST_DIR\nexit 1\n' \
                 >cargo && chmod +x cargo";
    let written = Command::new("sh").args(["-c", write]).current_dir(&folder).status();
    assert!(written.unwrap().success());
    let output =
        Command::new(env!("CARGO_BIN_EXE_xtask")).env("CARGO", &cargo).args(chore).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let asked = String::from_utf8(output.stdout).unwrap();
    asked.lines().map(str::to_owned).collect()
}

#[test]
fn what_is_built_is_what_is_run() {
    let asked = asked_for(&["run-all", "-cl", "1"]);
    let at = asked.iter().position(|arg| *arg == "--target-dir").unwrap();
    // The folder in which it looks for the built programs.
    let own = Path::new(env!("CARGO_BIN_EXE_xtask"));
    let target = own.ancestors().nth(2).unwrap();
    assert_eq!(Path::new(&asked[at + 1]), target, "{asked:?}");
}

/// Without `-p`, cargo builds the default members, whatever else is built later.
#[test]
fn every_chore_builds_the_product_as_cargo_build_does() {
    for chore in ["run-all", "bench", "cluster", "torture"] {
        let asked = asked_for(&[chore]);
        assert_eq!(asked[0], "build", "{asked:?}");
        assert!(!asked.contains(&"-p".to_owned()), "{asked:?}");
    }
}

#[test]
fn a_nested_cargo_does_not_see_what_cargo_has_set_for_this_test() {
    assert!(std::env::var_os("CARGO_PKG_NAME").is_some());
    let asked = asked_for(&["run-all"]);
    let unset = asked.last().unwrap();
    assert_eq!(unset, "CARGO_PKG_NAME= CARGO_MANIFEST_DIR=");
}
