//! A program that sends lines to a server with the library `client/send`: a heartbeat each second.
//!
//! ```sh
//! cargo run -p send --example sender -- localhost 2005 3
//! ```
//!
//! Each line is sent again until the server acknowledges it. The program ends when all are acknowledged.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use send::{Config, Event, Sender};

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let parsed = match &args[..] {
        [host, port, count] => {
            port.parse().ok().zip(count.parse().ok()).map(|(port, count)| (host, port, count))
        }
        _ => None,
    };
    let Some((host, port, count)) = parsed else {
        eprintln!("Usage: sender HOST PORT COUNT");
        return ExitCode::from(2);
    };
    match run(host, port, count) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sender: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(host: &str, port: u16, count: u64) -> std::io::Result<()> {
    let mut sender = Sender::new(Config::to(&[(host.to_owned(), port)]))?;
    let begin = Instant::now();
    let mut next = 0;
    while next < count || sender.pending() > 0 {
        let due = begin + Duration::from_secs(next);
        if next < count && due <= Instant::now() && sender.has_room() {
            sender.send(format!("heartbeat {next}").as_bytes());
            next += 1;
        }
        // Sends, receives, and connects again where that is needed. It returns early if something happens.
        sender.wait(Some(Duration::from_millis(100)))?;
        for event in sender.events() {
            report(&event);
        }
    }
    Ok(())
}

fn report(event: &Event) {
    match event {
        Event::Kept(ticket) => println!("heartbeat {} is in the log", ticket.0),
        Event::Refused(ticket, why) => eprintln!("heartbeat {} was refused: {why}", ticket.0),
        Event::Lost(why) => eprintln!("no server takes lines: {why}; trying again"),
        Event::Back(address, outage) => eprintln!("{address} takes lines again, after {outage:?}"),
        // Only with a limit in `Config::retry`.
        Event::GaveUp(why) => eprintln!("no server takes lines: {why}"),
    }
}
