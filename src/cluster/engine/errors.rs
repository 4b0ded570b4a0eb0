//! What the client library and the servers say when something fails, as [`EngineError`] and [`ClusterError`].

use std::{error::Error, io, str::FromStr, time::Duration};

use async_nats::{ConnectError, ConnectErrorKind, HeaderMap, HeaderName, HeaderValue, ServerError, rustls};
use serde::{Deserialize, de::DeserializeOwned};

use super::EngineError;
use crate::cluster::{
    error::{ClusterError, ClusterErrorKind},
    message::Envelope,
};

/// An answer of JetStream's interface.
pub(super) struct Api<T>(std::marker::PhantomData<T>);

#[derive(Deserialize)]
struct Refused {
    error: ApiError,
}

/// What JetStream refuses with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct ApiError {
    /// As in HTTP.
    pub(super) code: u16,
    #[serde(default)]
    pub(super) err_code: u64,
    #[serde(default)]
    pub(super) description: String,
}

/// The answer to a message that was stored.
#[derive(Deserialize)]
pub(super) struct Stored {
    pub(super) seq: u64,
    /// It was there already, under the same id.
    #[serde(default)]
    pub(super) duplicate: bool,
}

impl<T: DeserializeOwned> Api<T> {
    pub(super) fn parse(payload: &[u8]) -> Result<Result<T, ApiError>, EngineError> {
        if let Ok(refused) = serde_json::from_slice::<Refused>(payload) {
            return Ok(Err(refused.error));
        }
        let strange = |error| EngineError::Failed(format!("the server's answer cannot be read: {error}"));
        serde_json::from_slice(payload).map(Ok).map_err(strange)
    }
}

/// "message size exceeds maximum allowed".
const TOO_LARGE: u64 = 10054;
/// "stream store failed": the reason is in the text.
const STORE_FAILED: u64 = 10077;
/// "wrong last sequence", with the number and without.
const OVERTAKEN: [u64; 2] = [10071, 10164];
/// The limits of the account or the server: memory, disk.
const NO_ROOM: [u64; 3] = [10002, 10023, 10047];

/// "not active", "not assigned", "not leader", with code 500: a server that has not come so far.
const NO_LEADER: [u64; 3] = [10006, 10007, 10009];

impl ApiError {
    /// Nothing is there under that number or subject.
    pub(super) fn is_missing(&self) -> bool {
        let text = self.description.as_str();
        let missing = ["not found", "no message found", "stream store EOF"];
        self.code == 404 || missing.iter().any(|missing| text.contains(missing))
    }

    /// Something else was stored under the subject meanwhile.
    pub(super) fn is_overtaken(&self) -> bool {
        OVERTAKEN.contains(&self.err_code)
    }

    pub(super) fn into_engine(self, limit: u64) -> EngineError {
        let text = format!("{} (code {})", self.description, self.err_code);
        match self.err_code {
            TOO_LARGE => EngineError::TooLarge { size: 0, limit },
            STORE_FAILED if self.description.contains("maximum") => EngineError::Full(text),
            STORE_FAILED => EngineError::Lost(text),
            code if NO_ROOM.contains(&code) => EngineError::Full(text),
            // Too many requests; and what servers say while a leader is elected or a peer is gone.
            _ if self.code == 503 || self.code == 429 || NO_LEADER.contains(&self.err_code) => {
                EngineError::Lost(text)
            }
            _ => EngineError::Failed(text),
        }
    }
}

impl EngineError {
    /// As an error of connecting, serving or administrating; `what` was to be done.
    pub(super) fn into_cluster(self, what: &str) -> ClusterError {
        let kind = match &self {
            Self::Lost(_) => ClusterErrorKind::Unreachable,
            Self::Denied(_) => ClusterErrorKind::Denied,
            // "stream not found", "consumer not found".
            Self::Failed(text) if text.contains("code 10059") || text.contains("code 10014") => {
                ClusterErrorKind::Topology
            }
            Self::Full(_) | Self::Failed(_) | Self::TooLarge { .. } => ClusterErrorKind::Other,
        };
        let remedy = if kind == ClusterErrorKind::Topology { ": run `ensure_topology`" } else { "" };
        ClusterError::new(kind, format!("{what}: {self}{remedy}"))
    }
}

