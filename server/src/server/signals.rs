//! Signals, which the loop receives through its poll.

use std::io;

use mio::Interest;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook_mio::v1_0::Signals;

use super::{Failure, SIGNALS, Server};
use crate::backend::BackEnd;

/// The signals that the server handles. Unhandled, SIGXFSZ would end the process; handled, a log at the
/// file-size limit is an error like others.
pub const HANDLED_SIGNALS: [i32; 5] = [SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGXFSZ];

impl<B: BackEnd> Server<B> {
    /// Makes signals stop the server, reopen its log or print its totals.
    pub fn handle_signals(&mut self) -> io::Result<()> {
        let mut signals = Signals::new(HANDLED_SIGNALS)?;
        let registry = self.poll.registry();
        registry.register(&mut signals, SIGNALS, Interest::READABLE)?;
        self.signals = Some(signals);
        Ok(())
    }

    /// Handles the pending signals.
    pub(super) fn take_signals(&mut self) -> Result<(), Failure> {
        let Some(signals) = &mut self.signals else {
            return Ok(());
        };
        for signal in signals.pending().collect::<Vec<_>>() {
            match signal {
                SIGINT | SIGTERM if self.stop.is_some() => {
                    return Err(Failure::Forced(self.clients.len()));
                }
                SIGINT | SIGTERM => self.begin_stop(),
                SIGHUP => {
                    self.supervisor.notify_reloading(self.now);
                    self.reopen_asked = true;
                    self.policy.admission.reload();
                }
                SIGUSR1 => self.stderr.say(&self.figures().line(self.clients.served())),
                _ => {}
            }
        }
        Ok(())
    }
}
