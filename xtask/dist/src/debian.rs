//! A Debian package of the programs, built for this machine with glibc. Under load, glibc copies
//! memory twice as fast as musl (docs/performance.md).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::build::build;
use crate::project::{about, root, run};
use crate::tree::Tree;

/// Makes `line-log_VERSION_ARCH.deb` in `folder`. `seconds`, the commit's time, is that of all files.
pub(crate) fn make(folder: &Path, version: &str, seconds: &str) -> Result<PathBuf, String> {
    let built = build(None)?;
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let tree = Tree::new(&scratch.path().join("tree"))?;
    tree.add_programs(&built)?;
    tree.add_documents()?;
    for unit in ["line-log-server.service", "line-log-server.socket"] {
        tree.copy(&format!("packaging/systemd/{unit}"), &format!("lib/systemd/system/{unit}"))?;
    }
    tree.copy("packaging/logrotate", "usr/share/doc/line-log/examples/logrotate")?;
    tree.copy("packaging/debian/default", "etc/default/line-log-server")?;
    tree.add_pages("usr/share/doc/line-log/")?;
    tree.copy("packaging/debian/copyright", "usr/share/doc/line-log/copyright")?;
    tree.copy("packaging/debian/overrides", "usr/share/lintian/overrides/line-log")?;
    tree.write("usr/share/doc/line-log/changelog.gz", changelog(version, seconds)?, 0o644)?;
    compress_manuals(tree.folder())?;
    let architecture = run(Command::new("dpkg").arg("--print-architecture"))?;
    let architecture = architecture.trim();
    add_control_files(&tree, version, architecture)?;
    fs::create_dir_all(folder).map_err(|error| about(folder, &error))?;
    let path = folder.join(format!("line-log_{version}_{architecture}.deb"));
    run(Command::new("dpkg-deb")
        .env("SOURCE_DATE_EPOCH", seconds)
        .args(["--root-owner-group", "-Zxz", "--build"])
        .arg(tree.folder())
        .arg(&path))?;
    Ok(path)
}

/// Adds what dpkg reads: scripts, the list of configuration files, and the description of the package.
fn add_control_files(tree: &Tree, version: &str, architecture: &str) -> Result<(), String> {
    for script in ["postinst", "prerm", "postrm"] {
        let path = root().join("packaging/debian").join(script);
        let text = fs::read(&path).map_err(|error| about(&path, &error))?;
        tree.write(&format!("DEBIAN/{script}"), text, 0o755)?;
    }
    tree.write("DEBIAN/conffiles", "/etc/default/line-log-server\n", 0o644)?;
    tree.write("DEBIAN/control", control(version, architecture, tree.folder())?, 0o644)?;
    Ok(())
}

fn control(version: &str, architecture: &str, folder: &Path) -> Result<String, String> {
    let size = run(Command::new("du").args(["-sk", "--apparent-size"]).arg(folder))?;
    let size = size.split_whitespace().next().unwrap_or_default();
    let template = root().join("packaging/debian/control");
    let text = fs::read_to_string(&template).map_err(|error| about(&template, &error))?;
    Ok(text
        .replace("{version}", version)
        .replace("{architecture}", architecture)
        .replace("{size}", size))
}

/// A changelog in Debian's format.
fn changelog(version: &str, seconds: &str) -> Result<Vec<u8>, String> {
    let date = run(Command::new("date").args(["-u", "-R", "-d", &format!("@{seconds}")]))?;
    let text = format!(
        "line-log ({version}) unstable; urgency=medium\n\n  * See CHANGELOG.md of the project.\n\n -- The line \
         log's maintainers <line-log@line-log.invalid>  {}\n",
        date.trim()
    );
    compress(text.as_bytes())
}

fn compress_manuals(folder: &Path) -> Result<(), String> {
    let manuals = folder.join("usr/share/man/man1");
    let entries = fs::read_dir(&manuals).map_err(|error| about(&manuals, &error))?;
    for entry in entries {
        let path = entry.map_err(|error| about(&manuals, &error))?.path();
        run(Command::new("gzip").args(["-9", "-n"]).arg(path))?;
    }
    Ok(())
}

fn compress(text: &[u8]) -> Result<Vec<u8>, String> {
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = scratch.path().join("text");
    fs::write(&path, text).map_err(|error| about(&path, &error))?;
    run(Command::new("gzip").args(["-9", "-n"]).arg(&path))?;
    let path = path.with_extension("gz");
    fs::read(&path).map_err(|error| about(&path, &error))
}
