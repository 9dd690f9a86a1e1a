//! Files that a command writes: opened before the work, filled after it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A file to be written. Its old content stays until there is something new.
#[derive(Debug)]
pub(crate) struct Output {
    file: File,
    path: PathBuf,
}

impl Output {
    /// Opens `path`, so that a mistyped one is noticed before the work. Refuses a file that is one of
    /// `others`, which have other uses, under whatever name.
    pub(crate) fn create(option: &str, path: &Path, others: &[&Path]) -> Result<Self, String> {
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
    pub(crate) fn fill(
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
fn is_same_file(a: &Path, b: &Path) -> bool {
    let identity = |path| {
        let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        Some((metadata.dev(), metadata.ino()))
    };
    // Files that are not there yet have only their names.
    a == b || identity(a).is_some_and(|a| identity(b) == Some(a))
}

pub(crate) fn cannot_write(path: &Path, error: &io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}
