//! A report as text for a terminal, and as a page of HTML.

use common::args;
use common::html::escaped;

use crate::metric::METRICS;
use crate::report::{AtLoad, Measured, Report};
use crate::results::Figures;
use crate::system::BASELINE;
use crate::table::{RATIO, Table};
use crate::targets::Target;

const STYLE: &str = "
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; padding: 0 1rem; width: fit-content }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td { padding: .15rem .6rem; text-align: right; border-bottom: 1px solid #8884 }
tr:first-child { color: GrayText } td:first-child, .left3 td { text-align: left }
";

/// Lines as wide as the terminal.
pub(crate) fn text(report: &Report) -> String {
    let width = args::columns();
    let tables: Vec<_> = tables(report).iter().map(|it| it.text(width)).collect();
    format!("{}\n\n{}", heading(report), tables.join("\n"))
}

pub(crate) fn page(report: &Report) -> String {
    let heading = escaped(&heading(report)).replace('\n', "<br>\n");
    let tables: String = tables(report).iter().map(Table::html).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Benchmark</title>\n\
         <style>{STYLE}</style>\n<h1>Benchmark</h1>\n<p>{heading}\n\
         <p>A bar is a ratio to the baseline. At 4 it is full.\n{tables}</html>\n"
    )
}

/// Date, machine, and what was disturbed, left out or not judged: a line each.
fn heading(report: &Report) -> String {
    let (date, rounds, seconds) = (&report.date, report.rounds, report.seconds);
    let (machine, seed) = (&report.machine, report.seed);
    let memory = machine["memory_bytes"].as_f64().unwrap_or(0.0) / f64::from(1 << 30);
    let word = |field: &str| machine[field].as_str().unwrap_or_default();
    let (cpu, system, cpus) = (word("cpu"), word("system"), &machine["cpus"]);
    let (disturbed, all) = (report.disturbed, report.measurements);
    let mut lines = vec![
        format!("{date}: {rounds} x {seconds} s, shuffled (-seed {seed})"),
        format!("{cpu}, {cpus} CPUs for client and server, {memory:.0} GiB, {system}"),
        format!("other processes disturbed {disturbed} of {all} measurements"),
    ];
    if report.quick {
        lines.push("targets are not judged: -quick is too short for that".to_owned());
    }
    lines.extend(report.left_out.iter().map(|why| format!("left out: {why}")));
    lines.join("\n")
}

/// What the systems promise, their figures at each load, and the targets that were judged.
fn tables(report: &Report) -> Vec<Table> {
    let mut tables = vec![promises(&report.servers)];
    tables.extend(report.settings.iter().map(figures));
    if report.targets.iter().any(|it| it.met.is_some()) {
        tables.push(targets(&report.targets));
    }
    tables
}

fn promises(servers: &[Measured]) -> Table {
    let row = |it: &Measured| vec![it.name.into(), it.promise.into(), it.version.clone()];
    let title = "where a message is when it is acknowledged";
    let head = ["server", "it is", "version"];
    Table::new(title, 3, &head, servers.iter().map(row).collect())
}

fn figures(at: &AtLoad) -> Table {
    let baseline = at.servers.iter().find(|it| it.server == BASELINE);
    let mut head = vec!["server"];
    for metric in METRICS {
        head.push(metric.name);
        head.extend(metric.is_compared().then_some(RATIO));
    }
    let row = |figures: &Figures| {
        let mut row = vec![figures.server.to_owned()];
        for metric in METRICS {
            let value = figures.get(metric);
            row.push(value.map(metric.unit).unwrap_or_default());
            if metric.is_compared() {
                let by = baseline.and_then(|baseline| baseline.get(metric));
                let ratio = value.zip(by).map(|(of, by)| format!("{:.2}", of / by));
                row.push(ratio.unwrap_or_default());
            }
        }
        row
    };
    let title = format!("{}: {}", at.setting, at.title);
    Table::new(&title, 1, &head, at.servers.iter().map(row).collect())
}

fn targets(targets: &[Target]) -> Table {
    let row = |it: &Target| {
        let met = if it.met? { "ok" } else { "MISSED" };
        Some(vec![it.what(), it.at.into(), it.limit(), it.shown(it.reached?), met.into()])
    };
    let rows: Vec<_> = targets.iter().filter_map(row).collect();
    let others = targets.len() - rows.len();
    let title = format!("targets ({others} more were not measured)");
    let head = ["target", "at", "limit", "reached", "result"];
    Table::new(&title, 1, &head, rows)
}
