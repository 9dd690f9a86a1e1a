//! Values with a syntax of their own, the same in all programs: times, sizes and hosts.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::arg_value::{ArgValue, UsageError};

/// The maximum time of any option: a year.
pub const MAX_TIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// Units of time, in seconds.
const TIMES: [(&str, f64); 5] =
    [("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0)];

/// Units of size, in bytes.
const SIZES: [(&str, f64); 3] =
    [("K", (1_u64 << 10) as f64), ("M", (1_u64 << 20) as f64), ("G", (1_u64 << 30) as f64)];

impl ArgValue {
    /// The value as a time within `range`: `5s`, `1.5m`, `500ms`; without a unit, seconds.
    pub fn time(&self, range: RangeInclusive<Duration>) -> Result<Duration, UsageError> {
        let time = parse(&self.text()?, &TIMES);
        let time = time.filter(|&seconds| seconds <= MAX_TIME.as_secs_f64());
        let time = time.map(Duration::from_secs_f64);
        time.filter(|time| range.contains(time)).ok_or_else(|| {
            let (low, high) = (time_text(*range.start()), time_text(*range.end()));
            self.unexpected(&format!("a time such as 500ms, 5s or 1.5m ({low} to {high})"))
        })
    }

    /// Like [`time`](Self::time), but 0 means never.
    pub fn time_or_never(
        &self,
        range: RangeInclusive<Duration>,
    ) -> Result<Option<Duration>, UsageError> {
        if parse(&self.text()?, &TIMES) == Some(0.0) {
            return Ok(None);
        }
        self.time(range.clone()).map(Some).map_err(|_| {
            let (low, high) = (time_text(*range.start()), time_text(*range.end()));
            self.unexpected(&format!("a time such as 5s or 1.5m ({low} to {high}, or 0: never)"))
        })
    }

    /// The value as a size in bytes within `range`: `4096`, `64K`, `1.5M`. K is 1,024.
    #[allow(clippy::cast_sign_loss, reason = "no size is negative")]
    pub fn size(&self, range: RangeInclusive<usize>) -> Result<usize, UsageError> {
        let size = parse(&self.text()?, &SIZES).filter(|bytes| bytes.fract() == 0.0);
        let size = size.filter(|&bytes| bytes < usize::MAX as f64);
        let size = size.map(|bytes| bytes as usize);
        size.filter(|size| range.contains(size)).ok_or_else(|| {
            let (low, high) = (size_text(*range.start()), size_text(*range.end()));
            self.unexpected(&format!("a size in bytes such as 4096, 64K or 1M ({low} to {high})"))
        })
    }

    /// The value as a host: a name or an address. An IPv6 address may have brackets, as before a port.
    pub fn host(&self) -> Result<String, UsageError> {
        let host = self.text()?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let bare = bare.unwrap_or(&host);
        if bare.contains(['[', ']']) {
            return Err(self.unexpected("a host name or an address"));
        }
        Ok(bare.to_owned())
    }

    /// The value as a host and a port, `HOST:PORT`. Port 0 means any port.
    pub fn host_and_port(&self) -> Result<(String, u16), UsageError> {
        let text = self.text()?;
        let expected = || self.unexpected("HOST:PORT, such as 127.0.0.1:9185 or [::1]:9185");
        let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
        let port = port.parse().map_err(|_| expected())?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match bracketed {
            Some(host) if !host.is_empty() => Ok((host.to_owned(), port)),
            None if !host.is_empty() && !host.contains([':', '[', ']']) => {
                Ok((host.to_owned(), port))
            }
            _ => Err(expected()),
        }
    }
}

/// A number that is not negative, with one of the units or none.
fn parse(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let unit = units.iter().find_map(|&(unit, scale)| Some((text.strip_suffix(unit)?, scale)));
    let (number, scale) = unit.unwrap_or((text, 1.0));
    let number = number.trim_end();
    // Rust also parses exponents, signs and words such as `inf`, which are not accepted here.
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = number.parse().ok().filter(|_| is_plain)?;
    Some(number * scale)
}

/// A limit of a time, in the largest unit that needs no fraction.
fn time_text(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let fits = |&&(_, scale): &&(&str, f64)| seconds >= scale && (seconds / scale).fract() == 0.0;
    let (unit, scale) = TIMES.iter().rev().find(fits).copied().unwrap_or(("s", 1.0));
    format!("{}{unit}", seconds / scale)
}

/// The same for a size.
fn size_text(bytes: usize) -> String {
    let bytes = bytes as f64;
    let fits = |&&(_, scale): &&(&str, f64)| bytes >= scale && (bytes / scale).fract() == 0.0;
    let (unit, scale) = SIZES.iter().rev().find(fits).copied().unwrap_or(("", 1.0));
    format!("{}{unit}", bytes / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(value: &str) -> ArgValue {
        ArgValue { typed: "-opt".to_owned(), value: value.into() }
    }

    #[test]
    fn times() {
        let any = Duration::ZERO..=MAX_TIME;
        for (text, ms) in [
            ("5s", 5000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1.5h", 5_400_000),
            ("1d", 86_400_000),
            ("3", 3000),
            ("0.25", 250),
            ("10 s", 10_000),
            ("0", 0),
        ] {
            assert_eq!(given(text).time(any.clone()), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "s", "-1s", "+1s", "5x", "5S", "nan", "inf", "1e3", "366d", "5 s s", "."] {
            given(bad).time(any.clone()).unwrap_err();
        }
        let range = Duration::from_millis(50)..=Duration::from_secs(90);
        for bad in ["49ms", "2m"] {
            let expected = format!(
                "-opt: expected a time such as 500ms, 5s or 1.5m (50ms to 90s), got '{bad}'"
            );
            assert_eq!(given(bad).time(range.clone()).unwrap_err().to_string(), expected);
        }
        assert_eq!(given("0s").time_or_never(range.clone()), Ok(None));
        let expected =
            "-opt: expected a time such as 5s or 1.5m (50ms to 90s, or 0: never), got '1ms'";
        assert_eq!(given("1ms").time_or_never(range).unwrap_err().to_string(), expected);
    }

    #[test]
    fn sizes() {
        let any = 0..=usize::MAX;
        for (text, bytes) in
            [("0", 0), ("4096", 4096), ("64K", 65_536), ("1.5M", 3 << 19), ("2 G", 2 << 30)]
        {
            assert_eq!(given(text).size(any.clone()), Ok(bytes), "{text}");
        }
        for bad in ["", "K", "-1", "1k", "64KB", "0.5", "1e6", "99999999999G"] {
            given(bad).size(any.clone()).unwrap_err();
        }
        let expected = "-opt: expected a size in bytes such as 4096, 64K or 1M (1 to 1G), got '2G'";
        assert_eq!(given("2G").size(1..=1 << 30).unwrap_err().to_string(), expected);
    }

    #[test]
    fn hosts() {
        for (text, host) in [("::1", "::1"), ("[::1]", "::1"), ("localhost", "localhost")] {
            assert_eq!(given(text).host().as_deref(), Ok(host));
        }
        for bad in ["[::1", "::1]", "[[::1]]"] {
            given(bad).host().unwrap_err();
        }
        for (text, host) in [("[::1]:80", "::1"), ("a.example:80", "a.example")] {
            assert_eq!(given(text).host_and_port(), Ok((host.to_owned(), 80)));
        }
        for bad in ["::1:80", "a", ":80", "a:", "a:65536", "[]:1", "[::1]"] {
            given(bad).host_and_port().unwrap_err();
        }
    }
}
