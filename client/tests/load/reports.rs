//! Tests of the reports of a run: text, JSON, and the HTML page.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Fake, arg};
use test_support::commands::{client, finish, text};

fn server() -> Fake {
    Fake::answering(|_, number| match number % 10 {
        9 => "error log: full\n".to_owned(),
        _ => "ok\n".to_owned(),
    })
}

#[test]
fn the_text_has_the_figures_and_nothing_else_is_printed() {
    let output = finish(&mut server().load(&["-connections", "1", "-messages", "40"]));
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "", "no progress bar where there is no terminal");
    let report = text(&output.stdout);
    for expected in [
        "1 connection x 1 unanswered, 1 thread",
        "closed loop, latency from sending",
        "sent          40\n",
        "acknowledged  36  (90.00 %)",
        "errors        4\n",
        "error log: full",
        "messages/s",
        "p99.99",
        "█",
        "generator",
    ] {
        assert!(report.contains(expected), "{expected} in {report}");
    }
    let output = finish(&mut server().load(&["-connections=2", "-messages=40", "-rate=1000"]));
    let report = text(&output.stdout);
    assert!(report.contains("open loop, 1,000 messages/s planned"), "{report}");
}

/// Collects every key in `value`.
fn keys(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                into.insert(key.clone());
                keys(value, into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, into)),
        _ => {}
    }
}

#[test]
fn the_json_is_what_its_page_says() {
    let directory = TempDir::new().unwrap();
    let log = directory.path().join("a.log");
    let run = directory.path().join("run.json");
    fs::write(&log, "").unwrap();
    let args = ["-rate=500", "-connections=2", "-messages=40", "-fail-if=errors>0"];
    let keep = ["-verify", arg(&log), "-save", arg(&run), "-label", "x"];
    let (json, code) = server().measure(&[&args[..], &keep].concat());
    assert_eq!(code, 4);
    assert_eq!((&json["format"], &json["version"]), (&"client-load".into(), &1.into()));
    let mut found = BTreeSet::new();
    keys(&json, &mut found);
    let saved: Value = serde_json::from_slice(&fs::read(&run).unwrap()).unwrap();
    keys(&saved, &mut found);

    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/load-json.md");
    let page = fs::read_to_string(page).unwrap();
    let documented: BTreeSet<_> = page.split('`').skip(1).step_by(2).collect();
    for key in &found {
        assert!(documented.contains(key.as_str()), "`{key}` is not described");
    }
    // The reverse: the first cell of each table row names a field.
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let names = rows.flat_map(|cell| cell.split('`')).filter(|name| name.len() > 2);
    for name in names {
        assert!(found.contains(name), "`{name}` is described but not there");
    }
}

#[test]
fn a_page_needs_nothing_else_and_shows_no_foreign_markup() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    let page = path("a.html");
    fs::write(&page, "something longer that was there before".repeat(10_000)).unwrap();
    let args = ["-connections=2", "-messages=40", "-label=<b>&", "-report", arg(&page)];
    let (json, code) = server().measure(&args);
    assert_eq!(code, 0);
    let html = fs::read_to_string(&page).unwrap();
    check_page(&html);
    assert_eq!(html.matches("<svg").count(), 3);
    assert!(html.contains("&lt;b&gt;&amp;") && !html.contains("<b>&"), "{html}");

    fs::write(path("a.json"), json.to_string()).unwrap();
    let (json, _) = server().measure(&["-connections=1", "-messages=10", "-label=second"]);
    fs::write(path("b.json"), json.to_string()).unwrap();
    let (a, b) = (path("a.json"), path("b.json"));
    let output = finish(&mut client(&["report", arg(&a), arg(&b), "-o", arg(&page)]));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let html = fs::read_to_string(&page).unwrap();
    check_page(&html);
    for expected in [
        "client load: 2 runs",
        "second",
        "&lt;b&gt;&amp;",
        "var(--line1)",
        "÷ first",
        "(log scale)",
        "role=\"img\" aria-label=\"Chart: ",
    ] {
        assert!(html.contains(expected), "{expected}");
    }
    // A run without a label is named after its file.
    let mut unnamed = json.clone();
    unnamed["label"] = Value::Null;
    fs::write(path("night.json"), unnamed.to_string()).unwrap();
    let night = path("night.json");
    let output = finish(&mut client(&["report", arg(&night), arg(&a), "-o", arg(&page)]));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("<th scope=\"col\">night</th>"), "{html}");
    // The page does not overwrite a run.
    let output = finish(&mut client(&["report", arg(&a), "-o", arg(&a)]));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("would overwrite"), "{output:?}");
    serde_json::from_slice::<Value>(&fs::read(&a).unwrap()).unwrap();

    fs::write(&b, "{\"format\":\"client-load\",\"version\":2}").unwrap();
    let output = finish(&mut client(&["report", arg(&a), arg(&b), "-o", arg(&page)]));
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("found 'client-load' version 2"), "{error}");
}

