//! `client read` of any file ends without a panic. It prints; `-close_fd_mask=3` drops that.
//!
//! The first byte chooses the options.
#![no_main]

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

const OPTIONS: &[&[&str]] = &[
    &[],
    &["-json", "-strict"],
    &["-with-time", "-with-peer", "-null"],
    &["-once"],
    &["-last", "3"],
];

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

fuzz_target!(|data: &[u8]| {
    let Some((options, log)) = data.split_first() else {
        return;
    };
    let path: PathBuf = FOLDER.path().join("logging.log");
    std::fs::write(&path, log).unwrap();
    let options = OPTIONS[usize::from(*options) % OPTIONS.len()];
    let mut args: Vec<OsString> = options.iter().map(Into::into).collect();
    args.push(path.into());
    read::main(args);
});
