//! `client report` draws any run file or refuses it. It prints; `-close_fd_mask=3` drops that.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

fuzz_target!(|run: &[u8]| {
    let path = FOLDER.path().join("run.json");
    let page = FOLDER.path().join("page.html");
    std::fs::write(&path, run).unwrap();
    load::report_main(vec![path.into(), "-o".into(), page.into()]);
});
