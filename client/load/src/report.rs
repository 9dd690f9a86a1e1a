//! Report of a finished run as one object. It is what `-json` prints, and the source of the text
//! and the page.

mod data;
pub(crate) mod machine;
pub(crate) mod summary;
pub(crate) mod threshold;
pub(crate) mod warning;

pub(crate) use self::data::{
    Connections, EndedBy, LoadGenerator, Loop, Report, Settings, ThresholdResult,
};
