//! Names and order of the rotated files of a log.
//!
//! A rotated file of `logging.log` is `logging-20261125T033512Z-000001.log`: the time of its first record, in
//! UTC, and a number that grows with every rotated file. Numbers are unique. So a shell lists the files in
//! order; if the clock was set back, the number gives the order.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// The time in a name: `0` stands for a digit.
const TIME: &[u8] = b"00000000T000000Z";

/// The minimum number of digits of a number.
const DIGITS: usize = 6;

/// The rotated files of one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotatedFiles {
    folder: PathBuf,
    /// The name of the log itself.
    name: OsString,
}

/// An existing rotated file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RotatedFile {
    /// Its number, from 1.
    pub number: u64,
    /// Its path.
    pub path: PathBuf,
}

impl RotatedFiles {
    /// The rotated files of the log at `path`, in the same folder; `None` if `path` is not that of a file.
    pub fn of(path: &Path) -> Option<Self> {
        let (folder, name) = (path.parent()?.to_owned(), path.file_name()?.to_owned());
        Some(Self { folder, name })
    }

    /// The folder of the rotated files.
    pub fn folder(&self) -> &Path {
        // The folder of a bare name is empty, and system calls reject an empty path.
        if self.folder.as_os_str().is_empty() { Path::new(".") } else { &self.folder }
    }

    /// The number file, which keeps the number of the last rotated file even if all are deleted. A shell
    /// pattern for logs does not match it.
    pub fn number_path(&self) -> PathBuf {
        let name = [b".", self.name.as_bytes(), b".number"].concat();
        self.folder.join(OsString::from_vec(name))
    }

    /// The path of the rotated file with this number and this time of the first record, as
    /// `20261125T033512Z`.
    pub fn path(&self, time: &str, number: u64) -> PathBuf {
        let name = Path::new(&self.name);
        let mut rotated_file = name.file_stem().unwrap_or_default().to_owned();
        rotated_file.push(format!("-{time}-{number:0DIGITS$}"));
        if let Some(extension) = name.extension() {
            rotated_file.push(".");
            rotated_file.push(extension);
        }
        debug_assert_eq!(log_of(&rotated_file), Some((self.name.clone(), number)));
        self.folder.join(rotated_file)
    }

    /// The number of the rotated file with this name; `None` if it is not one of this log.
    pub fn number_of(&self, name: &OsStr) -> Option<u64> {
        let (log, number) = log_of(name)?;
        (log == self.name).then_some(number)
    }

    /// The existing rotated files, the oldest first. Only regular files count: a folder or a link with such a
    /// name was made by another program.
    pub fn find(&self) -> io::Result<Vec<RotatedFile>> {
        self.list().map(|listing| listing.files)
    }

    /// The existing rotated files, and the highest number in any such name, folders included.
    pub fn list(&self) -> io::Result<Listing> {
        let mut listing = Listing::default();
        for entry in fs::read_dir(self.folder())? {
            let entry = entry?;
            if let Some(number) = self.number_of(&entry.file_name()) {
                listing.highest = listing.highest.max(number);
                if entry.file_type()?.is_file() {
                    let path = self.folder.join(entry.file_name());
                    listing.files.push(RotatedFile { number, path });
                }
            }
        }
        listing.files.sort_unstable();
        Ok(listing)
    }
}

/// The files of a log in a folder.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The rotated files, the oldest first.
    pub files: Vec<RotatedFile>,
    /// The highest number in a name, 0 if there is none.
    pub highest: u64,
}

/// The name of the log that a rotated file with this name belongs to, and the rotated file's number.
fn log_of(name: &OsStr) -> Option<(OsString, u64)> {
    let path = Path::new(name);
    let stem = path.file_stem()?.as_bytes();
    let (rest, number) = stem.split_at(stem.iter().rposition(|byte| *byte == b'-')?);
    let (log, time) = rest.split_at(rest.len().checked_sub(TIME.len() + 1)?);
    let is_like = |(byte, shape): (&u8, &u8)| match shape {
        b'0' => byte.is_ascii_digit(),
        shape => byte == shape,
    };
    let is_time = time[0] == b'-' && time[1..].iter().zip(TIME).all(is_like);
    if log.is_empty() || !is_time {
        return None;
    }
    let mut log = OsStr::from_bytes(log).to_owned();
    if let Some(extension) = path.extension() {
        log.push(".");
        log.push(extension);
    }
    Some((log, parse_number(&number[1..])?))
}

/// Parses a number exactly as [`RotatedFiles::path`] writes it.
fn parse_number(digits: &[u8]) -> Option<u64> {
    let is_plain = digits.iter().all(u8::is_ascii_digit);
    let is_padded = digits.len() == DIGITS || digits.len() > DIGITS && digits[0] != b'0';
    let digits = std::str::from_utf8(digits).ok()?;
    let number = digits.parse().ok().filter(|_| is_plain && is_padded)?;
    (number > 0).then_some(number)
}

