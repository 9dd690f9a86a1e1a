//! Tests of the launcher with the real server and clients, and with misbehaving ones.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod support;

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, kill_process};

use support::{Place, children_of};
use test_support::wait::wait_until;

#[test]
fn all_of_it_over_tls() {
    let place = Place::real();
    let authority = test_support::ca::TestCa::new("launcher").unwrap();
    fs::write(place.path("ca.pem"), authority.certificate()).unwrap();
    for (name, names) in [("server", "127.0.0.1"), ("client", "client.example")] {
        let identity = authority.issue(&[names]).unwrap();
        identity.write(&place.path("."), name).unwrap();
    }
    let server = ["-server-tls-cert", "server.pem", "-server-tls-key", "server.key"];
    let demands = ["-server-tls-client-ca", "ca.pem", "-tls-ca", "ca.pem"];
    let own = ["-tls-cert", "client.pem", "-tls-key", "client.key"];
    let ended = place.run(&[&["-clients", "2"][..], &server, &demands, &own].concat());
    assert!(ended.status.success(), "{:#?}", ended.stderr);
    let last = ended.stdout.last().unwrap();
    assert_eq!(last, "in all    100 messages, 200 records in logging.log");
    // A client without the TLS options is rejected.
    let ended = place.run(&[&["-clients", "1"][..], &server].concat());
    assert!(!ended.status.success());
}

#[test]
fn five_clients_of_five_threads_end_to_end() {
    let place = Place::real();
    let ended = place.run(&["--clients", "5"]);
    assert!(ended.status.success(), "{:#?}", ended.stderr);

    let log = fs::read_to_string(place.path("logging.log")).unwrap();
    let mut exchanges: HashMap<&str, Vec<&str>> = HashMap::new();
    for record in log.lines() {
        let (_, rest) = record.split_once(" --").unwrap();
        let (peer, what) = rest.split_once(' ').unwrap();
        exchanges.entry(peer).or_default().push(what);
    }
    let rounds = (0..10).map(|i| i * i + 1);
    let expected: Vec<String> = rounds
        .flat_map(|v| (0..5).map(move |k| (k, v)))
        .flat_map(|(k, v)| {
            let received = format!("recieved: Thread {k}, iteration {v}");
            [received, "send: ok".to_owned()]
        })
        .collect();
    assert_eq!(exchanges.len(), 5);
    assert!(exchanges.values().all(|of_one| *of_one == expected));

    let shown = |name: &str| {
        let prefix = format!("{name:8} | ");
        let lines = ended.stdout.iter();
        lines.filter_map(move |line| line.strip_prefix(&prefix).map(str::to_owned))
    };
    assert!(shown("server").eq(log.lines()));
    for client in 1..=5 {
        let received = expected.iter().step_by(2);
        let lines = received.map(|what| what.trim_start_matches("recieved: "));
        assert!(shown(&format!("client {client}")).eq(lines));
    }
    let summary = &ended.stdout[ended.stdout.len() - 6..];
    for (at, line) in summary[..5].iter().enumerate() {
        let start = format!("client {}   50 messages in ", at + 1);
        assert!(line.starts_with(&start), "{line}");
    }
    assert_eq!(summary[5], "in all    250 messages, 500 records in logging.log");
    assert_eq!(ended.stdout.len(), 500 + 250 + 6);
}

#[test]
fn other_hosts_formats_and_logs() {
    let place = Place::real();
    let log = place.path("another log");
    let args = ["-host=localhost", "-clhost=127.0.0.1", "-cl=10", "-nt=1", "-ni=1", "-log"];
    let ended = place.run(&[&args[..], &[log.to_str().unwrap()]].concat());
    assert!(ended.status.success(), "{:#?}", ended.stderr);
    let last = ended.stdout.last().unwrap();
    let expected = format!("in all     10 messages, 20 records in {}", log.display());
    assert_eq!(*last, expected);
    assert!(ended.stdout.contains(&"client 2  | Thread 0, iteration 1".to_owned()));
    assert!(!place.path("logging.log").exists());
}

#[test]
fn clients_go_where_the_server_says_it_listens() {
    for host in ["127.0.0.2", "0.0.0.0", "::1", "[::1]", "::"] {
        if host.contains(':') && TcpListener::bind("[::1]:0").is_err() {
            eprintln!("skipped -host {host}: there is no IPv6 here");
            continue;
        }
        let place = Place::real();
        let ended = place.run(&["-host", host, "-cl=1", "-nt=1", "-ni=1"]);
        assert!(ended.status.success(), "{host}: {:#?}", ended.stderr);
        let log = fs::read_to_string(place.path("logging.log")).unwrap();
        assert_eq!(log.lines().count(), 2, "{host}");
    }
}

