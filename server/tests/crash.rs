//! The server is killed under load.

#![allow(clippy::unwrap_used)]

use test_support::numbered::Load;
use test_support::scenarios::kill_again_and_again;
use test_support::wait::wait_until;

/// Acknowledged lines survive. The next start ends a torn record, so that no record is appended to it.
#[test]
fn killed_under_load_nothing_acknowledged_is_lost() {
    let moments = [1, 800, 5_000, 10_000, 20_000];
    let killed = kill_again_and_again(&["-append"], moments.len() as u32, |n, server| {
        let load = Load::start(server.address(), 50, 16).unwrap();
        wait_until("acknowledgements", || load.acknowledged() >= moments[n as usize]);
        load
    });
    let verification = killed.verification;
    assert!(verification.is_good(), "{verification:?}");
    assert!(verification.acknowledged > 30_000, "{verification:?}");
}
