//! The clock of the log records.

use std::fmt::Write as _;

use common::record::Format;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Duration, OffsetDateTime, PrimitiveDateTime, UtcOffset};

/// Formats the time, once a second however often it is read.
#[derive(Debug)]
pub struct Clock {
    utc: bool,
    /// The Unix time that `text` shows.
    second: i64,
    text: String,
    /// With `-format json`: the time with microseconds.
    precise: Option<String>,
    offset: UtcOffset,
}

impl Clock {
    /// A clock in UTC or in local time.
    pub fn new(utc: bool) -> Self {
        let mut clock = Self {
            utc,
            second: i64::MIN,
            text: String::new(),
            precise: None,
            offset: UtcOffset::UTC,
        };
        clock.tick();
        clock
    }

    /// A clock for records of this format.
    pub fn of(format: Format, utc: bool) -> Self {
        let mut clock = Self::new(utc);
        clock.precise = (format == Format::Json).then(String::new);
        clock.tick();
        clock
    }

    /// Reads the system clock.
    pub fn tick(&mut self) {
        self.set(OffsetDateTime::now_utc());
    }

    /// The time of the last tick, as `2019-02-24 15:10:14`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The time of the last tick as records show it: like [`text`](Clock::text), or
    /// `2019-02-24T15:10:14.123456+01:00`.
    pub fn record_text(&self) -> &str {
        self.precise.as_deref().unwrap_or(&self.text)
    }

    fn set(&mut self, now: OffsetDateTime) {
        if now.unix_timestamp() != self.second {
            self.set_second(now);
        }
        if let Some(precise) = &mut self.precise {
            precise.clear();
            let (date, time) = self.text.split_at(self.text.find(' ').unwrap_or(0));
            let micros = now.microsecond();
            let (hours, minutes, _) = self.offset.as_hms();
            let sign = if self.offset.is_negative() { '-' } else { '+' };
            let (hours, minutes) = (hours.unsigned_abs(), minutes.unsigned_abs());
            // Writing to a String cannot fail.
            _ = write!(precise, "{date}T{}.{micros:06}{sign}{hours:02}:{minutes:02}", &time[1..]);
        }
    }

    fn set_second(&mut self, now: OffsetDateTime) {
        self.second = now.unix_timestamp();
        // Read every second, so that it is right across a daylight-saving change.
        let local = (!self.utc).then(|| UtcOffset::local_offset_at(now).ok());
        self.offset = local.flatten().unwrap_or(UtcOffset::UTC);
        let now = now.to_offset(self.offset);
        let (date, hour, minute, second) = (now.date(), now.hour(), now.minute(), now.second());
        self.text.clear();
        // Writing to a String cannot fail.
        _ = write!(self.text, "{date} {hour:02}:{minute:02}:{second:02}");
    }
}