#[test]
fn a_missing_program() {
    for (place, missing) in [
        (Place::bare(), "server"),
        (Place::bare().with("client"), "server"),
        (Place::bare().with("server"), "client"),
    ] {
        let ended = place.run(&[]);
        let path = place.path(missing);
        let expected = format!(
            "launcher: {} is missing: 'cargo xtask run-all' or 'cargo build' makes it",
            path.display()
        );
        assert_eq!(ended.last_words(), (expected.as_str(), Some(1)));
        assert_eq!(ended.stderr.len(), 1, "nothing was started");
    }
}

#[test]
fn a_program_that_cannot_be_run() {
    let place = Place::bare().with("client").with_script("server", "");
    fs::write(place.path("server"), "#!/no/such/interpreter\n").unwrap();
    let (ended, expected) = (place.run(&[]), "launcher: cannot start server: ");
    assert!(ended.last_words().0.starts_with(expected));
    assert_eq!(ended.status.code(), Some(1));
}

#[test]
fn a_port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = Place::real().run(&["-port", &port]);
    let (last, code) = ended.last_words();
    assert_eq!(last, "launcher: server ended before it listened, as it says above");
    assert_eq!(code, Some(1));
    // The server reports the reason once, and no client prints anything.
    assert_eq!(ended.stderr.len(), 2, "{:#?}", ended.stderr);
    let why = &ended.stderr[0];
    assert!(why.starts_with("server   | server: cannot listen on "), "{why}");
    assert!(why.contains(&port) && why.contains("in use"), "{why}");
}

#[test]
fn a_server_that_ends_before_it_listens() {
    for (script, expected) in [
        ("echo 'server: no' >&2; exit 7", " (exit status: 7)"),
        ("echo 'server: no' >&2; exit 1", ", as it says above"),
        ("exit 1", " (exit status: 1)"),
        ("exit 0", " (exit status: 0)"),
        ("kill -9 $$", " (signal: 9 (SIGKILL))"),
    ] {
        let place = Place::bare().with("client").with_script("server", script);
        let expected = format!("launcher: server ended before it listened{expected}");
        let ended = place.run(&[]);
        assert_eq!(ended.last_words(), (expected.as_str(), Some(1)));
    }
}

#[test]
fn one_client_that_fails_is_named() {
    let place = Place::real();
    fs::rename(place.path("client"), place.path("real-client")).unwrap();
    let script = "mkdir once 2>/dev/null && echo 'client: no luck' >&2 && exit 3
                  exec ./real-client \"$@\"";
    let place = place.with_script("client", script);
    let ended = place.run(&["-cl", "3"]);
    let (last, code) = ended.last_words();
    let which = last.strip_prefix("launcher: client ").unwrap();
    assert_eq!(&which[1..], " failed (exit status: 3)");
    assert_eq!(code, Some(1));
    // The other clients were not disturbed.
    let log = fs::read_to_string(place.path("logging.log")).unwrap();
    assert_eq!(log.lines().count(), 2 * 2 * 50);
}

#[test]
fn a_client_that_hangs_is_named_and_ended() {
    let place = Place::real();
    fs::rename(place.path("client"), place.path("real-client")).unwrap();
    let script = "mkdir once 2>/dev/null || exec ./real-client \"$@\"
                  mkfifo never; exec 3<>never; read x <&3";
    let ended = place.with_script("client", script).run(&["-cl", "3"]);
    let (last, code) = ended.last_words();
    let which = last.strip_prefix("launcher: client ").unwrap();
    assert_eq!(&which[1..], " hangs: it has said nothing for 12 s");
    assert_eq!(code, Some(1));
}

#[test]
fn all_clients_that_fail_are_counted() {
    let place = Place::bare().with("server");
    let ended = place.with_script("client", "kill -9 $$").run(&["-cl", "3"]);
    let expected = "launcher: 3 of 3 clients failed, first client 1 (signal: 9 (SIGKILL))";
    assert_eq!(ended.last_words(), (expected, Some(1)));
}

#[test]
fn a_server_that_fails_at_last_is_named_with_the_client() {
    let script = "trap 'exit 4' TERM; echo 'listening on 127.0.0.1:1' >&2
                  mkfifo never; exec 3<>never; read x <&3";
    let place = Place::bare().with_script("server", script);
    let ended = place.with_script("client", "exit 3").run(&["-cl", "1"]);
    let expected = "launcher: client 1 failed (exit status: 3); server failed when it was to stop \
                    (exit status: 4)";
    assert_eq!(ended.last_words(), (expected, Some(1)));
}

