//! Wake-ups when the files of a folder change.

use std::io;
use std::path::Path;

/// A watch that wakes a poll when a file in a folder changes. It exists on Linux only. Elsewhere
/// the caller has to read from time to time.
#[derive(Debug)]
pub struct Watch {
    #[cfg(target_os = "linux")]
    inotify: inotify::Inotify,
}

#[cfg(target_os = "linux")]
impl Watch {
    /// Watches the folder of `path` and registers with a poll.
    ///
    /// # Errors
    ///
    /// The folder cannot be watched, for example because it does not exist.
    pub fn new(path: &Path, registry: &mio::Registry, token: mio::Token) -> io::Result<Self> {
        use inotify::WatchMask;
        use std::os::fd::AsRawFd as _;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let inotify = inotify::Inotify::init()?;
        let mask =
            WatchMask::MODIFY | WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::MOVED_FROM;
        inotify.watches().add(folder.unwrap_or(Path::new(".")), mask)?;
        let descriptor = inotify.as_raw_fd();
        let mut source = mio::unix::SourceFd(&descriptor);
        registry.register(&mut source, token, mio::Interest::READABLE)?;
        Ok(Self { inotify })
    }

    /// Reads all pending events, so that the next change wakes the poll again.
    pub fn clear(&mut self) {
        let mut buffer = [0; 4096];
        while self.inotify.read_events(&mut buffer).is_ok_and(|mut events| events.next().is_some())
        {
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Watch {
    /// There is nothing to register.
    pub fn new(_: &Path, _: &mio::Registry, _: mio::Token) -> io::Result<Self> {
        Ok(Self {})
    }

    /// There is nothing to read.
    pub fn clear(&mut self) {}
}
