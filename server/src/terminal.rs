//! Output on standard output and standard error, which may be slow, stopped or closed but must never delay
//! an `ok`. Lines that they do not take at once are kept within a bound, or counted.

mod output;

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use memchr::{memchr_iter, memrchr};
use mio::{Registry, Token};

use common::record::Level;
use output::Output;

/// How many bytes wait for a slow terminal before records are skipped.
const BACKLOG: usize = 1 << 20;

/// Lines for people. They are shown at once if possible, else kept for a while or counted.
#[derive(Debug)]
pub struct Terminal {
    output: Output,
    /// Output that the terminal has not taken yet: complete lines, except the first.
    backlog: Vec<u8>,
    /// The last write took nothing: wait for a writable event.
    blocked: bool,
    /// Lines that were neither shown nor kept, and were not reported yet.
    skipped: u64,
    /// The same since the start, including those reported.
    skipped_ever: u64,
    /// The last output does not end with a line end.
    within_line: bool,
}

impl Terminal {
    /// A terminal on a standard descriptor.
    pub fn open(descriptor: impl AsFd) -> Self {
        Self::on(Output::open(descriptor).unwrap_or(Output::Closed))
    }

    /// A terminal that shows and counts nothing.
    pub fn closed() -> Self {
        Self::on(Output::Closed)
    }

    fn on(output: Output) -> Self {
        Self {
            output,
            backlog: Vec::new(),
            blocked: false,
            skipped: 0,
            skipped_ever: 0,
            within_line: false,
        }
    }

