//! The cached folder, damage in rotated files, and deletion.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use common::rotated_files::RotatedFiles;

use super::{log, names, record};
use crate::journal::damage::LOOK_BACK_BYTES;
use crate::journal::ownership::Ownership;
use crate::journal::rotation::folder::{DELETE_BUDGET, Folder, MAX_CHECKED};

/// The folder is listed at start, and again after an error or after `forget`.
#[test]
fn the_folder_is_not_listed_at_each_rotation() {
    const TIME: &str = "2026-11-25 03:35:12";
    let (folder, mut log) = log(false);
    log.rotated_file(TIME);
    let other = folder.path().join("logging-20261125T033511Z-000050.log");
    fs::write(other, "").unwrap();
    assert_eq!(log.rotated_file(TIME), "logging-20261125T033512Z-000002.log");
    log.renamer.forget();
    assert_eq!(log.rotated_file(TIME), "logging-20261125T033512Z-000051.log");
    fs::write(folder.path().join("logging-20261125T033511Z-000060.log"), "").unwrap();
    // An empty log is not rotated; that is an error.
    assert!(log.rotate().is_err());
    assert_eq!(log.rotated_file(TIME), "logging-20261125T033512Z-000061.log");
}

#[test]
fn damage_in_the_newest_rotated_files_is_found() {
    let (folder, mut log) = log(false);
    let nuls = "\0".repeat(5000);
    for n in 0..MAX_CHECKED + 2 {
        let file = log.rotated_file(&format!("2026-11-25 03:35:{n:02}"));
        let whole = record("2026-11-25 03:35:12", "hello");
        let content = match n {
            0 | 5 => format!("{whole}{nuls}\n{whole}"),
            9 => format!("{whole}torn"),
            _ => whole,
        };
        fs::write(folder.path().join(file), content).unwrap();
    }
    let mut files = Folder::open(&log.path, None).unwrap();
    let found = files.find_damage(0);
    let numbers: Vec<_> = found
        .iter()
        .map(|(path, damage)| {
            let damage = damage.as_ref().unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            (name[25..31].parse().unwrap(), damage.lines, damage.ended_last)
        })
        .collect();
    // The first file is older than what is checked.
    assert_eq!(numbers, [(6, 1, false), (10, 0, true)]);
    let mut files = Folder::open(&log.path, None).unwrap();
    assert!(files.find_damage(LOOK_BACK_BYTES).is_empty());
    // The two newest files, and no more of the third than the budget allows.
    let mut files = Folder::open(&log.path, None).unwrap();
    let size = files.newest[0].metadata().unwrap().len();
    assert!(files.find_damage(LOOK_BACK_BYTES - 2 * size).is_empty());
}

/// The server was killed after the rename, before the next log was opened.
#[test]
fn a_missing_log_gets_the_ownership_of_the_newest_rotated_file() {
    let (folder, mut log) = log(false);
    let file = folder.path().join(log.rotated_file("2026-11-25 03:35:12"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let files = Folder::open(&log.path, None).unwrap();
    assert_eq!(files.ownership_of_missing_log(), None);
    fs::remove_file(&log.path).unwrap();
    let expected = Ownership::of(&file.metadata().unwrap());
    assert_eq!(files.ownership_of_missing_log(), Some(expected));
}

#[test]
fn only_old_rotated_files_of_its_own_are_deleted() {
    let (folder, mut log) = log(false);
    for second in 0..5 {
        log.rotated_file(&format!("2026-11-25 03:35:1{second}"));
    }
    let others = [
        "logging-20261125T033510Z-000001.log.gz",
        "logging-20261125T033510Z-000001.txt",
        "logging.log.1",
        "other-20261125T033510Z-000001.log",
    ];
    for other in others {
        fs::write(folder.path().join(other), "").unwrap();
    }
    let delete = |keep| {
        let mut files = Folder::open(&log.path, Some(keep)).unwrap();
        files.delete_old().unwrap()
    };
    assert_eq!(delete(7), 0);
    assert_eq!(delete(2), 3);
    let mut left = others.map(str::to_owned).to_vec();
    left.extend(
        [
            "logging-20261125T033513Z-000004.log",
            "logging-20261125T033514Z-000005.log",
            "logging.log",
        ]
        .map(str::to_owned),
    );
    left.sort();
    assert_eq!(names(&folder), left);
    assert_eq!(delete(1), 1);
}

#[test]
fn many_old_files_are_deleted_within_a_budget() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logging.log");
    let rotated_files = RotatedFiles::of(&path).unwrap();
    for number in 1..=2 * DELETE_BUDGET as u64 {
        fs::write(rotated_files.path("20261125T033512Z", number), "").unwrap();
    }
    let mut files = Folder::open(&path, Some(3)).unwrap();
    for expected in [DELETE_BUDGET, DELETE_BUDGET - 3] {
        assert!(files.has_old());
        assert_eq!(files.delete_old().unwrap(), expected as u64);
    }
    assert!(!files.has_old());
    let left: Vec<_> = rotated_files.find().unwrap().iter().map(|file| file.number).collect();
    assert_eq!(left, [126, 127, 128]);
    // Another program deletes it.
    fs::remove_file(rotated_files.path("20261125T033512Z", 126)).unwrap();
    files.keep = Some(1);
    assert_eq!(files.delete_old().unwrap(), 1);
}
