//! Requests to the API of `JetStream`.

use std::time::Duration;

use nats::client::Client;
use nats::jetstream::{Answer, ApiError};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The timeout for one answer of a node; after it, a node is asked again.
pub(super) const ANSWER: Duration = Duration::from_secs(1);

/// Sends one request to the API. A temporary rejection is the outer error.
pub(super) fn call<T: DeserializeOwned>(
    client: &mut Client,
    subject: &str,
    body: &Value,
) -> Result<Result<T, ApiError>, String> {
    match client.call(subject, body.to_string().as_bytes(), ANSWER) {
        Ok(Answer::Yes(answer)) => Ok(Ok(answer)),
        Ok(Answer::No(error)) if !error.is_passing() => Ok(Err(error)),
        Ok(Answer::No(error)) => Err(format!("{subject}: {error}")),
        Ok(Answer::Nonsense(why)) => Err(format!("{subject}: {why}")),
        Err(error) => Err(error.to_string()),
    }
}
