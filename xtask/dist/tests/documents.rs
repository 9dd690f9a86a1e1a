//! Manuals and completions, read by `man` and the shells.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

fn documents() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new(env!("CARGO_BIN_EXE_dist")).arg("docs").arg(folder.path()).status();
    assert!(made.unwrap().success());
    folder
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The output of a program; none if it is not installed.
fn run(command: &mut Command) -> Option<Output> {
    let output = command.output().ok();
    if output.is_none() {
        eprintln!("skipped: {} is not here", command.get_program().to_string_lossy());
    }
    output
}

#[test]
fn manuals_are_clean_and_have_every_option() {
    let folder = documents();
    let manuals = files(&folder.path().join("usr/share/man/man1"));
    assert_eq!(manuals.len(), 8);
    for manual in &manuals {
        let mut man = Command::new("man");
        man.args(["--warnings", "-E", "UTF-8", "-l"]).arg(manual);
        let Some(shown) = run(man.env("MANPAGER", "cat").env("MANWIDTH", "80")) else {
            return;
        };
        assert_eq!(String::from_utf8_lossy(&shown.stderr), "", "{}", manual.display());
    }
    let server = fs::read_to_string(&manuals[7]).unwrap();
    for option in server::options::COMMAND.options {
        // In roff, a literal dash is written with a backslash.
        let name = option.names[0].replace('-', "\\-");
        assert!(server.contains(&format!("\\-{name}")), "{name}");
    }
}

/// Whether a program is called by the name with which it was built, e.g. `'client load`.
fn has_built_name(text: &str) -> bool {
    let called = |before: &str, name: &str| {
        let after = ["-", "send ", "read ", "load ", "verify ", "report "];
        after.map(|after| format!("{before}{name} {after}"))
    };
    let names = ["server", "client", "launcher"];
    let mut calls = names.iter().flat_map(|name| {
        let before = ["'", "| ", "; ", "\n"];
        before.into_iter().flat_map(|before| called(before, name))
    });
    calls.any(|call| text.contains(&call))
}

#[test]
fn manuals_and_completions_have_installed_names_only() {
    assert!(has_built_name("x; client load now"));
    let folder = documents();
    for path in [
        "usr/share/man/man1",
        "usr/share/bash-completion/completions",
        "usr/share/zsh/vendor-completions",
        "usr/share/fish/vendor_completions.d",
    ] {
        for file in files(&folder.path().join(path)) {
            let text = fs::read_to_string(&file).unwrap();
            // In roff a literal dash is written with a backslash, and a quote as a macro or doubled.
            let text = text.replace("\\-", "-").replace("\\*(Aq", "'").replace("\\[aq]", "'");
            assert!(text.contains("line-log-"), "{}", file.display());
            assert!(!has_built_name(&text), "{}: {text}", file.display());
            assert!(!text.contains("{client}"), "{}", file.display());
        }
    }
    let manual = folder.path().join("usr/share/man/man1/line-log-client-verify.1");
    let manual = fs::read_to_string(manual).unwrap().replace("\\-", "-");
    let example =
        "line-log-client load -save run.json; line-log-client verify run.json logging.log";
    assert!(manual.contains(example), "{manual}");
}

#[test]
fn bash_completes_what_can_be_typed() {
    let folder = documents();
    let file = folder.path().join("usr/share/bash-completion/completions/line-log-client");
    for (typed, expected) in [
        (&["s"][..], "send"),
        (&["send", "-tls-k"], "-tls-key"),
        (&["send", "--tls-k"], "--tls-key"),
        (&["send", "-framing", ""], "line nul octet"),
        (&["load", "-on-error", "c"], "count"),
        (&["-formu"], "-formula"),
        (&["send", "-port", ""], ""),
        (&["read", "./doc"], "./documents"),
    ] {
        let words: Vec<_> = typed.iter().map(|word| format!("'{word}'")).collect();
        let script = format!(
            "source '{}'; cd '{}'; touch documents; COMP_WORDS=(line-log-client {}); COMP_CWORD={}; \
             _line_log_client; echo \"${{COMPREPLY[*]}}\"",
            file.display(),
            folder.path().display(),
            words.join(" "),
            typed.len(),
        );
        let Some(output) = run(Command::new("bash").args(["-c", &script])) else {
            return;
        };
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected, "{typed:?}");
    }
}

#[test]
fn other_shells_can_read_theirs() {
    let folder = documents();
    for (shell, args, completions) in [
        ("zsh", &["-n"][..], "usr/share/zsh/vendor-completions"),
        ("fish", &["--no-execute"], "usr/share/fish/vendor_completions.d"),
    ] {
        for file in files(&folder.path().join(completions)) {
            let Some(output) = run(Command::new(shell).args(args).arg(&file)) else {
                break;
            };
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{}", file.display());
            assert!(output.status.success());
        }
    }
}
