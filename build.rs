//! Build script of the programs: sets `LINE_LOG_COMMIT` to the commit, as in `1a2b3c4d5e 2026-11-25`, or to
//! nothing if the commit is unknown.

#![allow(clippy::print_stdout, reason = "cargo reads it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The file with the commit in a source archive, which has no repository. `git archive` fills it in.
const FILE: &str = "COMMIT";

/// The number of digits of a commit that are shown.
const DIGITS: usize = 10;

fn main() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let root = root.parent().map_or(root.clone(), Path::to_owned);
    let file = root.join(FILE);
    println!("cargo::rerun-if-changed={}", file.display());
    let commit = of_archive(&file).or_else(|| of_repository(&root));
    println!("cargo::rustc-env=LINE_LOG_COMMIT={}", commit.unwrap_or_default());
}

fn of_archive(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let (hash, date) = text.trim().split_once(' ')?;
    let hash = hash.get(..DIGITS)?;
    // In a repository, the file has its placeholder.
    let filled = hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    filled.then(|| format!("{hash} {date}"))
}

/// The commit of the repository. A new commit or checkout causes a rebuild; commits to other branches do not.
fn of_repository(root: &Path) -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(root).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    // Not the repository of another project in which this one was unpacked.
    let top = fs::canonicalize(git(&["rev-parse", "--show-toplevel"])?).ok()?;
    if top != fs::canonicalize(root).ok()? {
        return None;
    }
    let branch = git(&["rev-parse", "--symbolic-full-name", "HEAD"])?;
    for name in ["HEAD", &branch, "reftable"] {
        let path = root.join(git(&["rev-parse", "--git-path", name])?);
        // A packed branch has no file. Its next commit creates one, which changes the folder.
        let there = path.ancestors().find(|path| path.exists());
        if let Some(there) = there.filter(|there| *there == path || name == branch) {
            println!("cargo::rerun-if-changed={}", there.display());
        }
    }
    git(&["log", "-1", "--format=%h %cs", &format!("--abbrev={DIGITS}")])
}
