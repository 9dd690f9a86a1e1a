//! Builds of the programs, and the `exec` of a built one.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::report::fail;

/// Builds the programs of `packages` with a profile, then replaces this process by `program`.
pub(crate) fn build_and_become(
    profile: &str,
    packages: &[&str],
    program: &str,
    args: Vec<OsString>,
) -> ExitCode {
    match build(profile, packages) {
        Ok(folder) => become_program(&folder.join(program), args),
        Err(code) => code,
    }
}

/// Builds the programs of `packages` with a profile; returns their folder. An error has already been
/// reported; its exit code is returned.
pub(crate) fn build(profile: &str, packages: &[&str]) -> Result<PathBuf, ExitCode> {
    // The target directory of this program, wherever cargo put it: what is built is what is run.
    let target =
        target().map_err(|error| fail(&format!("cannot find the build directory: {error}")))?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("Cargo.toml");
    let build = Command::new(cargo)
        .args(["build", "--profile", profile, "--bins"])
        .args(packages.iter().flat_map(|package| ["-p", package]))
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
