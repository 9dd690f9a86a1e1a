//! Output of the programs: files that are opened before the work and written after it, and streams whose
//! readers may be slow.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::program::named;
use crate::record::one_line;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// A file to be written. Its old content stays until there is new content.
#[derive(Debug)]
pub struct Output {
    file: File,
    path: PathBuf,
}

impl Output {
    /// Opens `path`, the value of `-option`, before the work, so that a wrong path is an early error. Refuses
    /// a file that is one of `others`, under whatever name: these have other uses.
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

    /// Replaces the old content with what `fill` writes. A device or a pipe has no old content.
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
    // Files that do not exist yet have only their names.
    a == b || identity(a).is_some_and(|a| identity(b) == Some(a))
}

/// Writes all of `bytes` unbuffered, and waits for a slow reader. Another process may have made a shared
/// standard stream non-blocking.
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

/// Prints one line to standard error, escaped, since it may contain text of a peer. It is not an error if the
/// reader has closed the pipe. `command` is the program or command by its built name, e.g. `client send`.
pub fn report(command: &str, text: &str) {
    _ = writeln!(io::stderr(), "{}: {}", named(command), one_line(text));
}

/// The message for a file that cannot be written.
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
            assert!(error.starts_with("-o ") && error.contains("would overwrite"), "{error}");
        }
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        let device = Path::new("/dev/null");
        let output = Output::create("o", device, &[device.with_file_name("zero").as_path()]);
        output.unwrap().fill(|out| out.write_all(b"x")).unwrap();
    }
}
