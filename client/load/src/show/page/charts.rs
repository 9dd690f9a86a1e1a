//! Charts of the page: throughput over time, latency over time, latency by percentile.

use std::fmt::Write as _;

use super::html::legend;
use crate::drive::figures::{Latency, Pick, Second};
use crate::report::Report;
use crate::show::page::chart::{Axis, Line, draw};
use common::html::escaped;
use common::units::{count, latency, seconds};

pub(crate) fn charts(html: &mut String, runs: &[Report]) -> Result<(), String> {
    let to = runs.iter().map(|run| run.measured_s).fold(0.0, f64::max);
    let x = Axis::linear(to, |value| match value {
        0.0 => "0".to_owned(),
        value => seconds(value),
    });
    figure(html, "Acknowledged messages per second", &[], &throughput(&x, runs)?);
    let (caption, names, lines) = match runs {
        [run] => {
            let shown = |(name, _): &(&str, Pick)| ["p50", "p90", "p99", "max"].contains(name);
            let (names, picks): (Vec<_>, Vec<_>) =
                Latency::FIGURES.into_iter().filter(shown).unzip();
            let lines = picks.into_iter().enumerate();
            let lines = lines.map(|(n, pick)| over_time(n, run, pick)).collect();
            ("Latency over time (log scale)", names, lines)
        }
        runs => {
            let lines = runs.iter().enumerate();
            let lines: Vec<_> = lines.map(|(n, run)| over_time(n, run, |l| l.p99)).collect();
            ("Latency over time, p99 (log scale)", Vec::new(), lines)
        }
    };
    figure(html, caption, &names, &draw(&x, &time_axis(&lines), &lines)?);
    let lines: Vec<_> = runs.iter().enumerate().map(|(n, run)| curve(n, run)).collect();
    let svg = draw(&nines_axis(&lines), &time_axis(&lines), &lines)?;
    figure(html, "Latency by percentile (log scale)", &[], &svg);
    Ok(())
}

fn figure(html: &mut String, caption: &str, names: &[&str], svg: &str) {
    _ = writeln!(html, "<figure>\n<figcaption>{caption}</figcaption>");
    if !names.is_empty() {
        legend(html, names);
    }
    // Screen readers read the caption. The figures are in the tables.
    let about = format!("<svg role=\"img\" aria-label=\"Chart: {}\" ", escaped(caption));
    let svg = svg.trim_end().replacen("<svg ", &about, 1);
    _ = writeln!(html, "<div class=\"wide\">{svg}</div>\n</figure>");
}

fn throughput(x: &Axis, runs: &[Report]) -> Result<String, String> {
    let per_second = |second: &Second| {
        let length = (second.to_s - second.from_s).max(1e-3);
        second.acknowledged as f64 / length
    };
    let lines: Vec<_> = runs
        .iter()
        .enumerate()
        .map(|(colour, run)| Line {
            colour,
            points: run
                .series
                .iter()
                .map(|second| (middle(second), Some(per_second(second))))
                .collect(),
        })
        .collect();
    let top = values(&lines).fold(0.0, f64::max);
    draw(x, &Axis::linear(top, |value| count(value as u64)), &lines)
}

fn over_time(colour: usize, run: &Report, pick: Pick) -> Line {
    let value = |second: &Second| second.latency_ns.as_ref().map(|l| logarithm(pick(l)));
    let points = run.series.iter().map(|second| (middle(second), value(second)));
    Line { colour, points: points.collect() }
}

/// The percentile curve. Each step of 1 on the x axis leaves a tenth of the messages.
fn curve(colour: usize, run: &Report) -> Line {
    let last = (run.messages.acknowledged.max(1) as f64).log10();
    let points = run.curve.iter().map(|&(percentile, ns)| {
        let rest = 1.0 - percentile / 100.0;
        let nines = if rest > 0.0 { -rest.log10() } else { last };
        (nines.clamp(0.0, last), Some(logarithm(ns)))
    });
    Line { colour, points: points.collect() }
}

fn nines_axis(lines: &[Line]) -> Axis {
    let last = lines.iter().filter_map(|line| line.points.last());
    let last = last.map(|point| point.0).fold(1.0, f64::max);
    let label = |nines: u32| match nines {
        0 => "0 %".to_owned(),
        1 => "90 %".to_owned(),
        2 => "99 %".to_owned(),
        n => format!("99.{} %", "9".repeat(n as usize - 2)),
    };
    let mut ticks: Vec<_> = (0..=last as u32).map(|n| (f64::from(n), label(n))).collect();
    ticks.push((0.5f64.log10().abs(), "50 %".to_owned()));
    Axis { range: (0.0, last * 1.02), ticks }
}

fn time_axis(lines: &[Line]) -> Axis {
    let bottom = values(lines).fold(f64::MAX, f64::min);
    let top = values(lines).fold(0.0, f64::max);
    let label = |ns| latency(ns).replace(".00 ", " ").replace(".0 ", " ");
    if bottom <= top {
        Axis::logarithmic(10f64.powf(bottom), 10f64.powf(top), label)
    } else {
        Axis::logarithmic(1e3, 1e6, label)
    }
}

fn values(lines: &[Line]) -> impl Iterator<Item = f64> {
    lines.iter().flat_map(|line| &line.points).filter_map(|point| point.1)
}

fn middle(second: &Second) -> f64 {
    f64::midpoint(second.from_s, second.to_s)
}

fn logarithm(ns: u64) -> f64 {
    (ns.max(1) as f64).log10()
}
