//! An HTML page of bars: every server's ratio to the baseline.

use std::fmt::Write as _;

use common::html::escaped;

use crate::output::About;
use crate::results::{Cell, Results};
use crate::table;
use crate::targets::{Limit, TargetResult};

const STYLE: &str = "
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h2 { margin: 2.5rem 0 .25rem } h3 { margin: 1rem 0 .25rem; font-size: 1em }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px }
td, th { padding: .15rem .6rem; text-align: right; border-bottom: 1px solid #8884; font-weight: normal }
th { color: GrayText } td:first-child, th:first-child { text-align: left }
.bars { display: grid; grid-template-columns: 9rem 1fr 4rem; gap: 3px .6rem; align-items: center; font-size: 13px }
.bar { height: 14px; background: #8a8a8a; border-radius: 2px; min-width: 1px }
.own { background: #2f7dd1 } .baseline { background: #3a9a5b }
.ok { color: #3a9a5b } .missed { color: #d1452f; font-weight: bold }
.wide { overflow-x: auto }
.legend .bar { display: inline-block; width: 14px; height: 10px; margin-left: 1rem }
";

/// The legend of the colours and of the sign for a cut bar.
const LEGEND: &str = "<p class=\"legend\"><span class=\"bar own\"></span> this server, in its variants \
    <span class=\"bar baseline\"></span> the baseline: answers and keeps nothing \
    <span class=\"bar\"></span> peers &nbsp; » the bar is cut: its figure lies beyond the scale</p>\n";

/// The whole page.
pub(crate) fn page(
    about: &About,
    results: &Results,
    results_of_targets: &[TargetResult],
    quick: bool,
) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Benchmark</title><style>{STYLE}</style></head><body>\n\
         <h1>Benchmark</h1>\n<p>{}</p>\n",
        escaped(&about.to_string())
            .trim_end()
            .replace('\n', "<br>\n")
    );
    promises(&mut html, about);
    html.push_str("<h2>Targets</h2>\n");
    if quick {
        _ = writeln!(html, "<p>{}</p>", table::NOT_JUDGED);
    } else {
        targets(&mut html, results_of_targets);
    }
    html.push_str(LEGEND);
    for setting in results.settings() {
        _ = writeln!(html, "<h2>{}</h2>", setting.title());
        let cells = results.at(setting);
        if let Some(baseline) = results.baseline(setting) {
            let rate = |cell: &Cell| cell.messages_per_s;
            bars(
                &mut html,
                "Messages per second, baseline = 1: more is better",
                &cells,
                &baseline,
                rate,
            );
            let title = "CPU time per message, baseline = 1: less is better";
            bars(&mut html, title, &cells, &baseline, Cell::cpu_ns);
        }
        html.push_str("<h3>Figures</h3>\n");
        rows(&mut html, &table::rows(results, setting));
    }
    html.push_str("</body></html>\n");
    html
}

/// The promise of each server's acknowledgement: the servers compared make different promises.
fn promises(html: &mut String, about: &About) {
    html.push_str(
        "<h2>Where a message is when it is acknowledged</h2>\n<div class=\"wide\"><table>\n",
    );
    for server in &about.servers {
        let (name, promise) = (server.name, escaped(server.promise));
        let version = escaped(&server.version);
        _ = writeln!(
            html,
            "<tr><td>{name}<td style=\"text-align:left\">{promise}<td>{version}"
        );
    }
    html.push_str("</table></div>\n");
}

/// A bar for each server. A bar beyond the scale is cut and marked.
fn bars(html: &mut String, title: &str, cells: &[Cell], baseline: &Cell, part: fn(&Cell) -> f64) {
    let most = cells
        .iter()
        .map(|cell| part(cell) / part(baseline))
        .fold(1.0, f64::max)
        .min(4.0);
    _ = writeln!(html, "<h3>{title}</h3>\n<div class=\"bars\">");
    for cell in cells {
        let ratio = part(cell) / part(baseline);
        let width = 100.0 * (ratio / most).min(1.0);
        let class = match cell.server {
            "baseline" => "bar baseline",
            name if name.starts_with("server") => "bar own",
            _ => "bar",
        };
        let cut = if ratio > most { "&#8201;»" } else { "" };
        _ = writeln!(
            html,
            "<span>{}</span><div class=\"{class}\" style=\"width:{width:.1}%\"></div>\
             <span>{ratio:.2}{cut}</span>",
            cell.server
        );
    }
    html.push_str("</div>\n");
}

fn targets(html: &mut String, results_of_targets: &[TargetResult]) {
    html.push_str("<table>\n<tr><th>target<th>at<th>limit<th>reached<th>\n");
    for result in results_of_targets {
        let limit = match result.limit {
            Limit::AtMost(limit) => format!("≤ {limit}"),
            Limit::AtLeast(limit) => format!("≥ {limit}"),
        };
        let reached = result
            .reached
            .map_or("–".to_owned(), |reached| format!("{reached:.2}"));
        let (class, word) = match result.met {
            Some(true) => ("ok", "ok"),
            Some(false) => ("missed", "missed"),
            None => ("", "not measured"),
        };
        let (what, at) = (result.what, result.at);
        _ = writeln!(
            html,
            "<tr><td>{what}<td>{at}<td>{limit}<td>{reached}<td class=\"{class}\">{word}"
        );
    }
    html.push_str("</table>\n");
}

fn rows(html: &mut String, rows: &[Vec<String>]) {
    html.push_str("<div class=\"wide\"><table>\n");
    for (index, row) in rows.iter().enumerate() {
        let tag = if index == 0 { "<th>" } else { "<td>" };
        let cells: String = row
            .iter()
            .map(|cell| format!("{tag}{}", escaped(cell)))
            .collect();
        _ = writeln!(html, "<tr>{cells}");
    }
    html.push_str("</table></div>\n");
}
