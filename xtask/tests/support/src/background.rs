//! Clients that disturb a server in the background.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A thread. Dropping it ends the thread.
pub struct Background {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Repeats `action`.
    pub fn repeat(mut action: impl FnMut() + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&over);
        let thread = thread::spawn(move || {
            while !shared.load(Ordering::Relaxed) {
                action();
            }
        });
        Self { over, thread: Some(thread) }
    }

    /// Clients that send `line` at full speed and read their replies. One thread drives them all, so that the
    /// server has a CPU of its own where there are two.
    pub fn flooders(address: SocketAddr, clients: usize, line: &[u8]) -> Self {
        let connect = |_| {
            let stream = TcpStream::connect(address).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        };
        let streams: Vec<_> = (0..clients).map(connect).collect();
        let block = line.repeat((64 << 10) / line.len());
        let mut replies = vec![0; 64 << 10];
        Self::repeat(move || {
            let mut moved = false;
            for mut stream in &streams {
                // After a partial write the next block starts a new line: any text will do.
                moved |= stream.write(&block).is_ok();
                moved |= stream.read(&mut replies).is_ok();
            }
            if !moved {
                thread::sleep(Duration::from_micros(200));
            }
        })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // A panic of the thread was printed.
        _ = self.thread.take().map(JoinHandle::join);
    }
}
