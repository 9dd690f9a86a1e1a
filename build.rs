//! Tells a program which commit it is built from: `LINE_LOG_COMMIT`, as in `1a2b3c4d5e 2026-11-25`, or empty
//! where there is no telling. Shared by the packages that are programs.

#![allow(clippy::print_stdout, reason = "it is how cargo is told")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What stands in a source archive, where there is no repository.
const FILE: &str = "COMMIT";

fn main() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let root = root.parent().map_or(root.clone(), Path::to_owned);
    let file = root.join(FILE);
    let commit = match fs::read_to_string(&file) {
        Ok(commit) => {
            println!("cargo::rerun-if-changed={}", file.display());
            commit.trim().to_owned()
        }
        Err(_) => of_repository(&root).unwrap_or_default(),
    };
    println!("cargo::rustc-env=LINE_LOG_COMMIT={commit}");
}

/// Built anew whenever another commit is checked out or made: then `HEAD` changes, or its log.
fn of_repository(root: &Path) -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git")
            .args(args)
            .current_dir(root)
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    // Not the repository of somebody who merely unpacked this in his own.
    let top = fs::canonicalize(git(&["rev-parse", "--show-toplevel"])?).ok()?;
    if top != fs::canonicalize(root).ok()? {
        return None;
    }
    for name in ["HEAD", "logs/HEAD"] {
        let path = root.join(git(&["rev-parse", "--git-path", name])?);
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    git(&["log", "-1", "--format=%h %cs", "--abbrev=10"])
}
