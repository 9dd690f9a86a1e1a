//! Files as they are installed, under a folder that stands for `/`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::program::{Names, PROGRAMS};

use crate::pages::{self, PREFIX};
use crate::project::{about, root, run};
use crate::{completion, manual};

/// A folder that stands for `/`.
#[derive(Debug)]
pub(crate) struct Tree {
    folder: PathBuf,
}

impl Tree {
    pub(crate) fn new(folder: &Path) -> Result<Self, String> {
        fs::create_dir_all(folder).map_err(|error| about(folder, &error))?;
        let folder = folder.to_owned();
        Ok(Self { folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a file with permissions `mode`; creates its folders.
    pub(crate) fn write(
        &self,
        path: &str,
        text: impl AsRef<[u8]>,
        mode: u32,
    ) -> Result<(), String> {
        let path = self.folder.join(path);
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(&self.folder))?;
            fs::write(&path, text)?;
            fs::set_permissions(&path, Permissions::from_mode(mode))
        };
        write().map_err(|error| about(&path, &error))
    }

    /// Copies a file of the project.
    pub(crate) fn copy(&self, from: &str, path: &str) -> Result<(), String> {
        let from = root().join(from);
        let text = fs::read(&from).map_err(|error| about(&from, &error))?;
        self.write(path, text, 0o644)
    }

    /// Copies the project's documents and the files that they link to into `folder`. Their relative paths
    /// stay, so that links between them work. Files that git does not track are left out.
    pub(crate) fn add_pages(&self, folder: &str) -> Result<(), String> {
        let pages =
            ["README.md", "CHANGELOG.md", "SECURITY.md", "docs", "examples", "packaging/cluster"];
        let files = run(Command::new("git").arg("ls-files").args(pages))?;
        for file in files.lines() {
            self.copy(file, &format!("{folder}{file}"))?;
        }
        Ok(())
    }

    /// Writes manuals and shell completions, at Debian's paths.
    pub(crate) fn add_documents(&self) -> Result<(), String> {
        let pages = pages::all(&Names::with_prefix(PREFIX));
        for page in &pages {
            let path = format!("usr/share/man/man1/{}", manual::file_name(page));
            self.write(&path, manual::render(page, &pages), 0o644)?;
        }
        let bash = completion::bash(&pages);
        for program in PROGRAMS {
            let name = format!("{PREFIX}{program}");
            // bash looks for a file with the program's name.
            self.write(&format!("usr/share/bash-completion/completions/{name}"), &bash, 0o644)?;
            let zsh = completion::zsh(program, &pages);
            self.write(&format!("usr/share/zsh/vendor-completions/_{name}"), zsh, 0o644)?;
            let fish = completion::fish(program, &pages);
            self.write(&format!("usr/share/fish/vendor_completions.d/{name}.fish"), fish, 0o644)?;
        }
        Ok(())
    }

    /// Copies the programs from `built` and strips their debug symbols.
    pub(crate) fn add_programs(&self, built: &Path) -> Result<(), String> {
        for program in PROGRAMS {
            let path = built.join(program);
            let bytes = fs::read(&path).map_err(|error| about(&path, &error))?;
            let name = format!("usr/bin/{PREFIX}{program}");
            self.write(&name, bytes, 0o755)?;
            run(Command::new("strip").arg(self.folder.join(name)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_files_of_the_package() {
        let folder = tempfile::tempdir().unwrap();
        Tree::new(folder.path()).unwrap().add_pages("").unwrap();
        let mut links = 0;
        let files = run(Command::new("find").arg(folder.path()).args(["-name", "*.md"])).unwrap();
        for file in files.lines().map(Path::new) {
            let text = fs::read_to_string(file).unwrap();
            let ends = text.split("](").skip(1);
            let targets = ends.filter_map(|end| end.split([')', '#']).next());
            for target in targets.filter(|target| !target.is_empty() && !target.contains("://")) {
                let path = file.with_file_name(target);
                assert!(path.exists(), "{}: {target}", file.display());
                links += 1;
            }
        }
        assert!(links > 20, "{links}");
    }
}
