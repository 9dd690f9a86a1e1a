//! Limits of a batch: one more message must fit, and nodes limit the size of a payload.

use common::record::Format;

/// The maximum size of a batch in bytes, whatever the nodes accept: replicas copy it whole.
const BATCH_BYTES: usize = 512 << 10;

/// The maximum size of the protocol's headers and commands around the records of a batch.
pub const AROUND_BYTES: usize = 4 << 10;

/// The maximum size of a record without its message: time, peer, and the client's name.
const AROUND_MESSAGE_BYTES: usize = 2 << 10;

/// The maximum size of a record in bytes.
pub fn most_record(format: Format, max_message: usize) -> usize {
    max_message.saturating_mul(format.growth()) + AROUND_MESSAGE_BYTES
}

/// The size of a batch in bytes from which on no message is added.
pub fn batch_bytes(
    max_payload: usize,
    format: Format,
    max_message: usize,
) -> Result<usize, String> {
    let most_record = most_record(format, max_message);
    let left = max_payload.checked_sub(most_record + AROUND_BYTES);
    left.filter(|left| *left > 0)
        .map(|left| left.min(BATCH_BYTES))
        .ok_or_else(|| {
            let possible = max_payload.saturating_sub(AROUND_MESSAGE_BYTES + AROUND_BYTES) / format.growth();
            format!(
                "a message of -max-message {max_message} can take {most_record} bytes, and the stream \
                 takes {max_payload} at once: -max-message {possible} fits, or a larger max_payload of \
                 nats-server"
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_and_one_more_message_fit_into_a_payload() {
        for (max_payload, format, max_message) in [
            (1 << 20, Format::Original, 65_536),
            (1 << 20, Format::Json, 65_536),
            (8 << 20, Format::Json, 1 << 20),
            (64 << 20, Format::Original, 65_536),
        ] {
            let bytes = batch_bytes(max_payload, format, max_message).unwrap();
            assert!(bytes > 0 && bytes <= BATCH_BYTES);
            assert!(bytes + most_record(format, max_message) + AROUND_BYTES <= max_payload);
        }
        let why = batch_bytes(1 << 20, Format::Json, 1 << 20).unwrap_err();
        let fits = why.split("-max-message ").last().unwrap();
        let fits: usize = fits.split(' ').next().unwrap().parse().unwrap();
        assert!(batch_bytes(1 << 20, Format::Json, fits - 1).is_ok(), "{why}");
        assert!(batch_bytes(1 << 20, Format::Json, fits + 1).is_err(), "{why}");
        assert!(batch_bytes(100, Format::Json, 1).is_err());
    }
}
