//! Builds of the programs, and the `exec` of a built one.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::report::fail;

/// The variables that cargo sets for a program that it runs. A build script that depends on one would run
/// again in a nested cargo, and all that stands on its package would be compiled again.
const SET_BY_CARGO: [&str; 2] = ["CARGO_MANIFEST_", "CARGO_PKG_"];

/// Builds the product, then the package of a chore, and replaces this process by the chore's program.
///
/// Two builds, since together they could have other features of their dependencies. So nothing is compiled
/// again that another command has built.
pub(crate) fn build_and_become(profile: &str, chore: &str, args: Vec<OsString>) -> ExitCode {
    match product(profile).and_then(|_| package(profile, chore)) {
        Ok(folder) => become_program(&folder.join(chore), args),
        Err(code) => code,
    }
}

/// Builds the programs of the product; returns their folder. An error has already been reported; its exit
/// code is returned.
pub(crate) fn product(profile: &str) -> Result<PathBuf, ExitCode> {
    // The default members of the workspace, as `cargo build` without `-p`.
    build(profile, &[])
}

/// Builds the programs of one package, as [`product`].
pub(crate) fn package(profile: &str, name: &str) -> Result<PathBuf, ExitCode> {
    build(profile, &["-p", name])
}

fn build(profile: &str, packages: &[&str]) -> Result<PathBuf, ExitCode> {
    // The target directory of this program, wherever cargo put it: what is built is what is run.
    let target =
        target().map_err(|error| fail(&format!("cannot find the build directory: {error}")))?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        if SET_BY_CARGO.iter().any(|it| name.to_string_lossy().starts_with(it)) {
            cargo.env_remove(name);
        }
    }
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("Cargo.toml");
    let build = cargo
        .args(["build", "--profile", profile, "--bins"])
        .args(packages)
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(&target)
        .status();
    match build {
        // The folder of the profile `dev` is called `debug`.
        Ok(status) if status.success() && profile == "dev" => Ok(target.join("debug")),
        Ok(status) if status.success() => Ok(target.join(profile)),
        // Cargo has reported the error.
        Ok(_) => Err(ExitCode::FAILURE),
        Err(error) => Err(fail(&format!("cannot run cargo: {error}"))),
    }
}

/// Replaces this process by a program that was built.
pub(crate) fn become_program(program: &Path, args: Vec<OsString>) -> ExitCode {
    // `exec`, not a child: Ctrl-C and signals reach the program itself, and the exit code is its own.
    let error = Command::new(program).args(args).exec();
    fail(&format!("cannot run {}: {error}", program.display()))
}

/// The target directory: this executable is two levels below it.
fn target() -> io::Result<PathBuf> {
    let own = env::current_exe()?;
    let target = own.ancestors().nth(2);
    let target = target.ok_or_else(|| io::Error::other(own.display().to_string()))?;
    Ok(target.to_owned())
}
