//! What `cargo xtask` says about itself.
#![allow(clippy::unwrap_used)]

use std::process::Command;

fn xtask(args: &[&str]) -> (String, String, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(args)
        .output();
    let output = output.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        text(output.stdout),
        text(output.stderr),
        output.status.code(),
    )
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

#[test]
fn what_is_built_is_what_is_run() {
    // Stands for cargo: shows what it is asked for, builds nothing, and fails.
    let folder = tempfile::tempdir().unwrap();
    let cargo = folder.path().join("cargo");
    std::fs::write(&cargo, "#!/bin/sh\nprintf '%s\\n' \"$@\"\nexit 1\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&cargo, mode).unwrap();
    let own = std::path::Path::new(env!("CARGO_BIN_EXE_xtask"));
    let output = Command::new(own)
        .env("CARGO", &cargo)
        .args(["run-all", "-cl", "1"])
        .output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let asked = String::from_utf8(output.stdout).unwrap();
    let asked: Vec<_> = asked.lines().collect();
    let at = asked.iter().position(|arg| *arg == "--target-dir").unwrap();
    // Where it will look for what was built.
    let target = own.ancestors().nth(2).unwrap();
    assert_eq!(std::path::Path::new(asked[at + 1]), target, "{asked:?}");
}
