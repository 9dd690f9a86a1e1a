//! The log file as the journal uses it: append, cut, lock, sync.

use std::fs::{File, TryLockError};
use std::io::{self, Seek as _, SeekFrom, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::ownership::{self, Ownership};

/// The operations that the journal needs of a file that is opened to append. Tests implement it with files
/// that fail.
pub trait Storage: Write + Sized {
    /// Opens the file at `path` to append and locks it against other servers. Changes no content. A missing
    /// file is created, with the ownership `like` if that is given.
    fn open(path: &Path, like: Option<Ownership>) -> io::Result<Self>;
    /// Whether `path` leads to this file.
    fn is_at(&self, path: &Path) -> bool;
    /// Owner, group and mode, also of a file that has been deleted.
    fn ownership(&self) -> Option<Ownership> {
        None
    }
    /// The length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Bytes that are free on its disk for users other than root.
    fn free_bytes(&self) -> Option<u64> {
        None
    }
    /// The offset at which the last write ended. After [`open`](Self::open) and [`truncate`](Self::truncate)
    /// it is the end of the file.
    fn position(&self) -> io::Result<u64>;
    /// Sets [`position`](Self::position) to the end of the file.
    fn seek_to_end(&self) -> io::Result<()>;
    /// Truncates the file to `length` bytes.
    fn truncate(&self, length: u64) -> io::Result<()>;
    /// Asks for `count` bytes of disk space after the first `length`, without changing the length. Failure
    /// has no consequence: reserved space only makes writing faster.
    fn reserve(&self, length: u64, count: u64) {
        _ = (length, count);
    }
    /// Reads exactly `buffer.len()` bytes at `offset`.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Syncs the content: when this returns, the written bytes survive a power cut.
    fn sync(&self) -> io::Result<()>;
    /// Syncs the content and the directory entry of the file at `path`.
    fn sync_with_name(&self, path: &Path) -> io::Result<()>;
}

impl Storage for File {
    fn open(path: &Path, like: Option<Ownership>) -> io::Result<Self> {
        // Opening a FIFO or a device must not block before the file is refused.
        let at_once = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        let mut options = Self::options();
        options.read(true).append(true).custom_flags(at_once);
        let file = match like {
            None => options.create(true).open(path)?,
            Some(like) => ownership::open_like(path, &options, like)?,
        };
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        refuse_own_output(&file)?;
        lock(&file, path)?;
        file.seek_to_end()?;
        Ok(file)
    }

    fn is_at(&self, path: &Path) -> bool {
        let same = || {
            let (open, named) = (self.metadata()?, path.metadata()?);
            Ok::<_, io::Error>((open.dev(), open.ino()) == (named.dev(), named.ino()))
        };
        same().unwrap_or(false)
    }

    fn ownership(&self) -> Option<Ownership> {
        self.metadata().ok().as_ref().map(Ownership::of)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn free_bytes(&self) -> Option<u64> {
        let disk = rustix::fs::fstatvfs(self).ok()?;
        Some(disk.f_bavail * disk.f_frsize)
    }

    fn position(&self) -> io::Result<u64> {
        let mut file = self;
        file.stream_position()
    }

    fn seek_to_end(&self) -> io::Result<()> {
        let mut file = self;
        file.seek(SeekFrom::End(0)).map(drop)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.set_len(length)?;
        self.seek_to_end()
    }

    #[cfg(target_os = "linux")]
    fn reserve(&self, length: u64, count: u64) {
        let flags = rustix::fs::FallocateFlags::KEEP_SIZE;
        // Not every file system supports this, and it may be full. Writing works without it.
        _ = rustix::fs::fallocate(self, flags, length, count);
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn sync_with_name(&self, path: &Path) -> io::Result<()> {
        self.sync_all()?;
        let path = path.canonicalize()?;
        let directory = path.parent().unwrap_or(&path);
        Self::options().read(true).open(directory)?.sync_all()
    }
}

/// Refuses a log that is also the server's output: other output would be mixed with the records.
fn refuse_own_output(file: &File) -> io::Result<()> {
    let log = rustix::fs::fstat(file)?;
    let (out, err) = (io::stdout(), io::stderr());
    for (name, output) in [("output", out.as_fd()), ("error", err.as_fd())] {
        if let Ok(output) = rustix::fs::fstat(output)
            && (output.st_dev, output.st_ino) == (log.st_dev, log.st_ino)
        {
            let what = format!("it is the server's standard {name} as well");
            return Err(io::Error::other(what));
        }
    }
    Ok(())
}

/// Locks the file against other servers. A file system without locks is accepted.
fn lock(file: &File, path: &Path) -> io::Result<()> {
    const UNABLE: [Errno; 3] = [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOSYS];
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(io::Error::other("another server is writing it")),
        Err(TryLockError::Error(error)) => {
            let errno = error.raw_os_error().map(Errno::from_raw_os_error);
            if !errno.is_some_and(|errno| UNABLE.contains(&errno)) {
                return Err(error);
            }
            let path = path.display();
            log::warn!("{path} cannot be locked ({error}): see that no other server writes it");
            Ok(())
        }
    }
}
