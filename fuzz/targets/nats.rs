//! Operations of a NATS node that arrive in pieces are those that arrive at once.
//!
//! The first byte says how many bytes arrive together.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nats::consumer::Metadata;
use nats::info::Info;
use nats::jetstream::{Answer, PubAck, StreamInfo};
use nats::protocol::{Decoder, Op};

fuzz_target!(|data: &[u8]| {
    let Some((step, input)) = data.split_first() else {
        return;
    };
    let step = usize::from(*step) + 1;
    assert_eq!(decode(input, step), decode(input, input.len().max(1)));
});

/// The operations as text, up to the first that is malformed.
fn decode(input: &[u8], step: usize) -> Vec<String> {
    let mut decoder = Decoder::default();
    let mut operations = Vec::new();
    for mut piece in input.chunks(step) {
        while !piece.is_empty() {
            let space = decoder.space();
            let (now, later) = piece.split_at(piece.len().min(space.len()));
            space[..now.len()].copy_from_slice(now);
            decoder.filled(now.len());
            piece = later;
            loop {
                match decoder.next_op() {
                    Ok(Some(op)) => operations.push(show(&op)),
                    Ok(None) => break,
                    Err(_) => return operations,
                }
            }
        }
    }
    operations
}

/// Shows an operation, after parsing what it holds in every way.
fn show(op: &Op<'_>) -> String {
    match op {
        Op::Info(json) => drop(Info::parse(json)),
        Op::Message(message) => {
            drop(Answer::<PubAck>::read(message));
            drop(Answer::<StreamInfo>::read(message));
            message.headers.get("Nats-Msg-Id");
            message.reply.and_then(Metadata::parse);
        }
        _ => {}
    }
    format!("{op:?}")
}
