//! Steps of the reading, and the signals that end it.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// How often to read a followed log if no event reports a change.
pub(super) const LOOK: Duration = Duration::from_millis(250);

/// Exit code after a second Ctrl-C.
const EXIT_INTERRUPTED: i32 = 130;

/// Result of the callback for a line. `Break` ends the reading.
pub(crate) type Taken = Result<ControlFlow<()>, String>;

/// Progress of the reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    More,
    /// All lines written so far were read.
    CaughtUp,
    /// There are no more lines.
    End,
}

/// A flag that the first SIGINT or SIGTERM sets to end following. The second signal exits at once,
/// since a wait may take long.
pub(super) fn stop() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, EXIT_INTERRUPTED, stop.clone())?;
        flag::register(signal, stop.clone())?;
    }
    Ok(stop)
}
