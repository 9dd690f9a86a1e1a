//! Children that never outlive this process.

use std::io;
use std::process::{Child, Command};
use std::sync::LazyLock;
use std::sync::mpsc::{self, Sender};
use std::thread;

/// For a shell: becomes the command in `$@`, which the kernel kills when its parent ends, however that
/// ends. Where util-linux is missing, it would outlive a parent that is killed.
pub(crate) const BECOME: &str = "setpriv --pdeathsig KILL true 2>/dev/null &&
    exec setpriv --pdeathsig KILL \"$@\"
    exec \"$@\"";

/// Starts a process from a thread that lasts as long as this process. To the kernel, the parent of a
/// process is the *thread* that started it, and each test has a thread of its own.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, Sender<io::Result<Child>>);
    static STARTER: LazyLock<Sender<Order>> = LazyLock::new(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in inbox {
                _ = reply.send(command.spawn());
            }
        });
        orders
    });
    let (reply, answer) = mpsc::channel();
    // The thread ends with the process.
    _ = STARTER.send((command, reply));
    answer.recv().map_err(io::Error::other)?
}
