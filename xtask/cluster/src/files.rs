//! Configuration files of all programs. They are the packaged files with other addresses, so that
//! the examples that users copy are what runs.

use std::borrow::Cow;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use test_support::programs;

/// The users of the nodes and their permissions.
const USERS: &str = include_str!("../../../packaging/cluster/users.conf");

/// The lock file: only one process uses the default folder.
const LOCK: &str = "lock";

/// The folder of all files.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// The lock is released when the file is closed.
    _lock: Option<File>,
}

impl Folder {
    /// The requested folder, which has to be empty, or the default folder, whose content is deleted.
    pub(crate) fn prepare(asked_for: Option<&Path>) -> Result<Self, String> {
        let (path, is_ours) = match asked_for {
            Some(path) => (path.to_owned(), false),
            None => (default_folder(), true),
        };
        let about = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
        let failed = |error: io::Error| about(&error);
        fs::create_dir_all(&path).map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        let mut lock = None;
        if is_ours {
            let file = File::create(path.join(LOCK)).map_err(failed)?;
            match file.try_lock() {
                Ok(()) => lock = Some(file),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) => {
                    return Err(about(&"another one runs here; -dir names another folder"));
                }
            }
            empty(&path).map_err(failed)?;
        } else if fs::read_dir(&path).map_err(failed)?.next().is_some() {
            return Err(about(&"there is something in it; -dir needs an empty folder"));
        }
        Ok(Self { path, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file; returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf, String> {
        let path = self.path.join(name);
        let written = fs::write(&path, text);
        written.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }

    /// Writes a script that executes a program in the folder `within`; returns its path.
    pub(crate) fn write_script(
        &self,
        name: &str,
        within: &Path,
        words: &[&str],
    ) -> Result<PathBuf, String> {
        let within = within.to_string_lossy();
        let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
        let (within, words) = (quoted(&within), words.join(" "));
        self.write(name, &format!("cd {within} &&\nexec {words}\n"))
    }
}

/// A folder in the target directory.
fn default_folder() -> PathBuf {
    programs::folder().with_file_name("cluster")
}

fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else if entry.file_name() != LOCK {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A word, quoted for a shell where necessary.
fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_.:,@".contains(c);
    if word.chars().all(is_plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''")).into()
}

/// The users of the packaged configuration. A user's password is its name: the nodes are on loopback, and
/// short-lived.
pub(crate) fn users() -> Result<String, String> {
    let passwords = [
        ("$LINE_LOG_PASSWORD", "line-log"),
        ("$READER_PASSWORD", "reader"),
        ("$ADMIN_PASSWORD", "admin"),
    ];
    filled(USERS, &passwords)
}

/// A packaged text with some of its words replaced.
pub(crate) fn filled(text: &str, words: &[(&str, &str)]) -> Result<String, String> {
    words.iter().try_fold(text.to_owned(), |text, (from, to)| {
        if text.contains(from) {
            Ok(text.replace(from, to))
        } else {
            Err(format!("'{from}' is not in packaging/cluster"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_words_as_they_are() {
        for (word, expected) in [
            ("-c", "-c"),
            ("/a/b.conf", "/a/b.conf"),
            ("nats://u:p@127.0.0.1:1,a:2", "nats://u:p@127.0.0.1:1,a:2"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }

    #[test]
    fn nothing_is_filled_in_where_it_is_not_looked_for() {
        let filled = |words| filled("a b a", words);
        assert_eq!(filled(&[("a", "1"), ("b", "2")]), Ok("1 2 1".to_owned()));
        assert!(filled(&[("c", "1")]).is_err());
        assert!(!users().expect("they are there").contains(" $"));
    }

    #[test]
    fn a_folder_with_something_in_it_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new");
        let prepared = Folder::prepare(Some(&path)).expect("it is new");
        prepared.write("something", "").expect("a file");
        let why = Folder::prepare(Some(&path)).expect_err("it is not empty");
        assert!(why.ends_with("there is something in it; -dir needs an empty folder"));
        assert!(path.join("something").exists());
    }
}
