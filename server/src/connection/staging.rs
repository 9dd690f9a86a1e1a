//! Staging: the frames of one input become records and owed replies in the batch.

use common::protocol::Reply;
use common::record::Format;

use super::policy::Policy;
use crate::batch::{Batch, ClientId};
use crate::framing::{Frame, Frames};

/// Stages the frames of one input of a client.
pub(super) struct Staging<'a> {
    pub(super) client: ClientId,
    pub(super) policy: &'a Policy,
    /// The server is stopping: messages are answered `error shutting-down`.
    pub(super) is_refusing: bool,
    /// The text of a record before its message.
    pub(super) prefix: &'a [u8],
    pub(super) batch: &'a mut Batch,
    /// The batch is full at this size.
    pub(super) batch_bytes: usize,
    /// How many more replies the client may be owed, and in how many more runs.
    pub(super) room: (u16, u16),
}

/// What was staged for a client.
#[derive(Default)]
pub(super) struct Staged {
    /// Replies, and the number of runs that they began.
    pub(super) replies: u16,
    pub(super) runs: u16,
    /// Messages that are not kept and get no reply.
    pub(super) suppressed: u64,
    /// There was a frame.
    pub(super) has_frames: bool,
    /// The next message cannot be located.
    pub(super) has_lost_count: bool,
}

impl Staging<'_> {
    /// Stages frames until there is none left, the batch is full, or the client is owed enough.
    pub(super) fn stage(self, mut frames: Frames<'_>) -> Staged {
        let Policy { format, sends_replies, .. } = *self.policy;
        // Without replies a client cannot learn that a message was refused.
        let keeps = !self.is_refusing || !sends_replies;
        let (batch, (most, most_runs)) = (self.batch, self.room);
        let mut staged = Staged::default();
        while let Some(frame) = frames.next() {
            staged.has_frames = true;
            match frame {
                Frame::Message(message) if keeps => {
                    match format {
                        Format::Original => batch.record(self.prefix, message),
                        Format::Json => batch.record_json(self.prefix, message),
                    }
                    if sends_replies {
                        staged.owe(batch, self.client, Reply::Ok);
                    }
                }
                frame => {
                    staged.has_lost_count = frame == Frame::BadLength;
                    let reply = refusal(&frame, self.is_refusing, self.policy.rules.max_message);
                    if sends_replies {
                        staged.owe(batch, self.client, reply);
                    } else {
                        staged.suppressed += 1;
                    }
                }
            }
            let is_full = batch.size() >= self.batch_bytes;
            let owes_enough = staged.replies >= most || staged.runs >= most_runs;
            if is_full || owes_enough || staged.has_lost_count {
                break;
            }
        }
        staged
    }
}

impl Staged {
    /// Owes the client a reply. Inlined, it compares less for an `ok`.
    #[inline]
    fn owe(&mut self, batch: &mut Batch, client: ClientId, reply: Reply) {
        self.replies += 1;
        self.runs += u16::from(batch.owe(client, reply));
    }
}

/// The error reply to a frame that is not kept.
#[cold]
fn refusal(frame: &Frame<'_>, is_refusing: bool, max_message: usize) -> Reply {
    match frame {
        _ if is_refusing => Reply::ShuttingDown,
        Frame::Message(_) | Frame::TooLong => Reply::TooLong(max_message),
        Frame::BadLength => Reply::Length(max_message),
    }
}
