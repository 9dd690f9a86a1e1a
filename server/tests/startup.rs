//! Start of the server: options, errors, and files that it leaves alone.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::{Output, Stdio};

use tempfile::TempDir;
use test_support::programs;
use test_support::records::received_from;
use test_support::server::Server;
use test_support::wait::wait_until;

/// Runs a server in `folder` until it exits by itself.
fn run_in(folder: &TempDir, options: &[&str]) -> Output {
    let mut command = programs::server();
    command.args(options).current_dir(folder).stdin(Stdio::null());
    command.output().unwrap()
}

fn run(options: &[&str]) -> Output {
    run_in(&tempfile::tempdir().unwrap(), options)
}

/// The only line on standard error of a server that failed with `code`.
fn error_line(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    let (line, rest) = said.split_once('\n').expect("a line");
    assert_eq!(rest, "", "one line only");
    line.to_owned()
}

#[test]
fn option_errors_exit_2_and_name_the_option() {
    for (options, expected) in [
        (&["-prot", "1"][..], "server: unknown option '-prot': did you mean '-port'?"),
        (&["-port"], "server: -port: expected PORT after it"),
        (&["-port", "x"], "server: -port: expected a port number (0 to 65535), got 'x'"),
        (&["-quiet=1"], "server: -quiet takes no value, got '1'"),
        (&["extra"], "server: unexpected argument 'extra': 'server -help' shows the usage"),
    ] {
        assert_eq!(error_line(&run(options), 2), expected);
    }
}

#[test]
fn help_and_version_go_to_standard_output() {
    for option in ["-h", "-help", "--help"] {
        let output = run(&[option]);
        assert!(output.status.success() && output.stderr.is_empty());
        assert!(output.stdout.starts_with(b"Usage: server [options]\n"));
    }
    for option in ["-V", "-version", "--version"] {
        let commit = match env!("LINE_LOG_COMMIT") {
            "" => String::new(),
            commit => format!(" ({commit})"),
        };
        let expected = format!("server {}{commit}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(run(&[option]).stdout, expected.as_bytes());
    }
}

#[test]
fn a_second_server_on_the_port_leaves_the_log_alone() {
    let server = Server::start(&[]);
    assert_eq!(server.connect().ask("kept"), "ok");
    let log = server.wait_for_log(|log| log.contains("send: ok"));
    let port = server.address().port().to_string();
    let path = server.log_path();
    let output = run(&["-port", &port, "-log", path.to_str().unwrap()]);
    let line = error_line(&output, 1);
    let start = format!("server: cannot listen on 127.0.0.1:{port}: Address already in use");
    assert!(line.starts_with(&start), "{line}");
    assert_eq!(server.log(), log);
    assert_eq!(server.connect().ask("still served"), "ok");
}

#[test]
fn servers_that_agree_share_a_port() {
    let one = Server::start(&["-reuse-port"]);
    let address = one.address();
    let port = address.port().to_string();
    let two = Server::start(&["-reuse-port", "-port", &port]);
    assert_eq!(two.address(), address);
    let mut sent = 0;
    let logs = wait_until("both to be reached", || {
        assert_eq!(one.connect().ask("a line"), "ok");
        sent += 1;
        let logs = [one.log(), two.log()];
        logs.iter().all(|log| !log.is_empty()).then_some(logs)
    });
    assert_eq!(logs.concat().matches("recieved: a line").count(), sent);
    // Sharing the port does not allow sharing the log.
    let log = two.log_path();
    let options = ["-reuse-port", "-port", &port, "-log", log.to_str().unwrap()];
    let line = error_line(&run(&options), 1);
    assert!(line.contains("another server is writing it"), "{line}");
    // A server that stops leaves the port to the other.
    assert!(one.stop().status.success());
    assert_eq!(two.connect().ask("another"), "ok");
}

#[test]
fn a_port_is_shared_by_those_only_who_both_say_so() {
    for (first, second) in [(&["-reuse-port"][..], &[][..]), (&[], &["-reuse-port"])] {
        let server = Server::start(first);
        let port = server.address().port().to_string();
        let line = error_line(&run(&[&["-port", &port], second].concat()), 1);
        assert!(line.contains(": Address already in use"), "{line}");
    }
}

#[test]
fn a_second_server_on_the_log_is_refused_and_wipes_nothing() {
    let server = Server::start(&[]);
    assert_eq!(server.connect().ask("kept"), "ok");
    let path = server.log_path();
    for more in [&[][..], &["-append"]] {
        let mut options = vec!["-port", "0", "-log", path.to_str().unwrap()];
        options.extend(more);
        let line = error_line(&run(&options), 1);
        assert!(line.contains("another server is writing it"), "{line}");
    }
    assert!(server.log().contains("recieved: kept"));
}

#[test]
fn what_is_no_regular_file_is_no_log() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.unwrap().success());
    for (log, reason) in [
        (".", "Is a directory"),
        ("fifo", "it is not a regular file"),
        ("/dev/full", "it is not a regular file"),
        ("missing/logging.log", "No such file or directory"),
    ] {
        let line = error_line(&run_in(&folder, &["-port", "0", "-log", log]), 1);
        let start = format!("server: cannot open the log {log}: {reason}");
        assert!(line.starts_with(&start), "{line}");
    }
}

