//! The policy for all connections: which clients are admitted, how input is framed, and what is answered and recorded.

use common::record::Format;

use crate::admission::Admission;
use crate::framing::Rules;
use crate::options::{Config, ReplyMode};

/// The rules for all connections. They are fixed at the start; only certificates can be reloaded.
#[derive(Debug)]
pub struct Policy {
    /// Which clients are admitted.
    pub admission: Admission,
    /// The framing and the size limit of messages.
    pub rules: Rules,
    /// The format of records.
    pub format: Format,
    /// Messages are answered.
    pub sends_replies: bool,
    /// Replies have records, too.
    pub records_replies: bool,
}

impl Policy {
    /// The policy of the command line. `admission` has its certificates loaded, and `records_replies` says
    /// whether the log has records of replies.
    pub fn new(config: &Config, admission: Admission, records_replies: bool) -> Self {
        Self {
            admission,
            rules: Rules { framing: config.framing, max_message: config.max_message },
            format: config.format,
            sends_replies: config.reply_mode == ReplyMode::All,
            records_replies,
        }
    }
}
