//! An archive of static programs. It is reproducible: one commit gives the same bytes.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::build::{STATIC, build};
use crate::project::{about, run};
use crate::tree::Tree;

/// Makes `line-log-VERSION-TARGET.tar.gz` in `folder`. `seconds`, the commit's time, is that of all files.
pub(crate) fn make(
    folder: &Path,
    version: &str,
    commit: &str,
    seconds: &str,
) -> Result<PathBuf, String> {
    let built = build(Some(STATIC))?;
    let name = format!("line-log-{version}-{STATIC}");
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let tree = Tree::new(&scratch.path().join(&name))?;
    tree.add_programs(&built)?;
    tree.add_documents()?;
    tree.add_pages("")?;
    tree.copy("LICENSE", "LICENSE")?;
    for file in [
        "logrotate",
        "systemd/line-log-server.service",
        "systemd/line-log-server.socket",
        "Containerfile",
    ] {
        tree.copy(&format!("packaging/{file}"), &format!("packaging/{file}"))?;
    }
    tree.write("COMMIT", format!("{commit}\n"), 0o644)?;
    std::fs::create_dir_all(folder).map_err(|error| about(folder, &error))?;
    let path = folder.join(format!("{name}.tar"));
    run(Command::new("tar")
        .args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu"])
        .args(["--mode=u=rwX,go=rX", &format!("--mtime=@{seconds}"), "-cf"])
        .arg(&path)
        .arg("-C")
        .arg(scratch.path())
        .arg(&name))?;
    // Without a name and a time stamp in the header.
    run(Command::new("gzip").args(["-9", "-n", "-f"]).arg(&path))?;
    Ok(folder.join(format!("{name}.tar.gz")))
}