#[test]
fn a_host_that_is_not_here() {
    let line = error_line(&run(&["-port", "0", "-host", "no-such-host.invalid"]), 1);
    assert!(line.starts_with("server: cannot find 'no-such-host.invalid': "), "{line}");
    let line = error_line(&run(&["-port", "0", "-host", "192.0.2.1"]), 1);
    assert!(line.starts_with("server: cannot listen on 192.0.2.1:0: "), "{line}");
}

const OLD: &str = "INFO\t| 2019-02-24 15:10:14 --127.0.0.1:4 recieved: old\n";

#[test]
fn what_is_not_a_log_is_not_emptied() {
    for (content, is_log) in [
        ("# A line log\n", false),
        ("\0\0\0", false),
        ("INFO\t| by another program\n", false),
        ("INFO\t| 2019-02", true),
        ("{\"time\":\"2019-02-24T15:10:14.000000Z\",", true),
        ("", true),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("README.md");
        fs::write(&path, content).unwrap();
        if is_log {
            Server::start_in(folder, &["-log", "README.md"]).stop();
            continue;
        }
        let line = error_line(&run_in(&folder, &["-port", "0", "-log", "README.md"]), 1);
        assert_eq!(
            line,
            "server: cannot open the log README.md: it is not a log; choose another -log, or delete it"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
        // Appending destroys nothing.
        let ended = Server::start_in(folder, &["-log", "README.md", "-append"]).stop();
        let warning = "are no records, the first at byte 0";
        let is_whole = content.ends_with('\n') || content.contains('\0');
        assert_eq!(ended.count_said(warning), usize::from(is_whole), "{:?}", ended.said);
    }
}

#[test]
fn the_log_is_no_other_output_of_the_server() {
    for (redirection, name) in [(">>x", "output"), ("2>>x", "error"), (">x 2>&1", "output")] {
        for options in ["", "-append", "-quiet"] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("x"), OLD).unwrap();
            let mut command =
                programs::script(&format!("exec $SERVER -port 0 -log x {options} {redirection}"));
            let output = command.current_dir(&folder).output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{redirection} {options}");
            let said = String::from_utf8(output.stderr).unwrap();
            let said = said + &fs::read_to_string(folder.path().join("x")).unwrap();
            let expected = format!(
                "server: cannot open the log x: it is the server's standard {name} as well; choose \
                 another -log\n"
            );
            assert!(said.contains(&expected), "{redirection} {options}: {said}");
            let is_kept = redirection.contains(">>");
            assert_eq!(said.contains(OLD), is_kept, "{redirection} {options}: {said}");
        }
    }
}

/// A shell or a supervisor may have started the server with any signals blocked.
#[test]
fn signals_that_were_blocked_at_start_are_obeyed() {
    let command = programs::script("exec env --block-signal=TERM,INT,HUP,USR1 $SERVER -port 0");
    let mut server = Server::start_command(tempfile::tempdir().unwrap(), command);
    server.figures();
    assert!(server.stop().status.success());
}

