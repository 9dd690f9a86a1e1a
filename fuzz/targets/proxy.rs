//! A PROXY header is partial until it is whole, and never longer than its limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use server::admission::first::recognise;
use server::admission::proxy::{Header, MAX_V2, parse};

fuzz_target!(|data: &[u8]| {
    recognise(data, false);
    recognise(data, true);
    let whole = parse(data);
    match whole {
        Header::Whole(length, _) => {
            assert!(length <= data.len().min(MAX_V2));
            assert_eq!(parse(&data[..length]), whole, "what follows changes nothing");
            for cut in 0..length {
                assert_eq!(parse(&data[..cut]), Header::Partial);
            }
        }
        Header::Partial => assert!(data.len() < MAX_V2),
        Header::Malformed => {}
    }
});
