//! What a program writes: files that are opened before the work and filled after it, and streams whose
//! readers may be slow.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::record::one_line;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// A file to be written. Its old content stays until there is something new.
#[derive(Debug)]
pub struct Output {
    file: File,
    path: PathBuf,
}

impl Output {
    /// Opens `path`, given with `-option`, so that a mistyped one is noticed before the work. Refuses a file that is one of
    /// `others`, which have other uses, under whatever name.
    pub fn create(option: &str, path: &Path, others: &[&Path]) -> Result<Self, String> {
        if let Some(other) = others.iter().find(|other| is_same_file(path, other)) {
            return Err(format!(
                "-{option} {} would overwrite {}: give another file",
                path.display(),
                other.display()
            ));
        }
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).open(path);
        let file = file.map_err(|error| cannot_write(path, &error))?;
        let path = path.to_owned();
        Ok(Self { file, path })
    }

    /// Writes what `fill` writes, in place of the old content; a device or a pipe has none.
    pub fn fill(
        mut self,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), String> {
        let emptied = match self.file.metadata() {
            Ok(metadata) if metadata.is_file() => self.file.set_len(0),
            other => other.map(drop),
        };
        emptied
            .and_then(|()| fill(&mut self.file))
            .map_err(|error| cannot_write(&self.path, &error))
    }
}

/// Whether both names lead to one regular file.
pub fn is_same_file(a: &Path, b: &Path) -> bool {
    let identity = |path| {
        let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        Some((metadata.dev(), metadata.ino()))
    };
    // Files that are not there yet have only their names.
    a == b || identity(a).is_some_and(|a| identity(b) == Some(a))
}

/// Writes all of `bytes`, at once, past any buffer, and waits for a reader who is slow: others may have
/// made a standard stream non-blocking, which is theirs as well.
pub fn write_all(to: impl AsFd, mut bytes: &[u8]) -> io::Result<()> {
    let to = to.as_fd();
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => _ = poll(&mut [PollFd::new(&to, PollFlags::OUT)], None),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reports something on standard error: one line, escaped, since it may hold text of a peer. A reader that has closed
/// its end is no error.
pub fn report(program: &str, text: &str) {
    _ = writeln!(io::stderr(), "{program}: {}", one_line(text));
}

/// What is said of a file that cannot be written.
pub fn cannot_write(path: &Path, error: &io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_goes_when_there_is_something_new() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "longer than what comes").unwrap();
        let output = Output::create("o", &path, &[]).unwrap();
        assert_eq!(fs::read(&path).unwrap().len(), 22);
        output.fill(|out| out.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn another_name_of_an_input_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&path, "precious").unwrap();
        fs::hard_link(&path, &link).unwrap();
        for name in [&path, &link] {
            let error = Output::create("o", name, &[&path]).unwrap_err();
            assert!(
                error.starts_with("-o ") && error.contains("would overwrite"),
                "{error}"
            );
        }
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        let device = Path::new("/dev/null");
        let output = Output::create("o", device, &[device.with_file_name("zero").as_path()]);
        output.unwrap().fill(|out| out.write_all(b"x")).unwrap();
    }
}
