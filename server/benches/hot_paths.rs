//! Micro-benchmarks of the work per message, without sockets and files: `cargo bench -p server`.
//!
//! A slowdown shows here long before it shows in `cargo xtask bench`, where the kernel's part is ten
//! times as long.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

use common::protocol::{DEFAULT_MAX_MESSAGE, Framing, Reply};
use common::record::{self, Level};
use server::batch::{Batch, ClientId};
use server::framing::{Framer, Rules};

const TIME: &str = "2019-02-24 15:10:14";
const PEER: &str = "127.0.0.1:49030";
const RULES: Rules = Rules { framing: Framing::Line, max_message: DEFAULT_MAX_MESSAGE };

const CLIENT: ClientId = ClientId { key: 0, serial: 0 };

/// Consumes all frames of `input`.
fn fetch(framer: &mut Framer, input: &[u8]) {
    let mut found = framer.frames(RULES, black_box(input));
    while let Some(frame) = found.next() {
        _ = black_box(frame);
    }
}

fn main() {
    divan::main();
}

/// The input of one read: 64 KiB of lines of this length.
fn input(message: usize) -> Vec<u8> {
    let mut line = vec![b'x'; message];
    line.push(b'\n');
    line.repeat((64 << 10) / line.len())
}

mod framing {
    use super::{Bencher, BytesCount, Framer, ItemsCount, fetch, input};

    /// Whole messages, none of which is copied.
    #[divan::bench(args = [0, 21, 1000])]
    fn whole(bencher: Bencher<'_, '_>, message: usize) {
        let input = input(message);
        let messages = input.len() / (message + 1);
        bencher
            .counter(BytesCount::of_slice(&input))
            .counter(ItemsCount::new(messages))
            .bench_local(|| {
                let mut framer = Framer::default();
                fetch(&mut framer, &input);
            });
    }

    /// Every message comes in two reads.
    #[divan::bench(args = [21, 1000])]
    fn split(bencher: Bencher<'_, '_>, message: usize) {
        let line = input(message)[..=message].to_vec();
        let (first, second) = line.split_at(message / 2);
        bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
            let mut framer = Framer::default();
            fetch(&mut framer, first);
            fetch(&mut framer, second);
        });
    }
}

mod records {
    use super::{Batch, Bencher, CLIENT, ItemsCount, Level, PEER, Reply, TIME, black_box, record};

    /// The start of a record, written once per read of a connection.
    #[divan::bench]
    fn begin(bencher: Bencher<'_, '_>) {
        let mut out = Vec::new();
        bencher.bench_local(|| {
            out.clear();
            record::begin(
                &mut out,
                Level::Info,
                black_box(TIME),
                black_box(PEER),
                record::RECEIVED,
            );
        });
    }

    /// The messages of one read are staged, and the records of their replies.
    #[divan::bench(args = [1, 16, 128])]
    fn stage(bencher: Bencher<'_, '_>, messages: u32) {
        let (mut received, mut sent) = (Vec::new(), Vec::new());
        record::begin(&mut received, Level::Info, TIME, PEER, record::RECEIVED);
        record::begin(&mut sent, Level::Info, TIME, PEER, record::SENT);
        sent.extend_from_slice(b"ok\n");
        let mut batch = Batch::default();
        bencher.counter(ItemsCount::new(messages)).bench_local(|| {
            batch.clear();
            for _ in 0..messages {
                batch.record(&received, black_box(b"Thread 3, iteration 1"));
                batch.owe(CLIENT, Reply::Ok);
            }
            batch.sent(&sent, messages);
        });
    }
}

/// About a thousand bytes of each kind of text.
#[divan::bench(args = ["plain", "umlauts", "chinese", "backslashes", "controls"])]
fn escape(bencher: Bencher<'_, '_>, kind: &str) {
    let text = match kind {
        "plain" => "Thread 3, iteration 1",
        "umlauts" => "Größe: fünf Übungen ",
        "chinese" => "漢字",
        "backslashes" => r"C:\Windows\",
        _ => "\x1b[31mred\x1b[0m\n",
    };
    let message = text.repeat(1000 / text.len());
    let mut out = Vec::new();
    bencher.counter(BytesCount::of_str(&message)).bench_local(|| {
        out.clear();
        record::escape(&mut out, black_box(message.as_bytes()));
    });
}
