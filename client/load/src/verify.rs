//! Verification: compares a server's log with the replies of a run.

mod findings;
pub(crate) mod logs;
mod read;
pub(crate) mod runfile;
mod seen;
mod sent;
pub(crate) mod streamed;
#[cfg(test)]
mod tests;
mod verifier;

pub(crate) use self::findings::Verification;