/// The headers of a message.
pub(super) fn headers(message: &Envelope) -> Result<HeaderMap, EngineError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &message.headers {
        let bad = |_| EngineError::Failed(format!("header `{name}` cannot be sent"));
        let key = HeaderName::from_str(name)
            .map_err(|_| EngineError::Failed(format!("`{name}` is no header's name")))?;
        headers.insert(key, HeaderValue::from_str(value).map_err(bad)?);
    }
    Ok(headers)
}

pub(super) fn no_answer(servers: &[String], limit: Duration) -> ClusterError {
    let text = format!("no server answers within {limit:?}: {}", shown(servers));
    ClusterError::new(ClusterErrorKind::Unreachable, text)
}

/// Why no connection was made, by what is at the bottom of it.
pub(super) fn connecting(error: &ConnectError, servers: &[String]) -> ClusterError {
    let servers = shown(servers);
    let why = chain(error);
    let (kind, text) = match error.kind() {
        ConnectErrorKind::ServerParse => {
            (ClusterErrorKind::Setting, format!("`servers` cannot be read: {servers}: {why}"))
        }
        ConnectErrorKind::AuthorizationViolation => (
            ClusterErrorKind::Denied,
            format!("{servers}: the server does not accept these credentials: {why}"),
        ),
        ConnectErrorKind::Authentication => {
            (ClusterErrorKind::Denied, format!("{servers}: the credentials cannot be used: {why}"))
        }
        ConnectErrorKind::Tls => (ClusterErrorKind::Tls, format!("{servers}: TLS cannot be set up: {why}")),
        _ if is_tls(error) && why.contains("corrupt message") => {
            (ClusterErrorKind::Tls, format!("{servers}: the server does not speak TLS: {why}"))
        }
        _ if is_tls(error) => (ClusterErrorKind::Tls, format!("{servers}: TLS fails: {why}")),
        _ if is_refusal(error) => (ClusterErrorKind::Denied, format!("{servers}: {why}")),
        _ => (ClusterErrorKind::Unreachable, format!("no server answers: {servers}: {why}")),
    };
    ClusterError::new(kind, text)
}

fn shown(servers: &[String]) -> String {
    servers.join(", ")
}

pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = source.source();
    }
    text
}

fn any(error: &(dyn Error + 'static), is: &dyn Fn(&(dyn Error + 'static)) -> bool) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if is(error) || inner.is_some_and(|inner| any(inner, is)) {
            return true;
        }
        next = error.source();
    }
    false
}

fn is_tls(error: &ConnectError) -> bool {
    any(error, &|error| error.is::<rustls::Error>())
}

/// The server has answered with an error that is no use trying again.
fn is_refusal(error: &ConnectError) -> bool {
    any(error, &|error| matches!(error.downcast_ref(), Some(ServerError::Other(_))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_lost_and_what_stays_is_not() {
        let error = |code, err_code| ApiError { code, err_code, description: "why".into() };
        let lost =
            [(503, 10008), (429, 10167), (500, 10006), (500, 10007), (500, 10009), (500, STORE_FAILED)];
        for (code, err_code) in lost {
            let error = error(code, err_code).into_engine(1);
            assert!(matches!(&error, EngineError::Lost(text) if text.contains("why")), "{error:?}");
        }
        for (code, err_code) in [(400, 10003), (404, 10059), (500, 10049)] {
            let error = error(code, err_code).into_engine(1);
            assert!(matches!(error, EngineError::Failed(_)), "{error:?}");
        }
    }
}
