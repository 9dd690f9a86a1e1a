//! `cargo xtask dist`: manuals and completions, an archive of static programs, and a Debian package.
//! `cargo xtask dist docs FOLDER` makes only manuals and completions, `cargo xtask dist options` renews
//! `docs/options*.md`.
//!
//! - `pages`: the tables of options, under the names of the installed programs
//! - `manual`, `completion`, `options`: the tables as manuals, for shells, and as one document
//! - `tree`: the files as they are installed
//! - `archive`, `debian`: packages of a tree

mod archive;
mod completion;
mod debian;
mod manual;
mod options;
mod pages;
mod tree;

use std::env;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use tree::Tree;

/// The target of static programs.
const STATIC: &str = "x86_64-unknown-linux-musl";

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    let result = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => dist(&root().join("target/dist")),
        ["docs", folder] => docs(Path::new(folder)),
        ["options"] => write_options(),
        _ => Err("Usage: cargo xtask dist [docs FOLDER | options]".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            _ = writeln!(io::stderr(), "dist: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Writes manuals and completions only.
fn docs(folder: &Path) -> Result<(), String> {
    Tree::new(folder)?.add_documents()
}

/// Writes the reference of options into the project.
fn write_options() -> Result<(), String> {
    for (path, text) in options::render(&pages::all()) {
        let path = root().join(path);
        std::fs::write(&path, text).map_err(|error| about(&path, &error))?;
    }
    Ok(())
}

/// Makes all packages in an empty folder.
fn dist(folder: &Path) -> Result<(), String> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(|error| about(folder, &error))?;
    }
    let about_commit =
        run(Command::new("git").args(["log", "-1", "--format=%h %cs %ct", "--abbrev=10"]))?;
    let mut words = about_commit.split_whitespace();
    let (Some(hash), Some(date), Some(seconds)) = (words.next(), words.next(), words.next()) else {
        return Err(format!("git says '{about_commit}' of the commit"));
    };
    let version = env!("CARGO_PKG_VERSION");
    let made = [
        archive::make(folder, version, &format!("{hash} {date}"), seconds)?,
        debian::make(folder, version, seconds)?,
    ];
    let names = made.iter().filter_map(|path| path.file_name());
    let sums = run(Command::new("sha256sum").args(names).current_dir(folder))?;
    let path = folder.join("SHA256SUMS");
    std::fs::write(&path, sums).map_err(|error| about(&path, &error))?;
    for path in made.iter().chain([&path]) {
        _ = writeln!(io::stdout(), "{}", path.display());
    }
    Ok(())
}

/// Builds the programs for a target, or for this machine; returns their folder. They contain no path of this
/// machine: a build anywhere gives the same bytes. The flags differ from those of other builds, so this
/// build has its own target directory; otherwise each would discard the other's objects.
fn build(target: Option<&str>) -> Result<PathBuf, String> {
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
    named
        .or_else(usual)
        .ok_or_else(|| "where is cargo's home? CARGO_HOME can say it".to_owned())
}

/// The root of the project.
fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own).to_owned()
}

/// Runs a command, in the root by default; returns its stdout.
fn run(command: &mut Command) -> Result<String, String> {
    if command.get_current_dir().is_none() {
        command.current_dir(root());
    }
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stderr(std::process::Stdio::inherit()).output();
    let output = output.map_err(|error| format!("cannot run {name}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{name} failed: {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("{name} prints no text"))
}

fn about(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}
