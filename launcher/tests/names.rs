//! Tests of installed programs: each calls itself by the name of its file.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod support;

use std::process::{Command, Stdio};

use support::Place;

const INSTALLED: [&str; 3] = ["line-log-server", "line-log-client", "line-log-launcher"];

/// The programs under the names of the packages.
fn installed() -> Place {
    let place = Place::bare();
    for name in INSTALLED {
        place.link_as(name.trim_start_matches("line-log-"), name);
    }
    place
}

/// The exit code of a program, and what it prints to stdout and stderr.
fn run(place: &Place, program: &str, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(place.path(program));
    command.args(args).current_dir(place.path("."));
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn help_has_installed_names_only() {
    let place = installed();
    let commands = ["send", "read", "load", "verify", "report"];
    let commands = commands.map(|command| vec!["line-log-client", command]);
    for words in INSTALLED.iter().map(|name| vec![*name]).chain(commands) {
        let args = [&words[1..], &["-help"]].concat();
        let (code, help, _) = run(&place, words[0], &args);
        let usage = format!("Usage: {} [options]", words.join(" "));
        assert!(help.starts_with(&usage), "{help}");
        assert!(help.contains("\n  line-log-"), "no example: {help}");
        assert!(!help.contains(['{', '}']) || words.contains(&"load"), "{help}");
        for built in ["server", "client", "launcher"] {
            for before in ["  ", "'", "| ", "; "] {
                for after in [" -", " send", " read", " load", " verify", " report", "'"] {
                    let name = format!("{before}{built}{after}");
                    assert!(!help.contains(&name), "{name}: {help}");
                }
            }
        }
        assert_eq!(code, Some(0));
    }
}

#[test]
fn version_and_usage_errors_have_the_installed_name() {
    let place = installed();
    for name in INSTALLED {
        let (_, version, _) = run(&place, name, &["-version"]);
        let expected = format!("{name} {}", env!("CARGO_PKG_VERSION"));
        assert!(version.starts_with(&expected), "{version}");
        for (args, expected) in [
            (&["-prot"][..], "unknown option '-prot': did you mean '-port'?"),
            (&["-zzz"], &format!("unknown option '-zzz': '{name} -help' lists them")),
        ] {
            let (code, _, error) = run(&place, name, args);
            assert_eq!(error, format!("{name}: {expected}\n"));
            assert_eq!(code, Some(2));
        }
    }
    for (args, expected) in [
        (
            &["zzz"][..],
            "line-log-client: unknown command 'zzz': expected send, read, load, verify, report, or \
             options ('line-log-client -help')\n",
        ),
        (
            &["-port", "1", "load"],
            "line-log-client: unexpected argument 'load': 'line-log-client load' is typed before \
             all options\n",
        ),
        (
            &["report", "-o", "page.html"],
            "line-log-client report: expected RUN, a file that 'line-log-client load -json' \
             filled\n",
        ),
    ] {
        assert_eq!(run(&place, "line-log-client", args).2, expected);
    }
}

#[test]
fn failures_begin_with_the_installed_name() {
    let place = installed();
    for (words, expected) in [
        (
            &["line-log-server", "-port", "0", "-log", "/"][..],
            "line-log-server: cannot open the log /: ",
        ),
        (&["line-log-client", "-port", "1"], "line-log-client: cannot connect "),
        (&["line-log-client", "load", "-port", "1"], "line-log-client load: cannot connect "),
        (
            &["line-log-client", "send", "-state", "/no/file", "-begin"],
            "line-log-client send: cannot ",
        ),
        (&["line-log-client", "read", "/no/file"], "line-log-client read: cannot read /no/file: "),
        (
            &["line-log-client", "verify", "/no/run", "/no/log"],
            "line-log-client verify: cannot use /no/run: ",
        ),
    ] {
        let (code, _, error) = run(&place, words[0], &words[1..]);
        assert!(error.starts_with(expected), "{error}");
        assert_eq!(code, Some(1), "{words:?}");
    }
    let args = ["-port", "0", "-log", "/"];
    let (code, _, error) = run(&place, "line-log-launcher", &args);
    let last = error.lines().last().unwrap();
    let expected = "line-log-launcher: server ended before it listened, as it says above";
    assert_eq!((last, code), (expected, Some(1)));
}

#[test]
fn the_installed_launcher_runs_the_installed_programs() {
    let place = installed();
    let args = ["-port", "0", "-cl", "2", "-nt", "1", "-ni", "3"];
    let (code, out, error) = run(&place, "line-log-launcher", &args);
    assert_eq!(code, Some(0), "{error}");
    let last = out.lines().last().unwrap();
    assert_eq!(last, "in all    6 messages, 12 records in logging.log");
    let summary = "client 2 | line-log-client: 3 messages acknowledged in ";
    assert!(error.contains(summary), "{error}");
}

#[test]
fn a_program_may_have_any_name() {
    let place = Place::bare();
    place.link_as("client", "logger");
    let (_, _, error) = run(&place, "logger", &["load", "-rat"]);
    let expected = "logger load: unknown option '-rat': did you mean '-rate'?\n";
    assert_eq!(error, expected);
}
