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
    let (stdout, stderr, code) = xtask(&["runall"]);
    let expected = format!("xtask: unknown command 'runall'\n\n{help}");
    assert_eq!((stdout.as_str(), stderr, code), ("", expected, Some(2)));
}
