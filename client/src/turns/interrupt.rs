//! Ctrl-C handler: ends the turns so that the summary can be printed.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Exit code of an interrupted program, as in shells for SIGINT.
pub(super) const EXIT_INTERRUPTED: u8 = 130;

/// Whether a signal asked the turns to end.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Handles SIGINT and SIGTERM. The first shuts down `stream`, which ends a wait for a reply.
    /// The second ends the program at once.
    pub(super) fn watch(stream: TcpStream) -> io::Result<Self> {
        let interrupt = Self::default();
        let asked = interrupt.0.clone();
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        thread::Builder::new().spawn(move || {
            for _ in signals.forever() {
                if asked.swap(true, Ordering::Relaxed) {
                    process::exit(EXIT_INTERRUPTED.into());
                }
                // The socket may be closed already.
                _ = stream.shutdown(Shutdown::Both);
            }
        })?;
        Ok(interrupt)
    }

    pub(super) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
