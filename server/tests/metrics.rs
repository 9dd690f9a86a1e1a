//! Metrics and health over HTTP; their clients do not disturb the others.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, prlimit};
use test_support::programs::{self, can, script};
use test_support::server::Server;
use test_support::wait::{DEADLINE, wait_until};

const ANYWHERE: [&str; 2] = ["-metrics", "127.0.0.1:0"];

/// The address of the server's metrics.
fn metrics_of(server: &Server) -> SocketAddr {
    let line = server.said("metrics at http://");
    let address = line.trim_start_matches("metrics at http://");
    address.trim_end_matches("/metrics").parse().unwrap()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, DEADLINE).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Sends a request; returns the response until the connection is closed.
fn ask(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(address);
    // The connection may be closed before everything is sent.
    _ = stream.write_all(request);
    let mut response = Vec::new();
    if let Err(error) = stream.read_to_end(&mut response) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    String::from_utf8(response).unwrap()
}

/// The status and the body of a response.
fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let response = ask(address, request.as_bytes());
    let (head, body) = response.split_once("\r\n\r\n").expect("a response");
    let length = format!("Content-Length: {}", body.len());
    assert!(head.contains(&length), "{head}");
    (head[9..12].parse().unwrap(), body.to_owned())
}

/// Every sample, by name and labels.
fn samples(address: SocketAddr) -> HashMap<String, f64> {
    let (status, text) = get(address, "/metrics");
    assert_eq!(status, 200);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(sample).collect()
}

#[test]
#[allow(clippy::float_cmp, reason = "they are whole numbers")]
fn figures_are_what_happened() {
    let options = ["-max-message", "8", "-max-clients", "2", "-allow", "127.0.0.1"];
    let server = Server::start(&[&ANYWHERE[..], &options].concat());
    let address = metrics_of(&server);
    let before = samples(address);
    let mut client = server.connect();
    for (line, reply) in [("one", "ok"), ("two", "ok"), ("much too long", "error too-long")] {
        assert!(client.ask(line).starts_with(reply));
    }
    let mut second = server.connect();
    assert_eq!(second.ask("three"), "ok");
    assert!(server.connect().reply().starts_with("error too-many-clients"));
    drop(second);
    let mut web = server.connect();
    web.send("GET / HTTP/1.1\r\n\r\n");
    assert!(web.rest().starts_with("error http"));
    let after = wait_until("the figures", || {
        let now = samples(address);
        (now["linelog_connected_clients"] == 1.0).then_some(now)
    });
    for (name, expected) in [
        ("linelog_messages_total", 3.0),
        ("linelog_acknowledged_total", 3.0),
        ("linelog_errors_total{code=\"too-long\"}", 1.0),
        ("linelog_errors_total{code=\"too-many-clients\"}", 1.0),
        ("linelog_errors_total{code=\"http\"}", 1.0),
        ("linelog_errors_total{code=\"log\"}", 0.0),
        ("linelog_clients_total", 2.0),
        ("linelog_refused_clients_total{reason=\"limit\"}", 1.0),
        ("linelog_refused_clients_total{reason=\"http\"}", 1.0),
        ("linelog_refused_clients_total{reason=\"not-allowed\"}", 0.0),
        ("linelog_max_clients", 2.0),
        ("linelog_healthy", 1.0),
        ("linelog_rotations_total", 0.0),
        ("linelog_terminal_skipped_records_total", 0.0),
    ] {
        assert_eq!(after.get(name), Some(&expected), "{name}");
    }
    let info = concat!("linelog_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\",commit=\"");
    assert!(after.keys().any(|name| name.starts_with(info)));
    let log = std::fs::metadata(server.log_path()).unwrap().len() as f64;
    assert_eq!(after["linelog_log_size_bytes"], log);
    assert_eq!(after["linelog_written_bytes_total"], log);
    assert_eq!(after["linelog_batch_size_bytes_sum"], log);
    let commits = after["linelog_commit_duration_seconds_count"];
    assert!(commits >= 3.0);
    assert_eq!(after["linelog_commit_duration_seconds_bucket{le=\"+Inf\"}"], commits);
    assert_eq!(after["linelog_batch_size_bytes_bucket{le=\"+Inf\"}"], commits);
    assert!(after["linelog_turns_total"] > before["linelog_turns_total"]);
    assert!(after["linelog_log_free_bytes"] > 0.0);
    assert!(after["process_open_fds"] > 5.0);
    assert!(after["process_max_fds"] >= after["process_open_fds"]);
    assert!(after["process_cpu_seconds_total"] > 0.0);
    assert!(!before.contains_key("linelog_last_commit_timestamp_seconds"));
    let (last, started) =
        (after["linelog_last_commit_timestamp_seconds"], after["process_start_time_seconds"]);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!(started < last && last < now && now - started < 60.0);
}

#[test]
fn it_is_well_while_messages_are_kept() {
    // In blocks of 512 bytes: the first holds the log, and not much more.
    let mut command = script("ulimit -S -f 1; exec $SERVER -port 0 -quiet -metrics 127.0.0.1:0");
    command.stdin(Stdio::null());
    let server = Server::start_command(tempfile::tempdir().unwrap(), command);
    let address = metrics_of(&server);
    assert_eq!(get(address, "/health"), (200, "ok\n".to_owned()));
    let mut client = server.connect();
    wait_until("a full log", || client.ask("line").starts_with("error log").then_some(()));
    let (status, why) = get(address, "/health");
    assert_eq!(
        (status, why.as_str()),
        (503, "the log cannot be written: File too large (os error 27)\n")
    );
    assert!(samples(address)["linelog_healthy"] < 1.0);
    server.signal(Signal::HUP);
    wait_until("a log that is opened anew", || {
        (samples(address)["linelog_reopenings_total"] > 0.0).then_some(())
    });
    assert!(samples(address)["linelog_errors_total{code=\"log\"}"] > 0.0);
    let unlimited = Rlimit { current: None, maximum: None };
    prlimit(Some(server.pid()), Resource::Fsize, unlimited).unwrap();
    assert_eq!(client.ask("line"), "ok");
    assert_eq!(get(address, "/health").0, 200);
    // A connected client delays the stop for a while.
    server.signal(Signal::TERM);
    let stopping = wait_until("the stop", || {
        Some(get(address, "/health")).filter(|(status, _)| *status == 503)
    });
    assert_eq!(stopping.1, "the server is stopping\n");
    drop(client);
    assert!(server.wait().status.success());
}

