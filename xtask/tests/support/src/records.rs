//! Records of a log in the original format.

/// A record without its time, whose format is checked: `LEVEL peer verb text`.
pub fn without_time(record: &str) -> String {
    let (level, rest) = record.split_once("\t| ").expect("a tab after the level");
    let (time, rest) = rest.split_at_checked(19).expect("a time");
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert_eq!(shape, "9999-99-99 99:99:99", "{record}");
    let rest = rest.strip_prefix(" --").expect("two dashes");
    format!("{level} {rest}")
}

/// The messages recorded from `peer`, in order.
pub fn received_from<'a>(log: &'a str, peer: &str) -> Vec<&'a str> {
    let mark = format!(" --{peer} recieved: ");
    log.lines().filter_map(|line| line.split_once(&mark).map(|(_, text)| text)).collect()
}
