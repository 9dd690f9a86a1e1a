//! The crates of the workspace.

use std::fs;
use std::path::{Path, PathBuf};

use crate::modules::Crate;

/// A package of the workspace.
pub struct Package {
    /// Its folder in the workspace.
    pub folder: String,
    /// Its name in paths.
    pub name: String,
    /// Its library and its programs: the file of each, as it is named in messages, and its modules.
    pub crates: Vec<(String, Crate)>,
}

/// Reads all members of the workspace.
pub fn read() -> Vec<Package> {
    let manifest = text(&root().join("Cargo.toml"));
    let members = manifest.split_once("\nmembers = [").unwrap().1;
    let members = members.split_once(']').unwrap().0;
    members.split('"').skip(1).step_by(2).map(package).collect()
}

/// The file of the workspace, as text.
pub fn document(name: &str) -> String {
    text(&root().join(name))
}

fn package(folder: &str) -> Package {
    let path = root().join(folder);
    let manifest = text(&path.join("Cargo.toml"));
    let name = manifest.split_once("name = \"").unwrap().1;
    let name = name.split_once('"').unwrap().0.replace('-', "_");
    let crates = roots(&path.join("src")).into_iter().map(|file| {
        let shown = file.strip_prefix(root()).unwrap().display().to_string();
        (shown, Crate::read(&file, &|file| fs::read_to_string(file).ok()))
    });
    Package { folder: folder.to_owned(), name, crates: crates.collect() }
}

/// The files in which the crates of a package begin.
fn roots(src: &Path) -> Vec<PathBuf> {
    let mut roots = vec![src.join("lib.rs"), src.join("main.rs")];
    let programs = fs::read_dir(src.join("bin")).into_iter().flatten();
    for program in programs {
        let path = program.unwrap().path();
        roots.push(path.join("main.rs"));
        roots.push(path);
    }
    roots.retain(|path| path.is_file());
    roots
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