#[test]
fn a_launcher_that_is_none_is_ignored_and_told_of() {
    let own = std::process::id().to_string();
    for (pid, is_foreign) in [("1", true), ("99999999", true), ("nonsense", true), (&own, false)] {
        let mut command = programs::server();
        command.args(["-port", "0"]).env("LAUNCHER_PID", pid);
        let server = Server::start_command(tempfile::tempdir().unwrap(), command);
        assert_eq!(server.connect().ask("hello"), "ok");
        let ended = server.stop();
        let warning = format!("LAUNCHER_PID={pid} in the environment names no launcher");
        assert_eq!(ended.count_said(&warning), usize::from(is_foreign), "{:?}", ended.said);
    }
}

#[test]
fn a_file_system_without_locks_is_warned_of() {
    if !programs::can("strace", "strace -V") {
        return;
    }
    let command = programs::script(
        "exec strace -D -f -qq -o /dev/null -e trace=flock -e inject=flock:error=ENOLCK $SERVER -port 0",
    );
    let server = Server::start_command(tempfile::tempdir().unwrap(), command);
    assert_eq!(server.connect().ask("hello"), "ok");
    let ended = server.stop();
    assert_eq!(ended.count_said("logging.log cannot be locked"), 1, "{:?}", ended.said);
}

#[test]
fn the_log_is_emptied_at_start_unless_appended_to() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("logging.log"), OLD).unwrap();
    let server = Server::start_in(folder, &["-append"]);
    assert_eq!(server.connect().ask("first"), "ok");
    let ended = server.stop();
    assert_eq!(ended.count_said("emptied"), 0);
    let log = ended.log();
    assert!(log.starts_with(&format!("{OLD}INFO\t| ")));
    let server = Server::start_in(ended.into_folder(), &[]);
    let notice = format!("emptied logging.log: {} bytes; -append keeps them", log.len());
    let mut client = server.connect();
    assert_eq!(client.ask("second"), "ok");
    let log = server.log();
    assert!(!log.contains("old") && !log.contains("first"));
    assert_eq!(received_from(&log, &client.name()), ["second"]);
    let ended = server.stop();
    assert_eq!(ended.count_said(&notice), 1, "{:?}", ended.said);
}

#[test]
fn a_torn_last_line_is_ended_and_not_glued_to() {
    let folder = tempfile::tempdir().unwrap();
    let torn = "INFO\t| 2019-02-24 15:10:14 --127.0.0.1:4 reciev";
    fs::write(folder.path().join("logging.log"), torn).unwrap();
    let mut server = Server::start_in(folder, &["-append"]);
    assert_eq!(server.connect().ask("whole"), "ok");
    let log = server.wait_for_log(|log| log.contains("send: ok"));
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines[0], torn);
    assert!(lines[1].ends_with(" recieved: whole"), "{log}");
    server.signal(rustix::process::Signal::USR1);
    server.wait_for_line("1 message acknowledged");
    let ended = server.stop();
    let mended = |line: &String| line.ends_with("logging.log: ended a torn record at its end");
    assert!(ended.said.iter().any(mended), "{:?}", ended.said);
}

#[test]
fn too_few_descriptors_to_serve_anybody() {
    let mut command = std::process::Command::new("sh");
    let script = format!("ulimit -n 20; exec '{}' -port 0", env!("CARGO_BIN_EXE_server"));
    let folder = tempfile::tempdir().unwrap();
    command.args(["-c", &script]).current_dir(&folder);
    let line = error_line(&command.output().unwrap(), 1);
    assert!(line.starts_with("server: 20 open files are too few"), "{line}");
}

#[test]
fn max_clients_above_the_limit_is_lowered_and_said() {
    let mut command = std::process::Command::new("sh");
    let server = env!("CARGO_BIN_EXE_server");
    let script = format!("ulimit -n 64; exec '{server}' -port 0 -quiet -max-clients 1000");
    command.args(["-c", &script]);
    let server = Server::start_command(tempfile::tempdir().unwrap(), command);
    let ended = server.stop();
    let expected = format!(
        "-max-clients 1000 is lowered to {}: 64 files",
        test_support::server::clients_for(64)
    );
    let said = |line: &String| line.contains(&expected);
    assert!(ended.said.iter().any(said), "{:?}", ended.said);
}
