//! A report for people: as text on a terminal, as a page of HTML.

pub(crate) mod page;
pub(crate) mod text;
