//! Children that never outlive this process.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::sync::LazyLock;
use std::sync::mpsc::{self, Sender};
use std::thread;

/// For a shell: becomes the command in `$@`, which the kernel kills when its parent ends, however that
/// ends. Where util-linux is missing, it would outlive a parent that is killed.
pub(crate) const BECOME: &str = "setpriv --pdeathsig KILL true 2>/dev/null &&
    exec setpriv --pdeathsig KILL \"$@\"
    exec \"$@\"";

/// A command that becomes `program`, with the arguments that are yet to be given. To be started by
/// [`spawn`].
pub fn tied(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", BECOME, "sh"]).arg(program);
    command
}

/// Starts a process from a thread that lasts as long as this process. To the kernel, the parent of a
/// process is the *thread* that started it, and each test has a thread of its own. Ctrl-C reaches this
/// process alone, which knows in which order to end the others.
///
/// # Errors
/// The shell cannot be started, or there may be no further process.
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
    // The thread ends with the process.
    _ = STARTER.send((command, reply));
    answer.recv().map_err(io::Error::other)?
}
