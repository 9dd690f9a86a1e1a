//! The client: threads that take strict turns on one connection, and `client load`, the same
//! client as an instrument that measures and verifies.

pub mod load;
pub mod turns;
