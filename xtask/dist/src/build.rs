//! Builds of the programs for packages.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::project::{root, run};

/// The target of static programs.
pub(crate) const STATIC: &str = "x86_64-unknown-linux-musl";

/// Builds the programs for a target, or for this machine; returns their folder. They contain no path of this
/// machine: a build anywhere gives the same bytes. The flags differ from those of other builds, so this
/// build has its own target directory; otherwise each would discard the other's objects.
pub(crate) fn build(target: Option<&str>) -> Result<PathBuf, String> {
    let mut folder = root().join("target/dist-build");
    let own_folder = folder.clone();
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([
        "build",
        "--release",
        "--locked",
        "-p",
        "server",
        "-p",
        "client",
        "-p",
        "launcher",
    ]);
    if let Some(target) = target {
        run(Command::new("rustup").args(["target", "add", target]))?;
        cargo.args(["--target", target]);
        folder.push(target);
    }
    let mut flags = vec![
        // The linker's digest covers sections that are stripped later and contain paths of this machine.
        "-Clink-arg=-Wl,--build-id=none".to_owned(),
    ];
    for (path, name) in [(cargo_home()?, "/cargo"), (root(), "/line-log")] {
        flags.push(format!("--remap-path-prefix={}={name}", path.display()));
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    run(cargo.arg("--target-dir").arg(own_folder))?;
    Ok(folder.join("release"))
}

/// Cargo's home, which holds the sources of libraries.
fn cargo_home() -> Result<PathBuf, String> {
    let named = env::var_os("CARGO_HOME").map(PathBuf::from);
    let usual = || env::home_dir().map(|home| home.join(".cargo"));
    named.or_else(usual).ok_or_else(|| "where is cargo's home? CARGO_HOME can say it".to_owned())
}
