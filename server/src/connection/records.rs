//! The log records of a connection, in both formats.

use std::io::Write as _;

use common::protocol::Reply;
use common::record::{self, Format, Level, json};

/// Builds the text of a record before its message.
pub(super) fn begin_record(
    out: &mut Vec<u8>,
    format: Format,
    time: &str,
    peer: &str,
    client: Option<&str>,
) {
    match format {
        Format::Original => record::begin(out, Level::Info, time, peer, record::RECEIVED),
        Format::Json => json::begin(out, time, peer, client),
    }
}

/// Builds the record of a reply. JSON has none for `ok`.
pub(super) fn sent_record(
    out: &mut Vec<u8>,
    format: Format,
    time: &str,
    peer: &str,
    client: Option<&str>,
    reply: Reply,
) {
    let level = match (format, reply) {
        (Format::Json, Reply::Ok) => return,
        (Format::Json, reply) => {
            json::begin(out, time, peer, client);
            return json::error(out, reply.code());
        }
        (Format::Original, Reply::Ok) => Level::Info,
        (Format::Original, _) => Level::Warning,
    };
    record::begin(out, level, time, peer, record::SENT);
    match reply {
        Reply::Ok => out.extend_from_slice(common::protocol::OK.as_bytes()),
        // Writing to a Vec cannot fail.
        reply => _ = write!(out, "{reply}"),
    }
    out.push(b'\n');
}