    /// Registers `token` for writable events. Devices that are never slow are not registered.
    pub fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        self.output.register(registry, token)
    }

    /// Shows `text`, which consists of `lines` complete lines. `time` is for the line that reports how many
    /// were skipped before.
    pub fn show(&mut self, text: &[u8], lines: u64, time: &str) {
        if matches!(self.output, Output::Closed) {
            return;
        }
        self.retry(time);
        if self.skipped > 0 {
            self.skip(lines);
            return;
        }
        let shown = if self.backlog.is_empty() { self.write(text) } else { 0 };
        self.keep(&text[shown..]);
    }

    /// The number of lines not shown since the start.
    pub fn skipped_ever(&self) -> u64 {
        self.skipped_ever
    }

    /// A writable event has arrived.
    pub fn writable(&mut self, time: &str) {
        self.blocked = false;
        self.retry(time);
    }

    /// Shows the kept lines and the number of skipped ones, unless the terminal is known to be blocked.
    pub fn retry(&mut self, time: &str) {
        if self.blocked || !self.is_behind() {
            return;
        }
        let backlog = std::mem::take(&mut self.backlog);
        let shown = self.write(&backlog);
        if shown < backlog.len() {
            self.backlog = backlog;
            self.backlog.drain(..shown);
            return;
        }
        let skipped = std::mem::take(&mut self.skipped);
        if skipped > 0 {
            let (level, s) = (Level::Warning, if skipped == 1 { "" } else { "s" });
            // A line whose rest was skipped is ended first.
            let end = if self.within_line { "\n" } else { "" };
            let notice =
                format!("{end}{level}\t| {time} --server: {skipped} record{s} not shown\n");
            let shown = self.write(notice.as_bytes());
            // A notice of which nothing fits is formatted again later, with a larger number.
            match shown {
                0 if !matches!(self.output, Output::Closed) => self.skipped = skipped,
                _ => self.keep(&notice.as_bytes()[shown..]),
            }
        }
    }

    /// Some lines are not shown yet.
    pub fn is_behind(&self) -> bool {
        !self.backlog.is_empty() || self.skipped > 0
    }

    /// Lines are waiting, and no event will report when to try again.
    pub fn needs_retry(&self) -> bool {
        self.is_behind() && !self.blocked
    }

    /// Waits until everything is shown or `deadline` passes, before the process exits.
    pub fn finish(&mut self, deadline: Instant, time: &str) {
        self.retry(time);
        while self.is_behind() && self.blocked && self.output.wait(deadline) {
            self.writable(time);
        }
        self.output.finish(deadline);
    }

    /// Writes as much as the output takes at once.
    fn write(&mut self, text: &[u8]) -> usize {
        let mut written = 0;
        while written < text.len() {
            let result = match self.output {
                Output::Closed => return text.len(),
                ref mut output => output.write(&text[written..]),
            };
            match result {
                Ok(n) => {
                    written += n;
                    self.within_line = !text[..written].ends_with(b"\n");
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => {
                        self.blocked = true;
                        break;
                    }
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                        *self = Self::closed();
                        return text.len();
                    }
                    // A full disk may have room later, so the next attempt may succeed.
                    _ => break,
                },
            }
        }
        written
    }

    /// Keeps complete lines as far as there is room, and counts the others.
    fn keep(&mut self, text: &[u8]) {
        if matches!(self.output, Output::Closed) {
            return;
        }
        let room = BACKLOG.saturating_sub(self.backlog.len());
        let kept = if text.len() <= room {
            text.len()
        } else {
            memrchr(b'\n', &text[..room]).map_or(0, |end| end + 1)
        };
        self.backlog.extend_from_slice(&text[..kept]);
        self.skip(memchr_iter(b'\n', &text[kept..]).count() as u64);
    }

    fn skip(&mut self, lines: u64) {
        self.skipped += lines;
        self.skipped_ever += lines;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    const NOW: &str = "2019-02-24 15:10:14";
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

    /// Everything that can be read without blocking.
    fn read_all(reader: &mut (impl io::Read + AsFd)) -> Vec<u8> {
        rustix::io::ioctl_fionbio(&*reader, true).unwrap();
        let mut bytes = Vec::new();
        match reader.read_to_end(&mut bytes) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => panic!("{error}"),
            _ => bytes,
        }
    }

    /// Shows numbered lines of a fixed length until some are skipped. Returns how many there were.
    fn overfill(terminal: &mut Terminal) -> u64 {
        let mut lines = 0;
        while terminal.skipped < 3 {
            let line = format!("{lines:99}\n");
            terminal.show(line.as_bytes(), 1, NOW);
            lines += 1;
        }
        assert!(terminal.is_behind() && !terminal.needs_retry());
        lines
    }

    /// Reads until the terminal has caught up: the shown lines, then the number of those skipped.
    fn check_catching_up(terminal: &mut Terminal, reader: &mut (impl io::Read + AsFd), lines: u64) {
        let mut shown = Vec::new();
        while terminal.is_behind() {
            shown.append(&mut read_all(reader));
            terminal.writable(NOW);
        }
        shown.append(&mut read_all(reader));
        let shown = String::from_utf8(shown).unwrap();
        let notice = format!("WARNING\t| {NOW} --server: 3 records not shown");
        let expected = (0..lines - 3).map(|line| format!("{line:99}"));
        assert!(shown.lines().eq(expected.chain([notice])), "{shown}");
    }

    #[test]
    fn a_full_pipe_skips_lines_and_says_how_many() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut terminal = Terminal::open(writer);
        let lines = overfill(&mut terminal);
        check_catching_up(&mut terminal, &mut reader, lines);
        terminal.show(b"again\n", 1, NOW);
        assert_eq!(read_all(&mut reader), b"again\n");
    }

    #[test]
    fn a_full_socket_too() {
        let (mut reader, writer) = UnixStream::pair().unwrap();
        let mut terminal = Terminal::open(writer);
        let lines = overfill(&mut terminal);
        check_catching_up(&mut terminal, &mut reader, lines);
    }

    #[test]
    fn a_closed_pipe_is_forgotten() {
        let (reader, writer) = io::pipe().unwrap();
        let mut terminal = Terminal::open(&writer);
        drop(reader);
        terminal.show(b"nobody reads this\n", 1, NOW);
        assert!(!terminal.is_behind());
    }

    #[test]
    fn a_full_device_counts_and_is_tried_again() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut terminal = Terminal::open(&full);
        terminal.show(&b"line\n".repeat(BACKLOG / 5 + 2), BACKLOG as u64 / 5 + 2, NOW);
        assert_eq!(terminal.skipped, 2);
        assert!(terminal.needs_retry());
    }

    #[test]
    fn a_file_is_written_where_the_descriptor_stands() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"before\n").unwrap();
        let mut terminal = Terminal::open(&file);
        terminal.show(b"after\n", 1, NOW);
        terminal.finish(Instant::now() + PATIENCE, NOW);
        io::Seek::rewind(&mut file).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "before\nafter\n");
    }

    /// The rest of a line that cannot be kept is skipped after its beginning was shown.
    #[test]
    fn a_notice_begins_a_line_of_its_own() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut terminal = Terminal::open(writer);
        let mut long = vec![b'x'; 2 * BACKLOG];
        long.push(b'\n');
        terminal.show(&long, 1, NOW);
        terminal.show(b"next\n", 1, NOW);
        let mut shown = read_all(&mut reader);
        terminal.writable(NOW);
        terminal.show(b"after\n", 1, NOW);
        shown.append(&mut read_all(&mut reader));
        let shown = String::from_utf8(shown).unwrap();
        let lines: Vec<_> = shown.lines().collect();
        let [torn, rest @ ..] = lines.as_slice() else {
            panic!("nothing is shown");
        };
        assert!(torn.bytes().all(|byte| byte == b'x'));
        let notice = format!("WARNING\t| {NOW} --server: 2 records not shown");
        assert_eq!(rest, [notice.as_str(), "after"]);
    }

    /// Like a pipe of another user, which cannot be opened again.
    #[test]
    fn a_blocking_output_delays_nothing() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut terminal = Terminal::on(Output::by_thread(writer.into()).unwrap());
        let mut lines = 0;
        while terminal.skipped < 3 {
            let line = format!("{lines:99}\n");
            terminal.show(line.as_bytes(), 1, NOW);
            lines += 1;
        }
        let reading = std::thread::spawn(move || {
            let mut shown = String::new();
            reader.read_to_string(&mut shown).unwrap();
            shown
        });
        terminal.finish(Instant::now() + PATIENCE, NOW);
        drop(terminal);
        let shown = reading.join().unwrap();
        let skipped = format!("WARNING\t| {NOW} --server: 3 records not shown");
        let expected = (0..lines - 3).map(|line| format!("{line:99}"));
        assert!(shown.lines().eq(expected.chain([skipped])), "{shown}");
    }

    #[test]
    fn finishing_a_blocked_output_ends_at_the_deadline() {
        let (reader, writer) = io::pipe().unwrap();
        let mut terminal = Terminal::on(Output::by_thread(writer.into()).unwrap());
        overfill(&mut terminal);
        let deadline = Instant::now() + PATIENCE / 100;
        terminal.finish(deadline, NOW);
        assert!(Instant::now() >= deadline && terminal.is_behind());
        drop(reader);
    }

    #[test]
    fn a_closed_pipe_is_noticed_through_the_thread() {
        let (reader, writer) = io::pipe().unwrap();
        let mut terminal = Terminal::on(Output::by_thread(writer.into()).unwrap());
        drop(reader);
        let deadline = Instant::now() + 6 * PATIENCE;
        while !matches!(terminal.output, Output::Closed) {
            terminal.show(b"nobody reads this\n", 1, NOW);
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
    }
}
