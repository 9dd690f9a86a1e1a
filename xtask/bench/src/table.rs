//! Tables of results for the terminal.

use std::fmt::Write as _;

use common::args;
use common::units::{latency, rate};

use crate::fairness::FLOODERS;
use crate::output::Server;
use crate::results::{Cell, Results, percentile};
use crate::setting::Setting;
use crate::system::STREAMING;
use crate::targets::{Limit, TargetResult};

/// One table for each setting.
pub(crate) fn figures(results: &Results) -> String {
    let mut text = String::new();
    for setting in results.settings() {
        _ = writeln!(text, "{}", setting.title());
        text.push_str(&columns(&rows(results, setting)));
        text.push('\n');
    }
    text
}

/// The table as rows of text; the first row is the head.
pub(crate) fn rows(results: &Results, setting: Setting) -> Vec<Vec<String>> {
    let mut head = vec![
        "server",
        "messages/s",
        "±",
        "/ baseline",
        "CPU/message",
        "user",
        "kernel",
        "/ baseline",
        "p50",
        "p99",
        "p99.9",
        "memory",
    ];
    let cells = results.at(setting);
    let has_nodes = cells.iter().any(|cell| cell.nodes_ns.is_some());
    head.extend(
        has_nodes
            .then_some(["nodes' CPU", "stored at once"])
            .into_iter()
            .flatten(),
    );
    head.extend((setting.idle > 0).then_some("per idle client"));
    let mut rows = vec![head.into_iter().map(str::to_owned).collect()];
    let baseline = results.baseline(setting);
    let ratio = |part: fn(&Cell) -> f64, cell: &Cell| match &baseline {
        Some(baseline) => format!("{:.2}", part(cell) / part(baseline)),
        None => String::new(),
    };
    for cell in cells {
        let mut row = vec![
            cell.server.to_owned(),
            rate(cell.messages_per_s),
            format!("{:.0} %", cell.spread * 100.0),
            ratio(|cell| cell.messages_per_s, &cell),
            latency(cell.cpu_ns()),
            latency(cell.user_ns),
            latency(cell.system_ns),
            ratio(Cell::cpu_ns, &cell),
            latency(cell.p50_ns as f64),
            latency(cell.p99_ns as f64),
            latency(cell.p99_9_ns as f64),
            or_nothing(cell.peak_memory_bytes, |bytes| {
                format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
            }),
        ];
        if has_nodes {
            row.push(or_nothing(cell.nodes_ns, latency));
            row.push(or_nothing(cell.stream_message_bytes, |bytes| {
                format!("{:.1} KiB", bytes / 1024.0)
            }));
        }
        row.extend(
            cell.bytes_per_idle_client
                .map(|bytes| format!("{bytes:.0} B")),
        );
        rows.push(row);
    }
    rows
}

fn or_nothing<T>(figure: Option<T>, shown: impl FnOnce(T) -> String) -> String {
    figure.map_or_else(String::new, shown)
}

/// The latency of a light client under load from flooders; empty if it was not measured.
pub(crate) fn fairness(results: &Results) -> String {
    let waited = results.fairness();
    let figure = |per_mille| percentile(&waited, per_mille).map(|ns| latency(ns as f64));
    or_nothing(figure(500).zip(figure(990)), |(p50, p99)| {
        format!(
            "{STREAMING}: a line now and then beside {}: p50 {p50}, p99 {p99} of {} lines\n\n",
            FLOODERS.title(),
            waited.len()
        )
    })
}

/// The cost of TLS; empty if it was not measured.
pub(crate) fn secure(results: &Results) -> String {
    let head = [
        "server-tls",
        "handshakes/s of CPU",
        "p99 beside 200/s",
        "per idle client",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (name, with_certificate) in [
        ("no client certificate", false),
        ("client certificate", true),
    ] {
        let Some(cell) = results.secure(with_certificate) else {
            continue;
        };
        let idle = cell
            .bytes_per_idle_client
            .map(|bytes| format!("{bytes:.0} B"));
        rows.push(vec![
            name.to_owned(),
            rate(cell.handshakes_per_s),
            latency(cell.p99_ns),
            idle.unwrap_or_default(),
        ]);
    }
    match rows.len() {
        1 => String::new(),
        _ => format!("handshakes\n{}\n", columns(&rows)),
    }
}

/// The promise of each server's acknowledgement.
pub(crate) fn promises(servers: &[Server]) -> String {
    let mut text = "where a message is when it is acknowledged\n".to_owned();
    let width = servers.iter().map(|server| server.name.len()).max();
    let width = width.unwrap_or(0);
    for Server { name, promise, .. } in servers {
        _ = writeln!(text, "  {name:width$}  {promise}");
    }
    text
}

/// Printed in place of the targets after a quick run.
pub(crate) const NOT_JUDGED: &str = "targets are not judged: -quick is too short for that, the noise is larger than what they ask for";

/// The measured targets: limit, figure and whether the target is met.
pub(crate) fn targets(results_of_targets: &[TargetResult], quick: bool) -> String {
    if quick {
        return format!("{NOT_JUDGED}\n");
    }
    let mut rows = vec![
        ["target", "at", "limit", "reached", ""]
            .map(str::to_owned)
            .to_vec(),
    ];
    let measured = results_of_targets
        .iter()
        .filter(|result| result.met.is_some());
    for result in measured {
        let (sign, limit) = match result.limit {
            Limit::AtMost(limit) => ("≤", limit),
            Limit::AtLeast(limit) => ("≥", limit),
        };
        rows.push(vec![
            result.what.to_owned(),
            result.at.to_owned(),
            format!("{sign} {limit}"),
            result
                .reached
                .map_or(String::new(), |reached| format!("{reached:.2}")),
            if result.met == Some(true) {
                "ok"
            } else {
                "MISSED"
            }
            .to_owned(),
        ]);
    }
    let others = results_of_targets.len() + 1 - rows.len();
    match (rows.len(), others) {
        (1, _) => "  (no target was measured)\n".to_owned(),
        (_, 0) => columns(&rows),
        (_, n) => format!("{}  ({n} more were not measured)\n", columns(&rows)),
    }
}

/// Rows in columns, the first aligned left, the others right. Columns that do not fit the terminal go
/// below, after the first column again.
fn columns(rows: &[Vec<String>]) -> String {
    columns_within(args::columns(), rows)
}

fn columns_within(most: usize, rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..rows.first().map_or(0, Vec::len)).map(width).collect();
    let first = 2 + widths.first().copied().unwrap_or(0);
    let mut text = String::new();
    let mut from = 1;
    while from < widths.len() {
        let mut taken = first;
        let fits = widths[from..].iter().take_while(|width| {
            taken += 2 + **width;
            taken <= most
        });
        // At least one column, or the loop would never end.
        let to = from + fits.count().max(1);
        for row in rows {
            let mut line = format!("  {:w$}", row[0], w = widths[0]);
            for (cell, width) in row.iter().zip(&widths).take(to).skip(from) {
                _ = write!(line, "  {cell:>width$}");
            }
            _ = writeln!(text, "{}", line.trim_end());
        }
        from = to;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a", "±", "c"], vec!["long", "1", "22"]];
        let rows: Vec<Vec<_>> = rows
            .map(|row| row.iter().map(|&s| s.to_owned()).collect())
            .into();
        assert_eq!(columns_within(80, &rows), "  a     ±   c\n  long  1  22\n");
        let narrow = "  a     ±\n  long  1\n  a      c\n  long  22\n";
        assert_eq!(columns_within(10, &rows), narrow);
        assert_eq!(columns_within(1, &rows), narrow, "one at least");
    }
}
