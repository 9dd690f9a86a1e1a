//! Optimised builds: made, found, and become.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::fail;

/// Builds the programs of these packages with a profile, then becomes the one called `program`.
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

/// Builds the programs of these packages with a profile; returns the folder in which they are. If they
/// cannot be built, all is said, and the exit code is returned.
pub(crate) fn build(profile: &str, packages: &[&str]) -> Result<PathBuf, ExitCode> {
    // Beside this program, wherever cargo was told to build it: what is built is what is run.
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
        // One profile has a folder of another name.
        Ok(status) if status.success() && profile == "dev" => Ok(target.join("debug")),
        Ok(status) if status.success() => Ok(target.join(profile)),
        // Cargo has said why.
        Ok(_) => Err(ExitCode::FAILURE),
        Err(error) => Err(fail(&format!("cannot run cargo: {error}"))),
    }
}

/// Becomes a program that was built.
pub(crate) fn become_program(program: &Path, args: Vec<OsString>) -> ExitCode {
    // Not a child: Ctrl-C, kill and the exit code are the program's own affair.
    let error = Command::new(program).args(args).exec();
    fail(&format!("cannot run {}: {error}", program.display()))
}

/// The directory of all builds, of which this program is one.
fn target() -> io::Result<PathBuf> {
    let own = env::current_exe()?;
    let target = own.ancestors().nth(2);
    let target = target.ok_or_else(|| io::Error::other(own.display().to_string()))?;
    Ok(target.to_owned())
}
