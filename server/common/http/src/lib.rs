//! HTTP server for scrapers and health checks: `/metrics` and `/health`.
//!
//! - [`HttpServer`]: the listening sockets and the connections to them
//! - `exchange`: one request and its response

mod exchange;
mod server;

pub use exchange::{Exchange, Page, Response};
pub use server::{DESCRIPTORS, HttpServer, MAX_WAIT, TOKENS};