/// Rows of the page that a run with the options of the next test has.
const ROWS: [&str; 52] = [
    "sent",
    "acknowledged",
    "errors",
    "error replies",
    "timeouts",
    "unanswered",
    "messages/s",
    "out",
    "in",
    "latency min",
    "mean",
    "p50",
    "p90",
    "p99",
    "p99.9",
    "p99.99",
    "max",
    "started",
    "measured",
    "ended by",
    "server",
    "loop",
    "planned messages/s",
    "connections",
    "unanswered each",
    "threads",
    "duration",
    "messages",
    "warm-up",
    "message",
    "good reply",
    "hello",
    "run",
    "measured with",
    "connections made in",
    "each, p50",
    "each, max",
    "connections lost",
    "sent late, p99",
    "held back",
    "never sent",
    "CPU time",
    "per message",
    "threads busy",
    "system",
    "CPUs",
    "memory",
    "verdict",
    "missing",
    "out of order",
    "rejected",
    "of these in the log",
];

#[test]
fn every_figure_is_on_the_page_and_can_be_limited() {
    let directory = TempDir::new().unwrap();
    let log = directory.path().join("a.log");
    let page = directory.path().join("a.html");
    fs::write(&log, "").unwrap();
    let metrics = [
        "rate",
        "sent",
        "acknowledged",
        "errors",
        "timeouts",
        "unanswered",
        "lost",
        "min",
        "mean",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "p99.99",
        "max",
        "lag",
    ];
    let limits: Vec<_> = metrics
        .iter()
        .map(|metric| match *metric {
            "min" | "mean" | "max" | "lag" => format!("-fail-if={metric}>1s"),
            metric if metric.starts_with('p') => format!("-fail-if={metric}>1s"),
            metric => format!("-fail-if={metric}<0"),
        })
        .collect();
    let args = [
        "-rate=500",
        "-connections=2",
        "-messages=40",
        "-duration=9s",
        "-hello=hi",
        "-verify",
        arg(&log),
        "-report",
        arg(&page),
    ];
    let limits: Vec<_> = limits.iter().map(String::as_str).collect();
    let (json, _) = server().measure(&[&args[..], &limits].concat());
    for threshold in json["thresholds"].as_array().unwrap() {
        assert!(threshold["value"].is_number(), "{threshold}");
    }
    assert_eq!(json["thresholds"].as_array().unwrap().len(), metrics.len());
    let html = fs::read_to_string(&page).unwrap();
    for row in ROWS {
        let row = format!("<tr><th scope=\"row\">{row}</th><td>");
        let (_, value) = html.split_once(&row).unwrap_or_else(|| panic!("no {row}"));
        assert!(!value.starts_with(['–', '<']), "{row}");
    }
}

fn check_page(html: &str) {
    assert!(html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>\n"));
    for foreign in ["<script", "<link", "src=", "href=", "url(", "@import"] {
        assert!(!html.contains(foreign), "{foreign}");
    }
    let addresses = html.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    assert!(!addresses.contains("http://") && !addresses.contains("https://"));
    for tag in ["main", "figure", "svg", "table", "tr", "td", "section", "div"] {
        let (open, close) = (format!("<{tag}"), format!("</{tag}>"));
        let opened = html.match_indices(&open).filter(|(at, _)| {
            let next = html.as_bytes()[at + open.len()];
            next == b'>' || next == b' '
        });
        assert_eq!(opened.count(), html.matches(&close).count(), "{tag}");
    }
}

#[test]
fn a_page_that_cannot_be_written_is_noticed_before_the_run() {
    let server = Fake::answering(|_, _| panic!("nothing is to be sent"));
    for option in ["-report", "-save"] {
        let output = finish(&mut server.load(&[option, "/nonexistent/file"]));
        assert_eq!(output.status.code(), Some(1));
        let error = text(&output.stderr);
        assert!(error.starts_with("client load: cannot write /nonexistent/file: "), "{error}");
    }
}

#[test]
fn reports_with_absurd_numbers_are_drawn_or_refused() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (good, code) = server().measure(&["-connections=1", "-messages=50"]);
    assert_eq!(code, 0);
    let absurd: &[(&str, Value)] = &[
        ("/measured_s", 5e-324.into()),
        ("/measured_s", 1.7e308.into()),
        ("/measured_s", (-1e300).into()),
        ("/messages/acknowledged", u64::MAX.into()),
        ("/messages/sent", 0.into()),
        ("/throughput/messages_per_s", 1.7e308.into()),
        ("/latency_ns/max", u64::MAX.into()),
        ("/curve/0/0", 1e308.into()),
        ("/curve/0/1", u64::MAX.into()),
        ("/series/0/from_s", (-1e308).into()),
        ("/series/0/to_s", 1e308.into()),
        ("/series/0/acknowledged", u64::MAX.into()),
        ("/distribution/0/1", u64::MAX.into()),
        ("/machine/memory_bytes", u64::MAX.into()),
    ];
    for (place, value) in absurd {
        let mut json = good.clone();
        *json.pointer_mut(place).unwrap() = value.clone();
        fs::write(path("a.json"), json.to_string()).unwrap();
        let mut limited = std::process::Command::new("sh");
        limited.args(["-c", "ulimit -v 2000000; exec \"$@\"", "sh"]);
        limited.args([env!("CARGO_BIN_EXE_client"), "report"]);
        limited.args([&path("a.json"), std::path::Path::new("-o"), &path("a.html")]);
        limited.stdout(std::process::Stdio::piped());
        let output = finish(limited.stderr(std::process::Stdio::piped()));
        assert_eq!(output.status.code(), Some(0), "{place}: {output:?}");
        check_page(&fs::read_to_string(path("a.html")).unwrap());
    }
}
