//! Durations, latencies, counts and bytes, as people write and read them.

use std::fmt::Write as _;

/// Reads a latency with its unit, `5ms`, `300us`, `1.5s`, in nanoseconds.
pub(crate) fn parse_latency(text: &str) -> Option<f64> {
    let units = [
        ("ns", 1.0),
        ("us", 1e3),
        ("µs", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
    ];
    let (number, scale) = split_unit(text, &units)?;
    let value = number.parse::<f64>().ok()? * scale;
    (value.is_finite() && value >= 0.0).then_some(value)
}

fn split_unit<'a>(text: &'a str, units: &[(&str, f64)]) -> Option<(&'a str, f64)> {
    let strip = |&(unit, scale): &(&str, f64)| Some((text.strip_suffix(unit)?.trim_end(), scale));
    units.iter().find_map(strip)
}

/// A time in nanoseconds with three significant digits and a unit: `8.21 µs`.
pub(crate) fn latency(ns: f64) -> String {
    match ns {
        ns if ns < 999.5 => format!("{ns:.0} ns"),
        ns if ns < 999.5e3 => format!("{} µs", three_digits(ns / 1e3)),
        ns if ns < 999.5e6 => format!("{} ms", three_digits(ns / 1e6)),
        ns => format!("{} s", three_digits(ns / 1e9)),
    }
}

/// Seconds for people: `850 ms`, `10 s`, `2 min 5 s`.
pub(crate) fn seconds(seconds: f64) -> String {
    if seconds < 119.95 {
        let text = latency(seconds * 1e9);
        return text.replace(".00 ", " ").replace(".0 ", " ");
    }
    let whole = seconds.round() as u64;
    format!("{} min {} s", whole / 60, whole % 60)
}

/// Bytes per second in decimal units: `31.2 MB/s`.
pub(crate) fn byte_rate(bytes: f64) -> String {
    match bytes {
        b if b < 999.5 => format!("{b:.0} B/s"),
        b if b < 999.5e3 => format!("{} kB/s", three_digits(b / 1e3)),
        b if b < 999.5e6 => format!("{} MB/s", three_digits(b / 1e6)),
        b => format!("{} GB/s", three_digits(b / 1e9)),
    }
}

/// A count with its thousands apart: `12,345,678`.
pub(crate) fn count(n: u64) -> String {
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
pub(crate) fn rate(per_second: f64) -> String {
    if per_second >= 99.95 {
        return count(per_second.round() as u64);
    }
    three_digits(per_second)
}

/// A count and the word for it: `1 thread`, `2 threads`.
pub(crate) fn plural(n: u64, word: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{} {word}{s}", count(n))
}

fn three_digits(x: f64) -> String {
    match x {
        x if x < 9.995 => format!("{x:.2}"),
        x if x < 99.95 => format!("{x:.1}"),
        x => format!("{x:.0}"),
    }
}

/// Text from outside, safe to print: control characters and what is not UTF-8 as `\xNN`, at most
/// `limit` bytes of it looked at.
pub(crate) fn printable(bytes: &[u8], limit: usize) -> String {
    let shown = &bytes[..bytes.len().min(limit)];
    let mut text = String::with_capacity(shown.len());
    for chunk in shown.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                c if c.is_ascii_control() => _ = write!(text, "\\x{:02x}", c as u32),
                c if is_deceptive(c) => _ = write!(text, "\\u{{{:04x}}}", c as u32),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            _ = write!(text, "\\x{byte:02x}");
        }
    }
    if bytes.len() > limit {
        text.push('…');
    }
    text
}

/// Characters that a terminal obeys, or that make text read otherwise than it is: C1 controls,
/// line and paragraph separators, bidirectional controls, and what is invisible.
pub(crate) fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{61c}' | '\u{200e}' | '\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{ad}' | '\u{180e}' | '\u{200b}'
        | '\u{2060}'..='\u{2064}' | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
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
    }

    #[test]
    fn what_a_server_says_is_made_safe() {
        assert_eq!(
            printable(b"a\x1b[2J\xff\xc3\xa9\n", 80),
            "a\\x1b[2J\\xffé\\x0a"
        );
        assert_eq!(
            printable("x\u{202e}y\u{9b}".as_bytes(), 80),
            "x\\u{202e}y\\u{009b}"
        );
        assert_eq!(printable(b"abcdef", 3), "abc…");
    }
}
