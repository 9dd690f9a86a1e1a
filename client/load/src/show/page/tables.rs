//! Tables of the page: a row for each figure or setting, a column for each run.

use std::fmt::Write as _;

use common::html::escaped;

use super::rows::{FIGURES, LOAD_GENERATOR, Row, Run, SETTINGS, VERIFICATION};
use crate::report::Report;
use crate::show::text;

pub(crate) fn tables(html: &mut String, runs: &[Report]) -> Result<(), String> {
    verdicts(html, runs);
    let runs = runs.iter().map(Run::new).collect::<Result<Vec<_>, _>>()?;
    // The tables of one run are narrow enough to be side by side.
    let class = if runs.len() == 1 { "narrow" } else { "" };
    _ = writeln!(html, "<div class=\"{class}\">");
    table(html, "Figures", &runs, FIGURES);
    table(html, "Settings", &runs, SETTINGS);
    table(html, "Load generator", &runs, LOAD_GENERATOR);
    table(html, "Verification", &runs, VERIFICATION);
    html.push_str("</div>\n");
    Ok(())
}

/// Rows and tables without any value are left out. Later runs have an extra column with the ratio
/// to the first run.
fn table(html: &mut String, caption: &str, runs: &[Run<'_>], rows: &[Row]) {
    let is_filled = |row: &&Row| runs.iter().any(|run| run.text(row).is_some());
    let filled: Vec<_> = rows.iter().filter(is_filled).collect();
    let Some((first, later)) = runs.split_first().filter(|_| !filled.is_empty()) else {
        return;
    };
    let has_ratio = |run: &Run<'_>| filled.iter().any(|row| run.ratio(first, row).is_some());
    _ = writeln!(
        html,
        "<section>\n<h2>{caption}</h2>\n<div class=\"wide\"><table aria-label=\"{caption}\">"
    );
    if !later.is_empty() {
        _ = write!(html, "<tr><td></td><th scope=\"col\">{}</th>", escaped(first.report.name()));
        for run in later {
            _ = write!(html, "<th scope=\"col\">{}</th>", escaped(run.report.name()));
            if has_ratio(run) {
                html.push_str("<th scope=\"col\">÷ first</th>");
            }
        }
        html.push_str("</tr>\n");
    }
    for row in &filled {
        _ = write!(html, "<tr><th scope=\"row\">{}</th>", row.0);
        let cell = |html: &mut String, text: Option<String>| {
            let text = text.map_or("–".to_owned(), |text| escaped(&text));
            _ = write!(html, "<td>{text}</td>");
        };
        cell(html, first.text(row));
        for run in later {
            cell(html, run.text(row));
            if has_ratio(run) {
                let ratio = run.ratio(first, row).unwrap_or_default();
                _ = write!(html, "<td class=\"ratio\">{ratio}</td>");
            }
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</table></div>\n</section>\n");
}

fn verdicts(html: &mut String, runs: &[Report]) {
    if runs.iter().all(|run| run.thresholds.is_empty()) {
        return;
    }
    html.push_str("<h2>Thresholds</h2>\n<ul>\n");
    for run in runs {
        for threshold_result in &run.thresholds {
            let run = match runs {
                [_] => String::new(),
                _ => format!("{}: ", run.name()),
            };
            let text = format!("{run}{}", text::threshold_result(threshold_result).trim());
            let class = if threshold_result.failed { "failed" } else { "passed" };
            _ = writeln!(html, "<li class=\"{class}\">{}</li>", escaped(&text));
        }
    }
    html.push_str("</ul>\n");
}