/// Parses the time of a record, in either format, into UTC.
///
/// The original format has no time zone: it is UTC if `utc`, else local time. A local time that occurs
/// twice at the end of daylight saving means the later one that is not after `now`.
pub fn moment(text: &str, utc: bool, now: OffsetDateTime) -> Option<OffsetDateTime> {
    // The server writes no other years, and at the ends of the calendar a time zone leads beyond them.
    let is_sane = |moment: &OffsetDateTime| (1970..9999).contains(&moment.year());
    if let Ok(moment) = OffsetDateTime::parse(text, &Rfc3339) {
        return Some(moment).filter(is_sane).map(|moment| moment.to_offset(UtcOffset::UTC));
    }
    let shape = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let time = PrimitiveDateTime::parse(text, shape).ok()?;
    let as_utc = Some(time.assume_utc()).filter(is_sane)?;
    if utc {
        return Some(as_utc);
    }
    let offset_at = |moment| UtcOffset::local_offset_at(moment).unwrap_or(UtcOffset::UTC);
    // The offsets before and after a nearby change, if there is one.
    let readings = [-1, 1].map(|days| time.assume_offset(offset_at(as_utc + Duration::days(days))));
    let is_true = |reading: &OffsetDateTime| offset_at(*reading) == reading.offset();
    let mut readings = readings.into_iter().filter(is_true);
    let first = readings.next().unwrap_or(as_utc);
    let meant = readings.filter(|reading| *reading <= now).fold(first, OffsetDateTime::max);
    Some(meant.to_offset(UtcOffset::UTC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_follows_the_second() {
        let mut clock = Clock::new(true);
        for (second, expected) in [
            (0, "1970-01-01 00:00:00"),
            (1_551_021_014, "2019-02-24 15:10:14"),
            (1_551_021_015, "2019-02-24 15:10:15"),
            (1_551_021_014, "2019-02-24 15:10:14"),
        ] {
            clock.set(OffsetDateTime::from_unix_timestamp(second).unwrap());
            assert_eq!(clock.text(), expected);
        }
    }

    #[test]
    fn records_in_json_have_microseconds_and_the_zone() {
        let mut clock = Clock::of(Format::Json, true);
        let time = OffsetDateTime::from_unix_timestamp_nanos(1_551_021_014_000_042_999).unwrap();
        clock.set(time);
        assert_eq!(clock.record_text(), "2019-02-24T15:10:14.000042+00:00");
        clock.set(time + Duration::microseconds(1));
        assert_eq!(clock.record_text(), "2019-02-24T15:10:14.000043+00:00");
        assert_eq!(clock.text(), "2019-02-24 15:10:14");
        clock.offset = UtcOffset::from_hms(-3, -30, 0).unwrap();
        clock.set(time);
        assert_eq!(clock.record_text(), "2019-02-24T15:10:14.000042-03:30");
        assert_eq!(Clock::new(true).record_text().len(), 19);
    }

    /// The time zone belongs to the process. So the test runs itself again in a process with `TZ` set to
    /// central European time, spelt so that no zone database is needed.
    #[test]
    fn local_time_is_right_across_daylight_saving_changes() {
        const ZONE: &str = "CET-1CEST,M3.5.0,M10.5.0/3";
        if std::env::var("TZ").as_deref() != Ok(ZONE) {
            let name = "clock::tests::local_time_is_right_across_daylight_saving_changes";
            let mut again = std::process::Command::new(std::env::current_exe().unwrap());
            let output = again.args([name, "--exact"]).env("TZ", ZONE).output().unwrap();
            let output_text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && output_text.contains("1 passed"), "{output_text}");
            return;
        }
        let moment = |text, now| {
            let now = OffsetDateTime::from_unix_timestamp(now).unwrap();
            moment(text, false, now).unwrap().unix_timestamp()
        };
        let mut clock = Clock::new(false);
        for (second, expected) in [
            (1_711_846_799, "2024-03-31 01:59:59"),
            (1_711_846_800, "2024-03-31 03:00:00"),
            (1_729_990_799, "2024-10-27 02:59:59"),
            (1_729_990_800, "2024-10-27 02:00:00"),
        ] {
            clock.set(OffsetDateTime::from_unix_timestamp(second).unwrap());
            assert_eq!(clock.text(), expected);
            assert_eq!(moment(expected, second), second);
            assert_eq!(moment(expected, second + 3599), second);
        }
        // The time of `now` decides whether it is the first or the second half past two.
        let twice = "2024-10-27 02:30:00";
        for (now, expected) in [
            (1_729_989_000, 1_729_989_000),
            (1_729_992_599, 1_729_989_000),
            (1_729_992_600, 1_729_992_600),
            (1_800_000_000, 1_729_992_600),
        ] {
            assert_eq!(moment(twice, now), expected);
        }
        // This time did not exist. A server that does not know the time zone may write it.
        assert_eq!(moment("2024-03-31 02:30:00", 1_800_000_000), 1_711_852_200);
    }

    #[test]
    fn the_time_of_a_record_is_read_back() {
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let moment = |text| moment(text, true, now).map(OffsetDateTime::unix_timestamp);
        assert_eq!(moment("2019-02-24 15:10:14"), Some(1_551_021_014));
        assert_eq!(moment("2019-02-24T16:10:14.999999+01:00"), Some(1_551_021_014));
        for bad in [
            "",
            "2019-02-24",
            "2019-02-30 15:10:14",
            "9999-12-31T23:59:59-01:00",
            "0000-01-01 00:00:00",
        ] {
            assert_eq!(moment(bad), None, "{bad}");
        }
    }
}
