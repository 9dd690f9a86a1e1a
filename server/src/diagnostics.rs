//! Diagnostics: `log` and `env_logger` on standard error, in the format of the records.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::record::one_line;

use crate::clock::Clock;
use crate::terminal::Terminal;

/// Standard error, shared by the logger and the loop that polls it.
#[derive(Clone, Debug)]
pub struct Stderr {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    terminal: Terminal,
    clock: Clock,
}

impl Stderr {
    /// Opens standard error. Times are shown as in the records.
    pub fn open(utc: bool) -> Self {
        let terminal = Terminal::open(io::stderr());
        let clock = Clock::new(utc);
        let shared = Arc::new(Mutex::new(Shared { terminal, clock }));
        Self { shared }
    }

    /// Makes this the destination of the `log` crate. `RUST_LOG` selects the level; the default is warnings
    /// and errors.
    pub fn install_logger(&self) {
        let clock = Arc::clone(&self.shared);
        let environment = env_logger::Env::default().default_filter_or("warn");
        env_logger::Builder::from_env(environment)
            .format(move |line, record| {
                let level = match record.level() {
                    log::Level::Warn => "WARNING",
                    level => level.as_str(),
                };
                let time = with(&clock, |shared| {
                    shared.clock.tick();
                    shared.clock.text().to_owned()
                });
                // The text may come from a peer. It is escaped here, where no caller can forget it.
                let text = one_line(&record.args().to_string());
                writeln!(line, "{level}\t| {time} --server: {text}")
            })
            .target(env_logger::Target::Pipe(Box::new(self.clone())))
            .init();
    }

    /// Shows one line, whatever `RUST_LOG` is. The line may hold text of a peer.
    pub fn say(&self, line: &str) {
        let line = one_line(line);
        self.with_terminal(|terminal, time| terminal.show(format!("{line}\n").as_bytes(), 1, time));
    }

    /// Waits a short time until the last lines are shown, before the process exits.
    pub fn finish(&self) {
        let deadline = Instant::now() + Duration::from_millis(200);
        self.with_terminal(|terminal, time| terminal.finish(deadline, time));
    }

    /// Lines are waiting, and no event will report when to try again.
    pub fn needs_retry(&self) -> bool {
        with(&self.shared, |shared| shared.terminal.needs_retry())
    }

    /// Calls `f` with the terminal and the time.
    pub fn with_terminal<T>(&self, f: impl FnOnce(&mut Terminal, &str) -> T) -> T {
        with(&self.shared, |shared| {
            shared.clock.tick();
            f(&mut shared.terminal, shared.clock.text())
        })
    }
}

fn with<T>(shared: &Mutex<Shared>, f: impl FnOnce(&mut Shared) -> T) -> T {
    f(&mut shared.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Write for Stderr {
    /// Takes one or more complete lines, as the logger writes them.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let count = memchr::memchr_iter(b'\n', lines).count() as u64;
        self.with_terminal(|terminal, time| terminal.show(lines, count, time));
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