/// Groups files by log: rotated files by their numbers, then the log itself, in whatever order they were
/// given. Every other file is a log of its own. The logs are in the order of their first files.
pub fn by_log(files: &[PathBuf]) -> Vec<Vec<PathBuf>> {
    let mut logs = Vec::new();
    let mut places: Vec<_> = files
        .iter()
        .map(|file| {
            let name = file.file_name().unwrap_or(file.as_os_str());
            let (log, number) = log_of(name).unwrap_or_else(|| (name.to_owned(), u64::MAX));
            let folder =
                RotatedFiles::of(file).map(|rotated_files| rotated_files.folder().to_owned());
            let folder = folder.map(|folder| folder.canonicalize().unwrap_or(folder));
            let key = (folder, log);
            let known = logs.iter().position(|other| *other == key);
            let log = known.unwrap_or_else(|| {
                logs.push(key);
                logs.len() - 1
            });
            ((log, number), file)
        })
        .collect();
    // Stable: a file that was given twice is read twice.
    places.sort_by_key(|(place, _)| *place);
    let by_log = places.chunk_by(|((log, _), _), ((next, _), _)| log == next);
    by_log.map(|log| log.iter().map(|(_, file)| (*file).clone()).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "20261125T033512Z";

    fn rotated_files(log: &str) -> RotatedFiles {
        RotatedFiles::of(Path::new(log)).unwrap()
    }

    #[test]
    fn a_name_is_made_and_read_back() {
        for (log, number, expected) in [
            ("logging.log", 1, "logging-20261125T033512Z-000001.log"),
            ("/a/b.c/lines", 12, "/a/b.c/lines-20261125T033512Z-000012"),
            ("my.app.log", 999_999, "my.app-20261125T033512Z-999999.log"),
            (".log", 1_000_000, ".log-20261125T033512Z-1000000"),
            ("a-b", u64::MAX, "a-b-20261125T033512Z-18446744073709551615"),
        ] {
            let rotated_files = rotated_files(log);
            let path = rotated_files.path(TIME, number);
            assert_eq!(path, Path::new(expected));
            assert_eq!(rotated_files.number_of(path.file_name().unwrap()), Some(number));
        }
        assert_eq!(RotatedFiles::of(Path::new("/")), None);
        assert_eq!(RotatedFiles::of(Path::new("..")), None);
        let number = rotated_files("/a/logging.log").number_path();
        assert_eq!(number, Path::new("/a/.logging.log.number"));
    }

    /// Only an exact name of a rotated file of this log may be deleted.
    #[test]
    fn what_is_no_rotated_file_is_told_apart() {
        let rotated_files = rotated_files("logging.log");
        for other in [
            "logging.log",
            "logging-20261125T033512Z-000001",
            "logging-20261125T033512Z-000001.log.gz",
            "logging-20261125T033512Z-000001.txt",
            "logging-20261125T033512Z-00001.log",
            "logging-20261125T033512Z-0000001.log",
            "logging-20261125T033512Z-000000.log",
            "logging-20261125T033512Z-+00001.log",
            "logging-20261125T033512Z-.log",
            "logging-20261125T033512Z.log",
            "logging-20261125T03351Z-000001.log",
            "logging-20261125 033512Z-000001.log",
            "logging-20261125T033512-000001.log",
            "logging20261125T033512Z-000001.log",
            "-20261125T033512Z-000001.log",
            "logging2-20261125T033512Z-000001.log",
            "logging-a-20261125T033512Z-000001.log",
            "logging-20261125T033512Z-000001-20261125T033512Z-000001.log",
            "logging-20261125T033512Z-99999999999999999999.log",
            ".logging.log.number",
            "",
        ] {
            assert_eq!(rotated_files.number_of(OsStr::new(other)), None, "{other}");
        }
    }

    #[test]
    fn those_that_are_there_come_by_number() {
        let folder = tempfile::tempdir().unwrap();
        let rotated_files = RotatedFiles::of(&folder.path().join("logging.log")).unwrap();
        assert_eq!(rotated_files.find().unwrap(), []);
        // The clock was set back, and the number has one more digit.
        let made = [
            ("20261125T033512Z", 999_999),
            ("20261125T033511Z", 1_000_001),
            ("20261125T033512Z", 1_000_000),
        ];
        for (time, number) in made {
            fs::write(rotated_files.path(time, number), "").unwrap();
        }
        fs::create_dir(rotated_files.path(TIME, 7)).unwrap();
        std::os::unix::fs::symlink("logging.log", rotated_files.path(TIME, 8)).unwrap();
        fs::write(folder.path().join("logging.log"), "").unwrap();
        let numbers: Vec<_> = rotated_files.find().unwrap().iter().map(|it| it.number).collect();
        assert_eq!(numbers, [999_999, 1_000_000, 1_000_001]);
        assert!(rotated_files.find().unwrap().iter().all(|it| it.path.is_file()));
    }

    #[test]
    fn files_are_put_together_by_log() {
        let rotated_file = |log: &str, number| rotated_files(log).path(TIME, number);
        let (one, two, three) =
            (rotated_file("a.log", 1), rotated_file("a.log", 2), rotated_file("a.log", 3));
        let log = PathBuf::from("a.log");
        let whole = vec![one.clone(), two.clone(), three.clone(), log.clone()];
        for files in [
            whole.clone(),
            vec![log.clone(), three.clone(), one.clone(), two.clone()],
            vec![two.clone(), log.clone(), three.clone(), one.clone()],
        ] {
            assert_eq!(by_log(&files), std::slice::from_ref(&whole));
        }
        // The logs of two servers, one of them in the working folder under different spellings.
        let (here, other) = (PathBuf::from("./a.log"), PathBuf::from("/nowhere/a.log"));
        let files = [other.clone(), here.clone(), one.clone()];
        assert_eq!(by_log(&files), [vec![other], vec![one.clone(), here]]);
        // Names of logrotate have no meaning here: they stay in the order given.
        let typed = ["b.log.2", "b.log.1", "-", "b.log", "b.log"].map(PathBuf::from);
        assert_eq!(by_log(&typed).concat(), typed);
    }
}
