//! Rotations of logs in temporary folders.

mod folder;
mod number;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use common::rotated_files::RotatedFiles;
use tempfile::TempDir;
use time::OffsetDateTime;

use super::folder::time_in_name;
use super::rename::{Renamer, Rotated, RotationError, rename_to_new};
use crate::journal::ownership::Ownership;
use crate::journal::{CommitError, Journal, Opened, Opening};

struct Log {
    journal: Journal,
    renamer: Renamer,
    path: PathBuf,
}

fn record(time: &str, message: &str) -> String {
    format!("INFO\t| {time} --127.0.0.1:49030 recieved: {message}\n")
}

impl Log {
    fn open(path: PathBuf, sync: bool) -> Self {
        let renamer = Renamer::new(&path, true, None).unwrap();
        let opened: Opened = Journal::open(&path, Opening::Append, sync, None).unwrap();
        Self { journal: opened.journal, renamer, path }
    }

    fn write(&mut self, records: &str) {
        self.journal.commit(records.as_bytes(), true).unwrap();
    }

    fn rotate(&mut self) -> Result<Rotated, RotationError> {
        self.renamer.rotate(&mut self.journal)
    }

    /// Writes a record and rotates. Returns the name of the rotated file.
    fn rotated_file(&mut self, time: &str) -> String {
        self.write(&record(time, "hello"));
        let rotated_file = self.rotate().unwrap().file;
        rotated_file.file_name().unwrap().to_str().unwrap().to_owned()
    }
}

fn path_of_number(log: &Path) -> PathBuf {
    RotatedFiles::of(log).unwrap().number_path()
}

fn log(sync: bool) -> (TempDir, Log) {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path().join("logging.log"), sync);
    (folder, log)
}

/// The names in a folder, without the number file.
fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<_> = entries.map(name).filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

#[test]
fn a_log_becomes_a_rotated_file_and_a_new_one_is_begun() {
    for sync in [false, true] {
        let (folder, mut log) = log(sync);
        let before = record("2026-11-25 03:35:12", "before") + &record("2026-11-25 03:35:13", "b");
        log.write(&before);
        let rotated = log.rotate().unwrap();
        let rotated_file = "logging-20261125T033512Z-000001.log";
        assert_eq!(rotated.file, folder.path().join(rotated_file));
        assert_eq!(rotated.length, before.len() as u64);
        assert!(rotated.damage.is_none());
        let after = record("2026-11-25 03:35:14", "after");
        log.write(&after);
        assert_eq!(names(&folder), [rotated_file, "logging.log"]);
        assert_eq!(fs::read_to_string(&rotated.file).unwrap(), before);
        assert_eq!(fs::read_to_string(&log.path).unwrap(), after);
        // The new log is locked, and disk space is reserved for it.
        let other = Journal::<File>::open(&log.path, Opening::Append, false, None);
        assert_eq!(other.unwrap_err().to_string(), "another server is writing it");
        assert_eq!(log.journal.syncs(), sync);
    }
}

#[test]
fn no_file_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
    fs::write(&from, "from").unwrap();
    fs::write(&to, "to").unwrap();
    let error = rename_to_new(&from, &to).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(&to).unwrap(), "to");
    fs::remove_file(&to).unwrap();
    rename_to_new(&from, &to).unwrap();
    assert_eq!(fs::read_to_string(&to).unwrap(), "from");
}

/// A rename that fails uses up no number and changes nothing. It works when it is possible again.
#[test]
fn a_log_that_cannot_be_renamed_stays() {
    let folder = tempfile::tempdir().unwrap();
    // Short enough for the log and the number file, too long for a rotated file.
    let path = folder.path().join("x".repeat(240));
    let error = Renamer::new(&path, true, None).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidFilename, "{error}");
    let opened: Opened = Journal::open(&path, Opening::Append, true, None).unwrap();
    let mut renamer = Renamer::new(&folder.path().join("short"), true, None).unwrap();
    renamer.folder.log = path.clone();
    let journal = opened.journal;
    let mut log = Log { journal, renamer, path };
    let mut expected = String::new();
    for n in 0..3 {
        let text = record("2026-11-25 03:35:12", &n.to_string());
        log.write(&text);
        expected += &text;
        let refused = log.rotate().unwrap_err();
        assert!(matches!(refused, RotationError::Refused(_)), "{refused:?}");
        assert_eq!(fs::read_to_string(&log.path).unwrap(), expected);
        let number = fs::read_to_string(path_of_number(&log.path)).unwrap();
        assert_eq!(number, "00000000000000000001\n");
    }
    assert_eq!(names(&folder).len(), 1);
}

