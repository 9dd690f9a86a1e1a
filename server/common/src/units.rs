//! Durations, latencies, counts and bytes in readable form, the same in all programs.

// Figures are never negative.
#![allow(clippy::cast_sign_loss)]

/// Parses a latency with its unit, `5ms`, `300us`, `1.5s`, into nanoseconds.
pub fn parse_latency(text: &str) -> Option<f64> {
    let units = [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)];
    let (number, scale) = split_unit(text, &units)?;
    let value = number.parse::<f64>().ok()? * scale;
    (value.is_finite() && value >= 0.0).then_some(value)
}

fn split_unit<'a>(text: &'a str, units: &[(&str, f64)]) -> Option<(&'a str, f64)> {
    let strip = |&(unit, scale): &(&str, f64)| Some((text.strip_suffix(unit)?.trim_end(), scale));
    units.iter().find_map(strip)
}

/// A time in nanoseconds with three significant digits and a unit: `8.21 µs`.
pub fn latency(ns: f64) -> String {
    match ns {
        ns if ns < 999.5 => format!("{ns:.0} ns"),
        ns if ns < 999.5e3 => format!("{} µs", three_digits(ns / 1e3)),
        ns if ns < 999.5e6 => format!("{} ms", three_digits(ns / 1e6)),
        ns => format!("{} s", three_digits(ns / 1e9)),
    }
}

/// Seconds in readable form: `850 ms`, `10 s`, `2 min 5 s`.
pub fn seconds(seconds: f64) -> String {
    if seconds == 0.0 {
        return "0 s".to_owned();
    }
    if seconds < 119.95 {
        let text = latency(seconds * 1e9);
        return text.replace(".00 ", " ").replace(".0 ", " ");
    }
    let whole = seconds.round() as u64;
    format!("{} min {} s", whole / 60, whole % 60)
}

/// Bytes per second in decimal units: `31.2 MB/s`.
pub fn byte_rate(bytes: f64) -> String {
    match bytes {
        b if b < 999.5 => format!("{b:.0} B/s"),
        b if b < 999.5e3 => format!("{} kB/s", three_digits(b / 1e3)),
        b if b < 999.5e6 => format!("{} MB/s", three_digits(b / 1e6)),
        b => format!("{} GB/s", three_digits(b / 1e9)),
    }
}

/// A count with thousands separators: `12,345,678`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate: whole above 100, with three significant digits below.
pub fn rate(per_second: f64) -> String {
    if per_second >= 99.95 {
        return count(per_second.round() as u64);
    }
    three_digits(per_second)
}

/// A count and its noun: `1 thread`, `2 threads`.
pub fn plural(n: u64, word: &str) -> String {
    let n_text = count(n);
    match (n, word.strip_suffix('y')) {
        (1, _) => format!("{n_text} {word}"),
        (_, Some(stem)) => format!("{n_text} {stem}ies"),
        (_, None) => format!("{n_text} {word}s"),
    }
}

fn three_digits(x: f64) -> String {
    match x {
        x if x < 9.995 => format!("{x:.2}"),
        x if x < 99.95 => format!("{x:.1}"),
        x => format!("{x:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_need_a_unit() {
        assert_eq!(parse_latency("5ms"), Some(5e6));
        assert_eq!(parse_latency("300us"), Some(3e5));
        assert_eq!(parse_latency("300µs"), Some(3e5));
        assert_eq!(parse_latency("1.5s"), Some(1.5e9));
        assert_eq!(parse_latency("7 ns"), Some(7.0));
        for bad in ["5", "", "ms", "-1ms", "infs"] {
            assert_eq!(parse_latency(bad), None, "{bad}");
        }
    }

    #[test]
    fn figures_read_well() {
        assert_eq!(latency(412.0), "412 ns");
        assert_eq!(latency(8_214.0), "8.21 µs");
        assert_eq!(latency(999_700.0), "1.00 ms");
        assert_eq!(latency(2.5e9), "2.50 s");
        assert_eq!(seconds(10.0), "10 s");
        assert_eq!(seconds(0.0), "0 s");
        assert_eq!(seconds(0.85), "850 ms");
        assert_eq!(seconds(125.0), "2 min 5 s");
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(rate(0.5), "0.50");
        assert_eq!(rate(1_234_567.4), "1,234,567");
        assert_eq!(byte_rate(31.24e6), "31.2 MB/s");
        assert_eq!(plural(1, "thread"), "1 thread");
        assert_eq!(plural(1000, "thread"), "1,000 threads");
        assert_eq!(plural(2, "reply"), "2 replies");
    }
}
