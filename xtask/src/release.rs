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
    // Beside this program, wherever cargo was told to build it: what is built is what is run.
    let target = match target() {
        Ok(target) => target,
        Err(error) => return fail(&format!("cannot find the build directory: {error}")),
    };
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
        Ok(status) if status.success() => {}
        // Cargo has said why.
        Ok(_) => return ExitCode::FAILURE,
        Err(error) => return fail(&format!("cannot run cargo: {error}")),
    }
    let program = target.join(profile).join(program);
    // Not a child: Ctrl-C, kill and the exit code are the program's own affair.
    let error = Command::new(&program).args(args).exec();
    fail(&format!("cannot run {}: {error}", program.display()))
}

/// The directory of all builds, of which this program is one.
fn target() -> io::Result<PathBuf> {
    let own = env::current_exe()?;
    let target = own.ancestors().nth(2);
    let target = target.ok_or_else(|| io::Error::other(own.display().to_string()))?;
    Ok(target.to_owned())
}
