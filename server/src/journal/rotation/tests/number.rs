//! Numbers of rotated files.

use std::fs;

use super::{Log, RotationError, log, names, path_of_number, record};

/// The number grows across restarts, even if rotated files or the number file were deleted.
#[test]
fn numbers_are_unique() {
    const TIME: &str = "2026-11-25 03:35:12";
    let (folder, mut log) = log(false);
    assert_eq!(log.rotated_file(TIME), "logging-20261125T033512Z-000001.log");
    assert_eq!(log.rotated_file(TIME), "logging-20261125T033512Z-000002.log");
    for name in names(&folder) {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    let path = log.path.clone();
    let mut log = Log::open(path.clone(), false);
    assert_eq!(log.rotated_file(TIME), "logging-20261125T033512Z-000003.log");
    // Without the number file, the names give the number.
    let number = path_of_number(&log.path);
    fs::remove_file(&number).unwrap();
    assert_eq!(log.rotated_file(TIME), "logging-20261125T033512Z-000004.log");
    assert_eq!(fs::read_to_string(&number).unwrap(), "00000000000000000004\n");
    // The next name is that of a folder. It is left alone, and the parent folder is listed again.
    fs::create_dir(folder.path().join("logging-20261125T033512Z-000005.log")).unwrap();
    log.write(&record(TIME, "hello"));
    let refused = log.rotate().unwrap_err();
    assert!(matches!(refused, RotationError::Refused(_)), "{refused:?}");
    assert_eq!(log.rotated_file(TIME), "logging-20261125T033512Z-000006.log");
    fs::write(&number, u64::MAX.to_string()).unwrap();
    let refused = log.rotate().unwrap_err();
    assert!(matches!(refused, RotationError::Refused(_)), "{refused:?}");
    // If the number file holds no number, the names give it.
    let mut next = 7;
    for damaged in ["", "\0\0\0\0", "six\n", "-1", "\0\0\x007\n"] {
        fs::write(&number, damaged).unwrap();
        for is_new_server in [false, true] {
            if is_new_server {
                drop(log);
                log = Log::open(path.clone(), false);
            }
            let expected = format!("logging-20261125T033512Z-{next:06}.log");
            assert_eq!(log.rotated_file(TIME), expected, "{damaged:?}");
            fs::write(&number, damaged).unwrap();
            next += 1;
        }
    }
}

#[test]
fn a_number_that_was_not_used_is_used_once() {
    let (folder, mut log) = log(false);
    let number = path_of_number(&log.path);
    fs::write(&number, "7\n").unwrap();
    log.renamer.number.put_back(number, 7);
    for expected in [7, 8] {
        let rotated_file = log.rotated_file("2026-11-25 03:35:12");
        assert_eq!(rotated_file, format!("logging-20261125T033512Z-{expected:06}.log"));
        fs::remove_file(folder.path().join(rotated_file)).unwrap();
    }
}