#[test]
fn requests_may_come_in_any_way() {
    let server = Server::start(&ANYWHERE);
    let address = metrics_of(&server);
    let request = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    for cut in 1..request.len() {
        let mut stream = connect(address);
        stream.write_all(&request[..cut]).unwrap();
        stream.write_all(&request[cut..]).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{cut}: {response}");
    }
    for (request, expected) in [
        ("GET /health HTTP/1.1\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n"),
        ("GET http://x/health HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\n"),
        ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found\r\n"),
        ("PUT /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 Method Not Allowed\r\n"),
        ("a line\n", "HTTP/1.1 400 Bad Request\r\n"),
        ("GET /metrics", ""),
    ] {
        let response = ask(address, request.as_bytes());
        assert!(response.starts_with(expected), "{request:?}: {response}");
        assert_eq!(response.matches("HTTP/1.1 ").count(), usize::from(!expected.is_empty()));
    }
    for page in ["/metrics", "/none"] {
        let request = format!("HEAD {page} HTTP/1.1\r\n\r\n");
        let head = ask(address, request.as_bytes());
        assert!(head.ends_with("\r\n\r\n") && head.contains("Content-Length: "), "{head}");
    }
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(5000));
    assert!(ask(address, long.as_bytes()).starts_with("HTTP/1.1 431 "));
}

/// Connections with no request or half a request delay neither other requests nor clients.
#[test]
fn idle_connections_hold_no_places() {
    const IDLE: usize = 80;
    let server = Server::start(&ANYWHERE);
    let address = metrics_of(&server);
    let begun = Instant::now();
    let idle: Vec<_> = (0..IDLE)
        .map(|n| {
            let mut stream = connect(address);
            stream.write_all(&b"GET /metr"[..n % 10]).unwrap();
            stream
        })
        .collect();
    let mut client = server.connect();
    for _ in 0..100 {
        assert_eq!(client.ask("line"), "ok");
        assert_eq!(get(address, "/health").0, 200);
    }
    // If each of them held its place for a second, sixteen at a time, requests would wait longer than this.
    let seconds = IDLE as u64 / 16;
    assert!(begun.elapsed() < Duration::from_secs(seconds));
    for mut stream in idle {
        let mut answer = Vec::new();
        _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty());
    }
    assert_eq!(client.ask("line"), "ok");
}

#[test]
fn when_descriptors_run_out_who_asks_is_not_forgotten() {
    let mut server = Server::start(&ANYWHERE);
    let address = metrics_of(&server);
    // Lowered under the running server, which cannot know: accept fails with EMFILE.
    let limit = |files| Rlimit { current: Some(files), maximum: Some(20_000) };
    let open = server.descriptors();
    let free = (0..1024).find(|n| !open.contains(n)).unwrap();
    let before = prlimit(Some(server.pid()), Resource::Nofile, limit(free)).unwrap();
    let mut waiting = connect(address);
    waiting.write_all(b"GET /health HTTP/1.1\r\n\r\n").unwrap();
    server.wait_for_line("cannot accept connections to -metrics, they wait: Too many open files");
    prlimit(Some(server.pid()), Resource::Nofile, before).unwrap();
    let mut response = String::new();
    waiting.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
}

#[test]
fn clients_at_the_limit_are_not_in_the_way_of_metrics() {
    let command = script("ulimit -n 64; exec $SERVER -port 0 -quiet -metrics 127.0.0.1:0");
    let server = Server::start_command(tempfile::tempdir().unwrap(), command);
    let clients: Vec<_> = (0..80).map(|_| server.connect()).collect();
    let address = metrics_of(&server);
    for _ in 0..20 {
        assert_eq!(get(address, "/health").0, 200);
    }
    drop(clients);
}

#[test]
fn a_port_that_is_taken_is_said_before_the_log_is_touched() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut command = programs::server();
    command.current_dir(folder.path());
    command.args(["-port", "0", "-metrics", &address.to_string()]);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = format!(
        "server: -metrics: cannot listen on {address}: Address already in use (os error 98); choose \
         another HOST:PORT\n"
    );
    assert_eq!(said, expected);
    assert_eq!(output.status.code(), Some(1));
    assert!(!folder.path().join("logging.log").exists());
}

#[test]
fn prometheus_has_nothing_to_find_fault_with() {
    if !can("promtool", "command -v promtool") {
        return;
    }
    let server = Server::start(&[&ANYWHERE[..], &["-max-message", "8"]].concat());
    let mut client = server.connect();
    assert_eq!(client.ask("a line"), "ok");
    assert!(client.ask("much too long").starts_with("error"));
    let (_, text) = get(metrics_of(&server), "/metrics");
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped());
    let promtool = promtool.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut promtool = promtool.unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&said), "");
    assert!(output.status.success());
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
    for check in ["promtool check rules alerts.yml", "promtool test rules alerts.test.yml"] {
        let output = script(check).current_dir(docs).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    }
}