#[test]
fn an_empty_or_foreign_log_is_not_rotated() {
    let (folder, mut log) = log(false);
    assert!(matches!(log.rotate(), Err(RotationError::Refused(_))));
    log.write(&record("2026-11-25 03:35:12", "mine"));
    fs::rename(&log.path, folder.path().join("mine")).unwrap();
    fs::write(&log.path, "another's").unwrap();
    assert!(matches!(log.rotate(), Err(RotationError::Refused(_))));
    assert_eq!(names(&folder), ["logging.log", "mine"]);
}

/// The new log cannot be opened in place of the old one. No record is lost, and the old file is still
/// written.
#[test]
fn a_new_log_that_cannot_be_opened_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logging.log");
    let mut log = Log::open(path.clone(), false);
    log.write(&record("2026-11-25 03:35:12", "before"));
    let rotated_file = folder.path().join("rotated file");
    fs::rename(&path, &rotated_file).unwrap();
    fs::create_dir(&path).unwrap();
    let refused = log.journal.begin_anew(&path).unwrap_err();
    assert!(matches!(refused, CommitError::Refused(_)), "{refused:?}");
    log.write("after\n");
    assert!(fs::read_to_string(rotated_file).unwrap().ends_with("before\nafter\n"));
}

#[test]
fn the_name_tells_the_time_of_the_first_record_that_there_is() {
    let (_folder, mut log) = log(false);
    log.write("\0\0\0\nlf: torn\n");
    log.write(
        "{\"time\":\"2026-11-25T03:35:12.123456+01:00\",\"peer\":\"[::1]:4\",\"error\":\"log\"}\n",
    );
    assert_eq!(log.rotated_file("2026-11-25 09:00:00"), "logging-20261125T023512Z-000001.log");
    // Longer than the bytes that are searched.
    log.write(&record("2026-11-25 03:35:13", &"x".repeat(100_000)));
    let begun = log.renamer.first_time(&log.journal).unwrap().unwrap();
    assert_eq!(time_in_name(begun), "20261125T033513Z");
    log.rotate().unwrap();
    let before = OffsetDateTime::now_utc().unix_timestamp();
    log.write("no record at all\n");
    assert_eq!(log.renamer.first_time(&log.journal).unwrap(), None);
    let rotated_file = log.rotate().unwrap().file;
    let name = rotated_file.to_str().unwrap();
    let now = OffsetDateTime::from_unix_timestamp(before).unwrap();
    let minute = &time_in_name(now)[..8];
    assert!(name.contains(&format!("logging-{minute}")), "{name}");
}

#[test]
fn the_target_of_a_link_is_rotated() {
    let folder = tempfile::tempdir().unwrap();
    let data = tempfile::tempdir().unwrap();
    let link = folder.path().join("logging.log");
    symlink(data.path().join("real.log"), &link).unwrap();
    fs::write(data.path().join("real.log"), "").unwrap();
    let mut log = Log::open(link.clone(), true);
    assert_eq!(log.rotated_file("2026-11-25 03:35:12"), "real-20261125T033512Z-000001.log");
    log.write(&record("2026-11-25 03:35:13", "after"));
    assert_eq!(names(&data), ["real-20261125T033512Z-000001.log", "real.log"]);
    assert!(fs::read_to_string(link).unwrap().ends_with("after\n"));
}

#[test]
fn the_new_log_has_the_ownership_of_the_old_one() {
    let (_folder, mut log) = log(false);
    fs::set_permissions(&log.path, fs::Permissions::from_mode(0o600)).unwrap();
    // Only root may give a file to any group.
    let is_given = std::os::unix::fs::chown(&log.path, None, Some(4321)).is_ok();
    log.rotated_file("2026-11-25 03:35:12");
    let new = log.path.metadata().unwrap();
    assert_eq!(new.permissions().mode() & 0o777, 0o600);
    assert_eq!(new.gid() == 4321, is_given);
    let number = path_of_number(&log.path).metadata().unwrap();
    assert_eq!(Ownership::of(&number), Ownership::of(&new));
}

#[test]
fn reserved_space_is_given_back_before_the_log_is_renamed() {
    let (_folder, mut log) = log(false);
    log.write(&record("2026-11-25 03:35:12", "before"));
    assert!(log.journal.reserved_bytes > 0 && log.journal.reserves);
    log.rotate().unwrap();
    assert_eq!(log.journal.reserved_bytes, 0);
    log.write(&record("2026-11-25 03:35:13", "after"));
    assert!(log.journal.reserved_bytes > 0, "for the new one");
    // A rename that fails must not stop reserving.
    log.renamer.folder.log = log.path.with_file_name("elsewhere");
    assert!(matches!(log.rotate(), Err(RotationError::Refused(_))));
    assert!(log.journal.reserves);
}
