//! The report as one page of HTML that needs nothing else: of one run, or of several side by side.

mod chart;
mod charts;
mod tables;

use std::fmt::Write as _;

use crate::drive::figures::Latency;
use crate::report::{Loop, Report};
use crate::show::page::chart::COLOURS;
use common::units::{count, latency, plural, rate, seconds};

const STYLE: &str = include_str!("page/style.css");

/// The page for `runs`, of which there is at least one.
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
    tables::tables(html, runs);
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

/// The figures that are looked at first.
fn tiles(html: &mut String, run: &Report) {
    let time = |pick: fn(&Latency) -> u64| {
        let picked = run.latency_ns.as_ref().map(pick);
        picked.map_or("–".to_owned(), |ns| latency(ns as f64))
    };
    let failed = run.messages.sent - run.messages.acknowledged;
    let tiles = [
        ("messages/s", rate(run.throughput.messages_per_s)),
        ("p50", time(|l| l.p50)),
        ("p99", time(|l| l.p99)),
        ("max", time(|l| l.max)),
        ("not acknowledged", count(failed)),
    ];
    html.push_str("<div class=\"tiles\">\n");
    for (name, value) in tiles {
        _ = writeln!(html, "<div><b>{value}</b><span>{name}</span></div>");
    }
    html.push_str("</div>\n");
}

fn warnings(html: &mut String, run: &Report, named: bool) {
    for warning in &run.warnings {
        let text = if named {
            format!("{}: {warning}", run.name())
        } else {
            warning.clone()
        };
        _ = writeln!(html, "<p class=\"warning\">{}</p>", escaped(&text));
    }
}

fn legend(html: &mut String, names: &[&str]) {
    html.push_str("<p class=\"legend\">\n");
    for (n, name) in names.iter().enumerate() {
        let (colour, name) = (n % COLOURS, escaped(name));
        _ = writeln!(
            html,
            "<span style=\"--line:var(--line{colour})\">{name}</span>"
        );
    }
    html.push_str("</p>\n");
}

/// Text that came from anywhere, safe between tags and in attributes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
