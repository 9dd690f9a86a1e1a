//! How it went.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use common::summary::{Summary, Time};

/// A line per client, in columns, and one for all, which ends with `about_all`.
pub(crate) fn text(clients: &[(String, Summary)], about_all: &str) -> String {
    let rows: Vec<[String; 5]> = clients
        .iter()
        .map(|(name, summary)| {
            [
                name.clone(),
                summary.messages.to_string(),
                Time(summary.time).to_string(),
                Time(summary.median).to_string(),
                Time(summary.worst).to_string(),
            ]
        })
        .collect();
    let sum: u64 = clients.iter().map(|(_, summary)| summary.messages).sum();
    let sum = sum.to_string();
    let [w0, w1, w2, w3, w4] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        let widest = cells.max().unwrap_or(0);
        if column == 1 {
            widest.max(sum.len())
        } else {
            widest
        }
    });
    let mut text = String::new();
    for [name, messages, time, median, worst] in &rows {
        _ = writeln!(
            text,
            "{name:w0$}  {messages:>w1$} message{} in {time:>w2$}, \
             round trip median {median:>w3$}, worst {worst:>w4$}",
            plural(messages)
        );
    }
    let s = plural(&sum).trim_end();
    _ = writeln!(text, "{:w0$}  {sum:>w1$} message{s}{about_all}", "in all");
    text
}

/// As wide for one as for many.
fn plural(count: &str) -> &str {
    if count == "1" { " " } else { "s" }
}

/// How many records `log` holds. It is streamed: logs can be larger than memory.
pub(crate) fn count_records(log: &Path) -> io::Result<u64> {
    let mut file = File::open(log)?;
    let mut buffer = vec![0; 64 * 1024];
    let mut records = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(records),
            Ok(len) => records += memchr::memchr_iter(b'\n', &buffer[..len]).count() as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn clients_stand_in_columns() {
        let summary = |messages, micros| Summary {
            messages,
            time: Duration::from_micros(micros),
            median: Duration::from_micros(micros / 40),
            worst: Duration::from_micros(micros / 10),
        };
        let clients = [
            ("client 1".to_owned(), summary(50, 3210)),
            ("client 10".to_owned(), summary(1, 1_000_000)),
        ];
        let expected = "\
client 1   50 messages in 3.21 ms, round trip median 80.0 µs, worst 321 µs
client 10   1 message  in  1.00 s, round trip median 25.0 ms, worst 100 ms
in all     51 messages, 220 records in x
";
        assert_eq!(text(&clients, ", 220 records in x"), expected);
    }

    #[test]
    fn records_are_counted_by_their_ends() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        std::fs::write(&log, "record\n".repeat(100_001) + "torn").unwrap();
        assert_eq!(count_records(&log).unwrap(), 100_001);
        count_records(&directory.path().join("no")).unwrap_err();
    }
}