#[test]
fn a_server_that_dies_is_named_and_not_its_clients() {
    for (signal, end) in [(Signal::KILL, "signal: 9 (SIGKILL)"), (Signal::TERM, "exit status: 0")] {
        let place = Place::real();
        let mut running = place.start(&["-ni", "1000000"]);
        running.wait_for("client 5 | Thread");
        let [server] = running.children("server")[..] else {
            panic!("no server");
        };
        kill_process(server, signal).unwrap();
        let ended = running.wait();
        let (last, code) = ended.last_words();
        let expected = format!("launcher: server ended early ({end}");
        assert!(last.starts_with(&expected), "{last}");
        assert_eq!(code, Some(1));
    }
}

#[test]
fn an_interrupt_stops_everything_at_any_moment() {
    for signal in [Signal::INT, Signal::TERM] {
        for moment in [
            "server   | listening on ",
            "client 1 | Thread 0, iteration 1",
            "client 1 | Thread 4, iteration 50",
            "client 5 | Thread 4, iteration 82",
        ] {
            let place = Place::real();
            let mut running = place.start(&["-ni", "1000000"]);
            running.wait_for(moment);
            running.signal(signal);
            let ended = running.wait();
            assert_eq!(ended.last_words(), ("launcher: interrupted", Some(130)));
        }
    }
}

/// A shell or a supervisor may have started the launcher with blocked signals.
#[test]
fn signals_that_were_blocked_at_start_are_obeyed() {
    const BLOCKED: &str = "CHLD,INT,TERM,HUP,QUIT,PIPE";
    let place = Place::real();
    let ended = place.start_with_blocked(BLOCKED, &["-clients", "1", "-ni", "1"]).wait();
    assert!(ended.status.success(), "{:#?}", ended.stderr);
    let mut running = place.start_with_blocked(BLOCKED, &["-ni", "1000000"]);
    running.wait_for("client 1 | Thread 0, iteration 1");
    running.signal(Signal::INT);
    let ended = running.wait();
    assert_eq!(ended.last_words(), ("launcher: interrupted", Some(130)));
}

#[test]
fn an_interrupt_before_the_server_listens() {
    let place = Place::bare().with("client");
    let place = place.with_script("server", "echo started; exec sleep 1000");
    let mut running = place.start(&[]);
    running.wait_for("server   | started");
    running.signal(Signal::INT);
    let ended = running.wait();
    assert_eq!(ended.last_words(), ("launcher: interrupted", Some(130)));
}

#[test]
fn a_second_interrupt_kills_children_that_do_not_stop() {
    // Nothing ever comes from the pipe.
    let script = "trap 'echo not yet' TERM
                  mkfifo never; exec 3<>never; echo started; while :; do read x <&3; done";
    let place = Place::bare().with("client").with_script("server", script);
    let mut running = place.start(&[]);
    running.wait_for("server   | started");
    running.signal(Signal::INT);
    running.wait_for("server   | not yet");
    running.signal(Signal::INT);
    let ended = running.wait();
    let expected = "launcher: interrupted; had to kill server";
    assert_eq!(ended.last_words(), (expected, Some(130)));
}

#[test]
fn an_interrupt_while_the_output_is_blocked() {
    let place = Place::bare().with("server").with_script("client", "exec yes");
    let (unread, stdout) = std::io::pipe().unwrap();
    let running = place.start_on(stdout, &[]);
    wait_until("output", || {
        let waiting = rustix::io::ioctl_fionread(&unread).unwrap();
        (waiting > 0).then_some(())
    });
    running.signal(Signal::INT);
    // The launcher may end before it prints its last line.
    assert_eq!(running.wait().status.code(), Some(130));
}

#[test]
fn a_reader_that_has_enough_does_not_end_the_run() {
    let place = Place::real();
    let (reader, stdout) = std::io::pipe().unwrap();
    let running = place.start_on(stdout, &[]);
    let mut first = String::new();
    BufReader::new(reader).read_line(&mut first).unwrap();
    assert!(!first.is_empty());
    let ended = running.wait();
    assert!(ended.status.success(), "{:#?}", ended.stderr);
    let log = fs::read_to_string(place.path("logging.log")).unwrap();
    assert_eq!(log.lines().count(), 500);
}

#[test]
fn a_full_disk_under_stdout() {
    let place = Place::real();
    let full = fs::File::create("/dev/full").unwrap();
    let ended = place.start_on(full, &["-cl", "1"]).wait();
    let expected = "launcher: cannot write to stdout: No space left on device (os error 28)";
    assert_eq!(ended.last_words(), (expected, Some(1)));
}

