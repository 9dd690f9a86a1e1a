//! Support for tests: a server whose log survives restarts.

use std::path::Path;

use test_support::programs;
use test_support::server::Server;

/// Starts a server that appends to `log`, and that can be started again.
pub fn serve(log: &Path, options: &[&str]) -> Server {
    programs::build(&["server"]);
    let mut all = vec!["-append", "-log", log.to_str().unwrap()];
    all.extend(options);
    Server::start_fixed(&all)
}
