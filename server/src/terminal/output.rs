//! Non-blocking writes to a standard descriptor.
//!
//! An inherited descriptor is shared with other programs, so making it non-blocking would affect them. On
//! Linux, opening its `/proc/self/fd` path gives a separate handle on a tty, a pipe or a device. Sockets
//! are written with `MSG_DONTWAIT`.
//!
//! In all other cases a thread does blocking writes. Other systems have no such path, and a pipe or a tty
//! of another user may not be opened. Regular files have no non-blocking writes and may be on a disk that
//! hangs.

use std::fs::File;
use std::io::{self, PipeReader, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;
use rustix::net::SendFlags;

/// How long the thread waits before it retries a write to a full disk.
const RETRY: Duration = Duration::from_secs(1);

/// The destination of lines.
#[derive(Debug)]
pub(super) enum Output {
    /// A tty, a pipe or a device, with a separate non-blocking handle.
    File(File),
    Socket(OwnedFd),
    /// A pipe to a thread that does blocking writes. The channel closes when it has written everything.
    Thread(File, Receiver<()>),
    /// A destination without a reader.
    Closed,
}

impl Output {
    /// Chooses the way that suits this descriptor.
    pub(super) fn open(descriptor: impl AsFd) -> io::Result<Self> {
        let descriptor = descriptor.as_fd();
        match FileType::from_raw_mode(fstat(descriptor)?.st_mode) {
            FileType::Socket => return Ok(Self::Socket(descriptor.try_clone_to_owned()?)),
            // Opened again, it would be written from its start.
            FileType::RegularFile => return Self::by_thread(descriptor.try_clone_to_owned()?),
            _ => {}
        }
        let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match open(path, flags, Mode::empty()) {
            Ok(own) => Ok(Self::File(own.into())),
            // A named pipe without a reader.
            Err(Errno::NXIO) => Ok(Self::Closed),
            Err(_) => Self::by_thread(descriptor.try_clone_to_owned()?),
        }
    }

    /// Starts a thread for a descriptor that has only blocking writes. Its input is a pipe, which is
    /// written like others.
    pub(super) fn by_thread(descriptor: OwnedFd) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        rustix::io::ioctl_fionbio(&writer, true)?;
        let (running, done) = channel();
        std::thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || copy(reader, &mut File::from(descriptor), running))?;
        Ok(Self::Thread(File::from(OwnedFd::from(writer)), done))
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::File(file) | Self::Thread(file, _) => Some(file.as_fd()),
            Self::Socket(socket) => Some(socket.as_fd()),
            Self::Closed => None,
        }
    }

    /// Registers `token` for writable events, if the descriptor supports them.
    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        let Some(descriptor) = self.descriptor() else {
            return Ok(());
        };
        let mut source = SourceFd(&descriptor.as_raw_fd());
        match registry.register(&mut source, token, Interest::WRITABLE) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            result => result,
        }
    }

    /// Writes what the descriptor takes at once.
    pub(super) fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) | Self::Thread(file, _) => file.write(text),
            Self::Socket(socket) => {
                // If the other end is closed, this is an error and no signal: Rust programs ignore SIGPIPE.
                Ok(rustix::net::send(socket, text, SendFlags::DONTWAIT)?)
            }
            Self::Closed => Ok(text.len()),
        }
    }

    /// Waits until it is writable; `false` if it is not before `deadline`.
    pub(super) fn wait(&self, deadline: Instant) -> bool {
        let Some(descriptor) = self.descriptor() else {
            return false;
        };
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(left) = Timespec::try_from(left) else {
                return false;
            };
            match poll(&mut [PollFd::new(&descriptor, PollFlags::OUT)], Some(&left)) {
                Err(Errno::INTR) => {}
                result => return result.is_ok_and(|ready| ready > 0),
            }
        }
    }

    /// Ends the output. A thread may write what it still has until `deadline`.
    pub(super) fn finish(&mut self, deadline: Instant) {
        if let Self::Thread(..) = self
            && let Self::Thread(pipe, done) = std::mem::replace(self, Self::Closed)
        {
            drop(pipe);
            let left = deadline.saturating_duration_since(Instant::now());
            // It never sends anything: the channel closes, or the time is over.
            _ = done.recv_timeout(left);
        }
    }
}

/// Copies the pipe to a descriptor with blocking writes. Ends with the pipe, or when the destination is
/// closed, which the writer of the pipe then notices. Dropping `running` reports the end.
///
/// Signals need no handling here: their handlers only wake the loop, whichever thread they run in.
fn copy(mut from: PipeReader, to: &mut File, running: Sender<()>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        let mut rest = &buffer[..n];
        while !rest.is_empty() {
            match to.write(rest) {
                Ok(n) => rest = &rest[n..],
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    // Another program has made the descriptor non-blocking.
                    io::ErrorKind::WouldBlock => {
                        _ = poll(&mut [PollFd::new(to, PollFlags::OUT)], None);
                    }
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => return,
                    // A full disk may have room later.
                    _ => std::thread::sleep(RETRY),
                },
            }
        }
    }
    drop(running);
}
