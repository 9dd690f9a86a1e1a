//! The log as a replicated stream of NATS `JetStream`.

pub mod identity;
pub mod publisher;
