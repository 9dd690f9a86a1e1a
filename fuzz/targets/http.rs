//! A request for metrics gets the same response however it is cut, within bounds.
//!
//! The first byte says how many bytes arrive together.
#![no_main]

use std::io::{self, Read, Write};
use std::time::Instant;

use http::{Exchange, Response};
use libfuzzer_sys::fuzz_target;
use net::Socket;

fuzz_target!(|data: &[u8]| {
    let Some((step, input)) = data.split_first() else {
        return;
    };
    let step = usize::from(*step) + 1;
    let response = respond(input, step);
    assert_eq!(response, respond(input, usize::MAX));
    assert!(response.is_empty() || response.starts_with(b"HTTP/1.1 "));
});

fn respond(input: &[u8], step: usize) -> Vec<u8> {
    let now = Instant::now();
    let mut exchange = Exchange::new(Peer { input, step, output: Vec::new() }, now);
    while !exchange.is_over(now) {
        exchange.on_event();
        exchange.advance(|page| Response::line("200 OK", &format!("{page:?}")));
    }
    exchange.socket.output
}

/// A peer that sends its input and half-closes.
struct Peer<'a> {
    input: &'a [u8],
    step: usize,
    output: Vec<u8>,
}

impl Read for Peer<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let step = self.step.min(out.len());
        self.input.read(&mut out[..step])
    }
}

impl Write for Peer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let step = self.step.min(bytes.len());
        self.output.extend_from_slice(&bytes[..step]);
        Ok(step)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for Peer<'_> {
    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}
