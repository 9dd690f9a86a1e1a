//! The result of a fault.

use std::fmt::{self, Write as _};

use crate::numbered::Verification;

/// The result of a fault.
#[derive(Default)]
pub(crate) struct FaultReport {
    /// The number of injections; 0 stands for one.
    pub(crate) times: u32,
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
    pub(crate) lost: u64,
    /// Broken promises.
    pub(crate) broken: Vec<String>,
    /// A measurement, or why the fault was skipped.
    pub(crate) note: String,
    pub(crate) skipped: bool,
}

impl FaultReport {
    pub(crate) fn of(verification: &Verification) -> Self {
        let mut report = Self {
            sent: verification.sent,
            acknowledged: verification.acknowledged,
            lost: verification.lost,
            ..Self::default()
        };
        report.expect(verification.is_good(), || format!("{verification:?}"));
        report
    }

    pub(crate) fn skipped(why: &str) -> Self {
        Self {
            note: format!("skipped: {why}"),
            skipped: true,
            ..Self::default()
        }
    }

    pub(crate) fn remark(&mut self, what: fmt::Arguments<'_>) {
        let comma = if self.note.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        _ = write!(self.note, "{comma}{what}");
    }

    pub(crate) fn expect(&mut self, kept: bool, what: impl FnOnce() -> String) {
        if !kept {
            self.broken.push(what());
        }
    }
}
