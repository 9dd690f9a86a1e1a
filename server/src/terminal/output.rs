//! The ways to write to a standard descriptor without waiting for it.
//!
//! A descriptor that the server inherits is shared with other programs, so it cannot be made
//! non-blocking without surprising them. On Linux, opening its `/proc/self/fd` path gives a handle
//! of our own on a tty, a pipe or a device. A socket is sent to with `MSG_DONTWAIT`. Where there is
//! no such path (other systems), or it may not be opened (a pipe or a tty of another user), and for
//! regular files, which know no non-blocking writes and may lie on a disk that hangs, a thread does
//! the waiting.

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

/// How long the thread waits before it tries again to write to a disk that is full.
const RETRY: Duration = Duration::from_secs(1);

/// Where lines go.
#[derive(Debug)]
pub(super) enum Output {
    /// A tty, a pipe or a device, with a non-blocking handle of our own.
    File(File),
    Socket(OwnedFd),
    /// A pipe to a thread that writes and waits. The channel ends when it has written everything.
    Thread(File, Receiver<()>),
    /// Nobody will ever read it.
    Closed,
}

impl Output {
    /// The way that suits this descriptor.
    pub(super) fn open(descriptor: impl AsFd) -> io::Result<Self> {
        let descriptor = descriptor.as_fd();
        match FileType::from_raw_mode(fstat(descriptor)?.st_mode) {
            FileType::Socket => return Ok(Self::Socket(descriptor.try_clone_to_owned()?)),
            // Opened anew, it would be written from its start.
            FileType::RegularFile => return Self::by_thread(descriptor.try_clone_to_owned()?),
            _ => {}
        }
        let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match open(path, flags, Mode::empty()) {
            Ok(own) => Ok(Self::File(own.into())),
            // A named pipe that nobody reads.
            Err(Errno::NXIO) => Ok(Self::Closed),
            Err(_) => Self::by_thread(descriptor.try_clone_to_owned()?),
        }
    }

    /// Has a thread write to a descriptor that can only be waited for. Whoever shows lines sees a
    /// pipe like any other.
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

    /// Has `token` told when it takes output again, if that can be had.
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

    /// Writes what is taken at once.
    pub(super) fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) | Self::Thread(file, _) => file.write(text),
            Self::Socket(socket) => {
                // Nobody at the other end is an error: Rust's programs ignore SIGPIPE.
                Ok(rustix::net::send(socket, text, SendFlags::DONTWAIT)?)
            }
            Self::Closed => Ok(text.len()),
        }
    }

    /// Waits until it takes output again; false if it does not before `deadline`.
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

    /// Nothing more is written: lets the thread, if there is one, write what it has, but not past
    /// `deadline`.
    pub(super) fn finish(&mut self, deadline: Instant) {
        if let Self::Thread(..) = self
            && let Self::Thread(pipe, done) = std::mem::replace(self, Self::Closed)
        {
            drop(pipe);
            let left = deadline.saturating_duration_since(Instant::now());
            // It never sends anything: the channel ends, or the time is over.
            _ = done.recv_timeout(left);
        }
    }
}

/// Writes what comes through the pipe, and waits as long as that takes. Ends with the pipe, or when
/// nobody reads any more, which the pipe's other end then notices. `running` says so by its end.
///
/// Signals need no care here: their handlers only wake the loop, whichever thread they run in.
fn copy(mut from: PipeReader, to: &mut File, running: Sender<()>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        let mut rest = &buffer[..n];
        while !rest.is_empty() {
            match to.write(rest) {
                Ok(n) => rest = &rest[n..],
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    // Somebody else has made it so.
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
