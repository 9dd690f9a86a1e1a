//! `cargo xtask dist`: manuals and completions, an archive of static programs, and a Debian package.
//! `cargo xtask dist docs FOLDER` makes only manuals and completions, `cargo xtask dist options` renews
//! `docs/options*.md`.
//!
//! - `project`, `build`: the folder of the project, and builds of its programs
//! - `pages`: the tables of options, under the names of the installed programs
//! - `manual`, `completion`, `options`: the tables as manuals, for shells, and as one document
//! - `tree`: the files as they are installed
//! - `archive`, `debian`: packages of a tree

mod archive;
mod build;
mod completion;
mod debian;
mod manual;
mod options;
mod pages;
mod project;
mod tree;

use std::env;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode};

use common::program::Names;

use self::project::{about, root, run};
use self::tree::Tree;

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
    for (path, text) in options::render(&pages::all(&Names::default())) {
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
