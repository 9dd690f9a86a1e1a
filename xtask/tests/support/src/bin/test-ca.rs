//! `test-ca FOLDER`: writes `ca.pem`, `server.pem`, `server.key`, `client.pem` and `client.key` of a
//! new CA into a folder, for `localhost` and the loopback addresses.

use std::error::Error;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use test_support::ca::TestCa;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        _ = writeln!(io::stderr(), "Usage: test-ca FOLDER");
        return ExitCode::from(2);
    };
    match write(&folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let folder = folder.display();
            _ = writeln!(io::stderr(), "test-ca: {folder}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    let ca = TestCa::new("test CA")?;
    fs::write(folder.join("ca.pem"), ca.certificate())?;
    let server = ca.issue(&["localhost", "127.0.0.1", "::1"])?;
    server.write(folder, "server")?;
    ca.issue(&["client.example"])?.write(folder, "client")?;
    Ok(())
}
