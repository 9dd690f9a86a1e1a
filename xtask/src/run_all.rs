//! `cargo xtask run-all`: builds the programs it needs, then runs the launcher in its place.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use crate::release;
use crate::report::fail;

/// `args` are the options of the launcher. `-tls` among them makes a test CA; server and clients then speak
/// TLS and authenticate each other with its certificates.
pub(crate) fn main(mut args: Vec<OsString>) -> ExitCode {
    let is_tls = |arg: &OsString| arg == "-tls" || arg == "--tls";
    let wants_tls = args.iter().any(is_tls);
    args.retain(|arg| !is_tls(arg));
    let folder = match release::product("release") {
        Ok(folder) => folder,
        Err(code) => return code,
    };
    if wants_tls {
        match certificates() {
            Ok(tls) => args.splice(0..0, tls).for_each(drop),
            Err(code) => return code,
        }
    }
    release::become_program(&folder.join("launcher"), args)
}

/// Makes certificates, replacing those of the last run; returns the launcher's options for them. An error has
/// already been reported; its exit code is returned.
fn certificates() -> Result<Vec<OsString>, ExitCode> {
    // Without optimisation: it is built sooner.
    let programs = release::package("dev", "test-support")?;
    let folder = programs.join("run-all-tls");
    let test_ca = programs.join("test-ca");
    let made = Command::new(&test_ca).arg(&folder).status();
    let made = made.map_err(|error| fail(&format!("cannot run {}: {error}", test_ca.display())))?;
    if !made.success() {
        return Err(fail("cannot make certificates"));
    }
    let options = [
        ("-server-tls-cert", "server.pem"),
        ("-server-tls-key", "server.key"),
        ("-server-tls-client-ca", "ca.pem"),
        ("-tls-ca", "ca.pem"),
        ("-tls-cert", "client.pem"),
        ("-tls-key", "client.key"),
    ];
    let typed = |(option, file)| [OsString::from(option), folder.join(file).into()];
    Ok(options.into_iter().flat_map(typed).collect())
}
