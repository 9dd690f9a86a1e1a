//! Summary of a run.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

use common::record;
use common::summary::{Summary, Time};
use common::units::count;

/// A line per client, in columns, and a total that ends with `about_all`.
pub(crate) fn text(clients: &[(String, Summary)], about_all: &str) -> String {
    let rows: Vec<[String; 5]> = clients
        .iter()
        .map(|(name, summary)| {
            [
                name.clone(),
                count(summary.messages),
                Time(summary.time).to_string(),
                Time(summary.median).to_string(),
                Time(summary.worst).to_string(),
            ]
        })
        .collect();
    let sum: u64 = clients.iter().map(|(_, summary)| summary.messages).sum();
    let sum = count(sum);
    let [w0, w1, w2, w3, w4] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        let widest = cells.max().unwrap_or(0);
        if column == 1 { widest.max(sum.len()) } else { widest }
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

/// The singular is padded to the width of the plural.
fn plural(count: &str) -> &str {
    if count == "1" { " " } else { "s" }
}

/// The number of records in a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Records {
    pub(crate) all: u64,
    /// Records of messages.
    pub(crate) messages: u64,
}

/// Counts the whole records of `log`. It is read in chunks, since a log can be larger than memory.
pub(crate) fn count_records(log: &Path) -> io::Result<Records> {
    let mut log = BufReader::with_capacity(64 << 10, File::open(log)?);
    let mut records = Records::default();
    let mut line = Vec::new();
    while log.read_until(b'\n', &mut line)? > 0 {
        if let Some(record) = line.strip_suffix(b"\n") {
            records.all += 1;
            records.messages += u64::from(record::is_of_message(record));
        }
        line.clear();
    }
    Ok(records)
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
        let pair = "INFO\t| 2019-02-24 15:10:14 --[::1]:1 recieved: recieved: x\n\
                    INFO\t| 2019-02-24 15:10:14 --[::1]:1 send: ok\n";
        std::fs::write(&log, pair.repeat(50_001) + "INFO\t| 2019").unwrap();
        let (all, messages) = (100_002, 50_001);
        assert_eq!(count_records(&log).unwrap(), Records { all, messages });
        count_records(&directory.path().join("no")).unwrap_err();
    }
}
