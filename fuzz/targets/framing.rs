//! Input that arrives in pieces gives the same frames as input that arrives at once.
//!
//! The first byte chooses the framing, the second the limit of a message, the third where the input is cut.
#![no_main]

use common::protocol::Framing;
use libfuzzer_sys::fuzz_target;
use server::framing::{Frame, Framer, Frames, Rules};

fuzz_target!(|data: &[u8]| {
    let [framing, max_message, cut, input @ ..] = data else {
        return;
    };
    let framing = Framing::CHOICES[usize::from(*framing) % Framing::CHOICES.len()].1;
    let rules = Rules { framing, max_message: usize::from(*max_message) + 1 };
    let whole = frames(rules, [input].into_iter());
    let pieces = frames(rules, pieces(input, *cut));
    if framing == Framing::None {
        // A read is a message, so only the bytes are the same.
        assert_eq!(whole.concat(), pieces.concat());
    } else {
        assert_eq!(whole, pieces);
    }
});

/// Cuts the input into pieces of 1 to 16 bytes.
fn pieces(mut input: &[u8], seed: u8) -> impl Iterator<Item = &[u8]> {
    let mut state = u32::from(seed) + 1;
    std::iter::from_fn(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let length = (state >> 28) as usize + 1;
        let (piece, rest) = input.split_at(length.min(input.len()));
        input = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// The frames of the whole input. An error is shown as bytes that no message within the limit can have.
fn frames<'a>(rules: Rules, reads: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut framer = Framer::default();
    let mut all = Vec::new();
    for read in reads.filter(|read| !read.is_empty()) {
        if !take(&mut framer.frames(rules, read), rules, &mut all) {
            return all;
        }
    }
    take(&mut framer.last_frame(rules), rules, &mut all);
    all
}

/// Adds the frames; whether others may follow.
fn take(frames: &mut Frames<'_>, rules: Rules, all: &mut Vec<Vec<u8>>) -> bool {
    while let Some(frame) = frames.next() {
        match frame {
            Frame::Message(message) => {
                assert!(message.len() <= rules.max_message);
                all.push(message.to_vec());
            }
            Frame::TooLong => all.push(b"too long".repeat(100)),
            Frame::BadLength => {
                all.push(b"bad length".repeat(100));
                return false;
            }
        }
    }
    true
}
