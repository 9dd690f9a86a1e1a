//! The baseline answers like a server; otherwise no comparison with it would hold.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

struct Baseline {
    child: Child,
    address: String,
}

impl Baseline {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_baseline"));
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        let stderr = child.stderr.take().unwrap();
        BufReader::new(stderr).read_line(&mut said).unwrap();
        let address = said.trim().strip_prefix("listening on ").unwrap();
        Self { child, address: address.to_owned() }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        let patience = Some(Duration::from_secs(20));
        stream.set_read_timeout(patience).unwrap();
        stream
    }
}

impl Drop for Baseline {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[test]
fn a_line_in_pieces_is_answered_once() {
    let baseline = Baseline::start();
    let mut client = baseline.connect();
    client.set_nodelay(true).unwrap();
    for piece in ["Thread", " 3\nThr", "ead 4\n", "\n"] {
        client.write_all(piece.as_bytes()).unwrap();
    }
    let mut replies = [0; 9];
    client.read_exact(&mut replies).unwrap();
    assert_eq!(&replies, b"ok\nok\nok\n");
}

#[test]
fn every_line_of_many_clients_is_answered() {
    const LINES: usize = 200_000;
    let baseline = Baseline::start();
    let clients: Vec<_> = (0..3).map(|_| baseline.connect()).collect();
    let writers: Vec<_> = clients
        .iter()
        .map(|client| {
            let mut client = client.try_clone().unwrap();
            std::thread::spawn(move || {
                client.write_all(&b"x\n".repeat(LINES)).unwrap();
                client.shutdown(Shutdown::Write).unwrap();
            })
        })
        .collect();
    for mut client in clients {
        let mut replies = vec![0; 3 * LINES];
        client.read_exact(&mut replies).unwrap();
        assert!(replies == b"ok\n".repeat(LINES));
    }
    for writer in writers {
        writer.join().unwrap();
    }
}
