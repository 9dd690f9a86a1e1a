//! Child processes that never outlive this process.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::sync::LazyLock;
use std::sync::mpsc::{self, Sender};
use std::thread;

/// A shell script that executes the command in `$@`. The kernel kills the command when its parent ends in any
/// way. Without util-linux, the command outlives a parent that is killed.
pub(crate) const BECOME: &str = "setpriv --pdeathsig KILL true 2>/dev/null &&
    exec setpriv --pdeathsig KILL \"$@\"
    exec \"$@\"";

/// A command that runs `program` with the arguments that the caller adds. Start it with [`spawn`].
pub fn tied(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", BECOME, "sh"]).arg(program);
    command
}

/// Starts a process from a thread that lives as long as this process. For the kernel, the parent of a
/// process is the *thread* that started it, and each test has its own thread. The child gets its own
/// process group: Ctrl-C reaches this process alone, which ends the others in order.
///
/// # Errors
/// The shell cannot be started, or the process limit is reached.
pub fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, Sender<io::Result<Child>>);
    static STARTER: LazyLock<Sender<Order>> = LazyLock::new(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in inbox {
                _ = reply.send(command.process_group(0).spawn());
            }
        });
        orders
    });
    let (reply, answer) = mpsc::channel();
    // The receiving thread lives as long as the process: sending cannot fail.
    _ = STARTER.send((command, reply));
    answer.recv().map_err(io::Error::other)?
}
