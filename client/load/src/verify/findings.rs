//! Result of a verification.

use common::record::printable;
use memchr::memchr;
use serde::{Deserialize, Serialize};

/// Maximum number of findings to report.
const EXAMPLES: usize = 10;

/// The result of a verification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verification {
    pub(crate) logs: Vec<String>,
    pub(crate) bytes: u64,
    /// Whether every acknowledged message is in the log once, whole and in order, and no rejected
    /// one is.
    pub(crate) passed: bool,
    /// Records of messages of this run.
    pub(crate) records: u64,
    pub(crate) acknowledged: u64,
    /// Acknowledged messages that are not in the log.
    pub(crate) missing: u64,
    /// Further records of a message that already had one.
    pub(crate) repeated: u64,
    /// Records after a record of a later message of the same connection.
    pub(crate) out_of_order: u64,
    /// Lines that contain the run's name but are not the record of a message it sent.
    pub(crate) mangled: u64,
    pub(crate) rejected: u64,
    /// Messages that were rejected and are in the log.
    pub(crate) rejected_but_logged: u64,
    /// Messages sent but never answered. They may be in the log or not.
    pub(crate) unanswered: u64,
    pub(crate) unanswered_and_logged: u64,
    /// Truncated records, for example of a killed server, and records damaged by NULs. They count
    /// as not in the log.
    pub(crate) torn: u64,
    /// Descriptions of the first findings.
    pub(crate) examples: Vec<String>,
}

impl Verification {
    /// Describes a finding, if few were described before.
    pub(super) fn example(&mut self, text: String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(text);
        }
    }

    /// Takes a line that is not a record of the run. With NULs, which a power cut left, it is a
    /// torn record.
    pub(super) fn damaged(&mut self, line: &[u8]) {
        if memchr(0, line).is_some() {
            self.torn += 1;
        } else {
            self.mangled(line);
        }
    }

    /// Takes a line that is not the record of a message that the run sent.
    pub(super) fn mangled(&mut self, line: &[u8]) {
        self.mangled += 1;
        self.example(format!("mangled: {}", printable(line, 160)));
    }

    /// Decides whether the verification passed, once everything was counted.
    pub(super) fn judge(&mut self) {
        let findings = [
            self.missing,
            self.repeated,
            self.out_of_order,
            self.mangled,
            self.rejected_but_logged,
        ];
        self.passed = findings == [0; 5];
    }
}
