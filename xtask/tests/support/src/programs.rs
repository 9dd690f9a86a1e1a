//! The programs of this workspace, and shell scripts that start them.

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// For [`can`] and [`succeeds`]: mounts a small tmpfs in a mount namespace of its own.
pub const MOUNT: &str = "unshare -rm mount -t tmpfs -o size=64k tmpfs /mnt";

/// The path of a program of this workspace. It is beside this executable, or one folder above it: cargo puts
/// tests into a folder of their own.
pub fn path(name: &str) -> PathBuf {
    folder().join(name)
}

/// The folder of the programs.
pub fn folder() -> PathBuf {
    let own = env::current_exe().unwrap();
    let mut folder = own.parent().unwrap();
    if folder.ends_with("deps") {
        folder = folder.parent().unwrap();
    }
    folder.to_owned()
}

/// Builds packages of this workspace, with the profile of this test. Cargo builds only the programs of the
/// package that is tested.
pub fn build(packages: &[&'static str]) {
    static BUILT: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if packages.iter().all(|package| built.contains(package)) {
        return;
    }
    let folder = folder();
    let profile = match folder.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        other => other,
    };
    let status = cargo("build")
        .args(["--quiet", "--bins", "--profile", profile])
        .args(packages.iter().flat_map(|package| ["-p", package]))
        .arg("--target-dir")
        .arg(folder.parent().unwrap())
        .status();
    assert!(status.unwrap().success(), "{packages:?} can be built");
    built.extend(packages);
}

/// A command of cargo in this workspace.
pub fn cargo(command: &str) -> Command {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../Cargo.toml");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Cargo has set them for this test. A build script that depends on one would run again.
    for (name, _) in env::vars_os() {
        let name = name.into_string().unwrap_or_default();
        if name.starts_with("CARGO_MANIFEST_") || name.starts_with("CARGO_PKG_") {
            cargo.env_remove(name);
        }
    }
    cargo.args([command, "--manifest-path"]).arg(manifest);
    cargo
}

/// The server.
pub fn server() -> Command {
    Command::new(path("server"))
}

/// A shell script in which `$SERVER` is the server's executable. The script has to `exec` it, so that the
/// started process becomes the server.
pub fn script(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).env("SERVER", path("server"));
    command
}

/// Whether a shell script succeeds. If it fails, prints that the current test is skipped for lack of `what`.
pub fn can(what: &str, test: &str) -> bool {
    let can = succeeds(test);
    if !can {
        skip(&format!("{what} is not possible here"));
    }
    can
}

/// Whether a shell script succeeds.
pub fn succeeds(test: &str) -> bool {
    let output = script(test).stdin(Stdio::null()).output();
    output.is_ok_and(|output| output.status.success())
}

/// Prints that the current test is skipped.
pub fn skip(why: &str) {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("skipped {name}: {why}");
}
