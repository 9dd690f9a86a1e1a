//! The time as records show it.

use std::fmt::Write as _;

use time::{OffsetDateTime, UtcOffset};

/// Turns the time of day into text, once a second however often it is asked.
#[derive(Debug)]
pub struct Clock {
    utc: bool,
    /// The Unix time that `text` shows.
    second: i64,
    text: String,
}

impl Clock {
    /// A clock that shows UTC, or local time.
    pub fn new(utc: bool) -> Self {
        let (second, text) = (i64::MIN, String::new());
        let mut clock = Self { utc, second, text };
        clock.tick();
        clock
    }

    /// Looks at the system's clock.
    pub fn tick(&mut self) {
        self.set(OffsetDateTime::now_utc());
    }

    /// The time of the last look, as `2019-02-24 15:10:14`.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn set(&mut self, now: OffsetDateTime) {
        if now.unix_timestamp() == self.second {
            return;
        }
        self.second = now.unix_timestamp();
        // Asked anew each second, so that it is right across a daylight-saving change.
        let local = (!self.utc).then(|| UtcOffset::local_offset_at(now).ok());
        let now = now.to_offset(local.flatten().unwrap_or(UtcOffset::UTC));
        let (date, hour, minute, second) = (now.date(), now.hour(), now.minute(), now.second());
        self.text.clear();
        // Writing to a String cannot fail.
        _ = write!(self.text, "{date} {hour:02}:{minute:02}:{second:02}");
    }
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

    /// The zone is the process's, so another process looks: this test, run again with `TZ` set to
    /// central European time, spelt so that no zone database is needed.
    #[test]
    fn local_time_is_right_across_daylight_saving_changes() {
        const ZONE: &str = "CET-1CEST,M3.5.0,M10.5.0/3";
        if std::env::var("TZ").as_deref() != Ok(ZONE) {
            let name = "clock::tests::local_time_is_right_across_daylight_saving_changes";
            let mut again = std::process::Command::new(std::env::current_exe().unwrap());
            let output = again
                .args([name, "--exact"])
                .env("TZ", ZONE)
                .output()
                .unwrap();
            let told = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success() && told.contains("1 passed"),
                "{told}"
            );
            return;
        }
        let mut clock = Clock::new(false);
        for (second, expected) in [
            (1_711_846_799, "2024-03-31 01:59:59"),
            (1_711_846_800, "2024-03-31 03:00:00"),
            (1_729_990_799, "2024-10-27 02:59:59"),
            (1_729_990_800, "2024-10-27 02:00:00"),
        ] {
            clock.set(OffsetDateTime::from_unix_timestamp(second).unwrap());
            assert_eq!(clock.text(), expected);
        }
    }
}