#[test]
fn a_killed_launcher_leaves_no_child() {
    let place = Place::real();
    let mut running = place.start(&["-ni", "1000000"]);
    let pid = running.pid();
    running.wait_for("client 5 | Thread");
    assert_eq!(running.children("client").len(), 5);
    running.signal(Signal::KILL);
    running.wait_alone();
    wait_until("the end of its children", || children_of(pid).is_empty().then_some(()));
}

#[test]
fn a_server_that_is_kept() {
    let place = Place::real();
    let mut running = place.start(&["-keep", "-cl=2", "-nt=1", "-ni=1"]);
    let line = running.wait_for(" the server goes on at ");
    let (_, rest) = line.split_once(" at ").unwrap();
    let (address, rest) = rest.split_once(' ').unwrap();
    assert_eq!(rest, "until Ctrl-C, its log is logging.log");
    let address: SocketAddr = address.parse().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"still there?\n").unwrap();
    let mut reply = String::new();
    BufReader::new(stream).read_line(&mut reply).unwrap();
    assert_eq!(reply, "ok\n");
    running.signal(Signal::INT);
    let ended = running.wait();
    assert_eq!(ended.status.code(), Some(0), "{:#?}", ended.stderr);
    let log = fs::read_to_string(place.path("logging.log")).unwrap();
    assert_eq!(log.lines().count(), 6);
}

#[test]
fn help_and_bad_options() {
    let place = Place::bare();
    for help in ["-h", "-help", "--help"] {
        let ended = place.run(&[help]);
        assert_eq!(ended.stdout[0], "Usage: launcher [options]");
        assert!(ended.status.success());
    }
    let ended = place.run(&["-client=2"]);
    let expected = "launcher: unknown option '-client': did you mean '-clients'?";
    assert_eq!(ended.last_words(), (expected, Some(2)));
}

#[test]
fn lines_of_one_child_stay_in_order() {
    let place = Place::real();
    let mut both_in_one = Command::new("sh");
    both_in_one.args(["-c", "exec ./launcher -port=0 -cl=4 -ni=3 2>&1"]);
    let output = both_in_one.current_dir(place.path(".")).output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    for client in 1..=4 {
        let prefix = format!("client {client} | ");
        let lines = output.lines().filter_map(|line| line.strip_prefix(&prefix));
        let lines: Vec<_> = lines.collect();
        assert_eq!(lines.len(), 5 * 3 + 1);
        assert!(lines[15].starts_with("client: 15 messages acknowledged in "));
    }
}

#[test]
fn a_closed_stderr_changes_nothing() {
    let place = Place::real();
    let mut command = Command::new(place.path("launcher"));
    command.args(["-port=0", "-cl=1"]).stdout(Stdio::null());
    command.current_dir(place.path("."));
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_was_acknowledged_is_what_was_recorded() {
    // A server that acknowledges all messages and loses some.
    let place = Place::real();
    fs::rename(place.path("server"), place.path("real-server")).unwrap();
    let script = "./real-server \"$@\" & child=$!
                  trap 'kill $child; wait $child; sed -i 1,2d logging.log; exit 0' TERM
                  wait $child";
    let ended = place.with_script("server", script).run(&["-cl", "1", "-nt", "1", "-ni", "3"]);
    let (last, code) = ended.last_words();
    let expected = "launcher: 3 messages acknowledged, but logging.log holds 2 messages: ";
    assert!(last.starts_with(expected), "{last}");
    assert_eq!(code, Some(1));
}

#[test]
fn a_reader_that_set_the_pipe_non_blocking_loses_nothing() {
    let place = Place::real();
    let (reader, writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let probe = writer.try_clone().unwrap();
    let running = place.start_on(writer, &["-cl", "2", "-ni", "300"]);
    // The pipe is full before its reader starts: three lines for each of 3,000 messages. Short writes may
    // leave its pages partly empty, so the number of its bytes tells nothing.
    let is_full = || {
        let mut ready = [PollFd::new(&probe, PollFlags::OUT)];
        poll(&mut ready, Some(&Timespec::default())).unwrap() == 0
    };
    wait_until("the pipe is full", is_full);
    drop(probe);
    let lines = thread::spawn(|| BufReader::new(reader).lines().count());
    let ended = running.wait();
    assert!(ended.status.success(), "{:#?}", ended.stderr);
    let lines = lines.join().unwrap();
    assert!(lines >= 3 * 3000, "{lines}");
}
