//! `build.rs`: the commit that it reports, in repositories and source trees of every kind.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A source tree, and `build.rs` compiled for it.
struct Project {
    folder: TempDir,
    script: PathBuf,
}

impl Project {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let tree = folder.path().join("tree");
        fs::create_dir_all(tree.join("server")).unwrap();
        for name in ["COMMIT", ".gitattributes"] {
            fs::copy(root.join(name), tree.join(name)).unwrap();
        }
        let script = folder.path().join("script");
        let compiled = Command::new(Path::new(env!("CARGO")).with_file_name("rustc"))
            .args(["--edition", "2024", "-o"])
            .arg(&script)
            .arg(root.join("build.rs"))
            .env("CARGO_MANIFEST_DIR", tree.join("server"))
            .status();
        assert!(compiled.unwrap().success());
        Self { folder, script }
    }

    fn tree(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    /// The output of git, isolated from the user's settings.
    fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@b.invalid"])
            .args(args)
            .current_dir(self.tree())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit(&self) {
        self.git(&["add", "."]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "a change"]);
    }

    /// The output of the script for cargo: the commit, and the files to watch.
    fn build(&self, path: Option<&str>) -> (String, Vec<PathBuf>) {
        let mut command = Command::new(&self.script);
        if let Some(path) = path {
            command.env("PATH", path);
        }
        let output = command.output().unwrap();
        assert!(output.status.success());
        let (mut commit, mut watched) = (None, Vec::new());
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            match line.split_once('=').unwrap() {
                ("cargo::rustc-env", value) => {
                    commit = value.strip_prefix("LINE_LOG_COMMIT=").map(str::to_owned);
                }
                ("cargo::rerun-if-changed", path) => watched.push(path.into()),
                _ => panic!("{line}"),
            }
        }
        (commit.unwrap(), watched)
    }
}

/// Whether git is installed and knows the options that a test needs.
fn has_git(args: &[&str]) -> bool {
    let scratch = tempfile::tempdir().unwrap();
    let init = Command::new("git").args(["init", "-q"]).args(args).arg(scratch.path()).output();
    let there = init.is_ok_and(|output| output.status.success());
    if !there {
        eprintln!("skipped: there is no git that can init {args:?}");
    }
    there
}

/// The watched files with their times and contents. Cargo looks at the times, and at those inside folders.
fn state(watched: &[PathBuf]) -> Vec<(PathBuf, std::time::SystemTime, Vec<u8>)> {
    let look = |path: &PathBuf| {
        let changed = fs::metadata(path).unwrap().modified().unwrap();
        (path.clone(), changed, fs::read(path).unwrap_or_default())
    };
    watched.iter().map(look).collect()
}

#[test]
fn a_new_commit_is_noticed() {
    for (init, config) in [
        (&[][..], &[][..]),
        (&[], &["config", "core.logAllRefUpdates", "false"]),
        (&[], &["pack-refs", "--all"]),
        (&[], &["checkout", "-q", "--detach"]),
        (&["--ref-format=reftable"], &[]),
    ] {
        if !has_git(init) {
            continue;
        }
        let project = Project::new();
        project.git(&[&["init", "-q"], init].concat());
        project.commit();
        if !config.is_empty() {
            project.git(config);
        }
        let format = ["log", "-1", "--format=%h %cs", "--abbrev=10"];
        let (commit, watched) = project.build(None);
        assert_eq!(commit, project.git(&format));
        let before = state(&watched);
        if init.is_empty() && config.is_empty() {
            project.git(&["branch", "other"]);
            assert_eq!(state(&watched), before, "a branch that is not checked out");
        }
        project.commit();
        assert_ne!(state(&watched), before, "{init:?} {config:?}");
        assert_eq!(project.build(None).0, project.git(&format));
    }
}

#[test]
fn an_archive_says_what_it_was_made_of_and_needs_no_git() {
    if !has_git(&[]) {
        return;
    }
    let project = Project::new();
    project.git(&["init", "-q"]);
    project.commit();
    let expected = project.git(&["log", "-1", "--format=%h %cs", "--abbrev=10"]);
    project.git(&["archive", "-o", "../source.tar", "HEAD"]);
    fs::remove_dir_all(project.tree()).unwrap();
    fs::create_dir(project.tree()).unwrap();
    unpack(&project);
    let (commit, watched) = project.build(Some("/nowhere"));
    assert_eq!(commit, expected);
    assert_eq!(watched, [project.tree().join("COMMIT")]);
}

fn unpack(project: &Project) {
    let tar =
        Command::new("tar").args(["-xf", "../source.tar"]).current_dir(project.tree()).status();
    assert!(tar.unwrap().success());
}

#[test]
fn where_there_is_no_telling_nothing_is_said() {
    let project = Project::new();
    assert_eq!(project.build(Some("/nowhere")).0, "");
    if has_git(&[]) {
        // Unpacked into the repository of another project, whose commits do not count.
        Command::new("git").args(["init", "-q"]).arg(project.folder.path()).status().unwrap();
        assert_eq!(project.build(None).0, "");
    }
}
