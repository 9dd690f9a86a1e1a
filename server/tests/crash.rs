//! The server is killed under load.

#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::BufReader;

use test_support::numbered::{Load, verify};
use test_support::server::Server;
use test_support::wait::wait_until;

/// Acknowledged lines survive. The next start ends a torn record, so that no record is appended to it.
#[test]
fn killed_under_load_nothing_acknowledged_is_lost() {
    let mut accounts = Vec::new();
    let mut folder = tempfile::tempdir().unwrap();
    let mut torn_before = false;
    for moment in [1, 800, 5_000, 10_000, 20_000] {
        let server = Server::start_in(folder, &["-append"]);
        let load = Load::start(server.address(), 50, 16).unwrap();
        wait_until("acknowledgements", || {
            (load.acknowledged() >= moment).then_some(())
        });
        let ended = server.kill();
        let mended = ended.count_said("ended a torn record at its end");
        assert_eq!(mended, usize::from(torn_before), "{:?}", ended.said);
        accounts.extend(load.wait().unwrap());
        torn_before = !ended.log().ends_with('\n');
        folder = ended.into_folder();
    }
    let log = File::open(folder.path().join("logging.log")).unwrap();
    let verification = verify(&accounts, BufReader::new(log)).unwrap();
    assert!(verification.is_good(), "{verification:?}");
    assert!(verification.acknowledged > 30_000, "{verification:?}");
}
