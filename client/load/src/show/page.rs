//! HTML page of a report, self-contained: one run, or several side by side.

mod chart;
mod charts;
mod html;
mod rows;
mod tables;

use std::fmt::Write as _;

use crate::drive::figures::Latency;
use crate::report::{Loop, Report};
use crate::show::page::html::legend;
use common::html::escaped;
use common::units::{count, latency, plural, rate, seconds};

const STYLE: &str = include_str!("page/style.css");

/// The page for `runs`, which must not be empty.
pub(crate) fn page(runs: &[Report]) -> Result<String, String> {
    let title = match runs {
        [run] => format!("client load: {}", title(run)),
        runs => format!("client load: {} runs", runs.len()),
    };
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{0}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{0}</h1>\n",
        escaped(&title)
    );
    let html = &mut out;
    if let [run] = runs {
        subtitle(html, run);
        tiles(html, run);
    }
    for run in runs {
        warnings(html, run, runs.len() > 1);
    }
    if runs.len() > 1 {
        legend(html, &runs.iter().map(Report::name).collect::<Vec<_>>());
    }
    charts::charts(html, runs)?;
    tables::tables(html, runs)?;
    out.push_str("</main>\n</body>\n</html>\n");
    Ok(out)
}

fn title(run: &Report) -> String {
    let address = &run.settings.address;
    match &run.label {
        Some(label) => format!("{label} ({address})"),
        None => address.clone(),
    }
}

fn subtitle(html: &mut String, run: &Report) {
    let settings = &run.settings;
    let load = match settings.kind {
        Loop::Closed => "closed loop".to_owned(),
        Loop::Open => format!(
            "open loop at {} messages/s, latency from the planned time",
            rate(settings.rate.unwrap_or(0.0))
        ),
    };
    let text = format!(
        "{}, {} unanswered each, {load}; measured {}, {}",
        plural(settings.connections, "connection"),
        count(u64::from(settings.pipeline)),
        seconds(run.measured_s),
        run.started
    );
    _ = writeln!(html, "<p class=\"subtitle\">{}</p>", escaped(&text));
}

/// The most important figures.
fn tiles(html: &mut String, run: &Report) {
    let time = |pick: fn(&Latency) -> u64| {
        let picked = run.latency_ns.as_ref().map(pick);
        picked.map_or("–".to_owned(), |ns| latency(ns as f64))
    };
    // A report from a file may contain any numbers.
    let failed = run.messages.sent.saturating_sub(run.messages.acknowledged);
    let verification = run.verification.as_ref().map(|found| {
        let passed = if found.passed { "passed" } else { "FAILED" };
        ("verification", passed.to_owned())
    });
    let tiles = [
        ("messages/s", rate(run.throughput.messages_per_s)),
        ("p50", time(|l| l.p50)),
        ("p99", time(|l| l.p99)),
        ("max", time(|l| l.max)),
        ("not acknowledged", count(failed)),
    ];
    html.push_str("<div class=\"tiles\">\n");
    for (name, value) in tiles.into_iter().chain(verification) {
        let class = match value.as_str() {
            "passed" => " class=\"passed\"",
            "FAILED" => " class=\"failed\"",
            _ => "",
        };
        _ = writeln!(html, "<div><b{class}>{value}</b><span>{name}</span></div>");
    }
    html.push_str("</div>\n");
}

fn warnings(html: &mut String, run: &Report, named: bool) {
    for warning in &run.warnings {
        let text = if named { format!("{}: {warning}", run.name()) } else { warning.clone() };
        _ = writeln!(html, "<p class=\"warning\">{}</p>", escaped(&text));
    }
}

#[cfg(test)]
mod tests {
    use super::STYLE;

    /// A colour of the light page or of the dark one, by name.
    fn colour(dark: bool, name: &str) -> [f64; 3] {
        let half = STYLE.split("@media").nth(usize::from(dark)).unwrap();
        let at = half.find(&format!("--{name}: #")).unwrap();
        let digits: String = half[at..].chars().skip_while(|c| *c != '#').skip(1).collect();
        let digits = digits.split(';').next().unwrap();
        let digits: Vec<_> = digits.chars().collect();
        let pair = |n: usize| match digits.len() {
            3 => [digits[n], digits[n]].iter().collect::<String>(),
            _ => digits[2 * n..2 * n + 2].iter().collect(),
        };
        [0, 1, 2].map(|n| f64::from(u8::from_str_radix(&pair(n), 16).unwrap()) / 255.0)
    }

    /// "Contrast ratio" and "relative luminance" as in WCAG 2.1.
    fn contrast(a: [f64; 3], b: [f64; 3]) -> f64 {
        let luminance = |colour: [f64; 3]| {
            let [r, g, b] = colour
                .map(|c| if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) });
            0.2126 * r + 0.7152 * g + 0.0722 * b
        };
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn everything_can_be_told_from_what_is_behind_it() {
        for dark in [false, true] {
            let pairs = [
                ("text", "page"),
                ("text", "tile"),
                ("text", "warn"),
                ("soft", "page"),
                ("soft", "tile"),
                ("good", "page"),
                ("good", "tile"),
                ("bad", "page"),
                ("bad", "tile"),
                ("line0", "page"),
                ("line1", "page"),
                ("line2", "page"),
                ("line3", "page"),
                ("line4", "page"),
                ("line5", "page"),
            ];
            for (front, back) in pairs {
                let ratio = contrast(colour(dark, front), colour(dark, back));
                assert!(ratio >= 4.5, "{front} on {back}, dark: {dark}: {ratio:.2}");
            }
        }
    }
}
