//! A state file of `client send` is read whole or refused; one that is written again stays the same.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use send::state::StateFile;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

fuzz_target!(|bytes: &[u8]| {
    let path = FOLDER.path().join("state");
    std::fs::write(&path, bytes).unwrap();
    // The name of the sender is in the file and has to be given as well.
    for id in [None, Some("shop-7")] {
        let Ok((state, progress)) = StateFile::open(&path, false, id) else {
            continue;
        };
        state.write(&progress).unwrap();
        drop(state);
        let (_, read) = StateFile::open(&path, false, id).unwrap();
        assert_eq!(read, progress);
    }
});
