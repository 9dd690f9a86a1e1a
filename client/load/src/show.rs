//! Output of a report: as text on a terminal, and as an HTML page.

pub(crate) mod page;
pub(crate) mod text;
