//! [`Acker`]: what can be said to the server of a message that it has delivered.

use std::time::Duration;

use async_nats::Message;
use bytes::Bytes;

use super::{Engine, EngineError};
use crate::cluster::message::Envelope;

/// Done.
pub(super) const ACK: Bytes = Bytes::from_static(b"+ACK");
/// Still at it.
pub(super) const PROGRESS: Bytes = Bytes::from_static(b"+WPI");
/// Not to be done.
pub(super) const TERM: Bytes = Bytes::from_static(b"+TERM");

/// Not now: again after `delay`.
pub(super) fn nak(delay: Duration) -> Bytes {
    Bytes::from(format!(r#"-NAK {{"delay":{}}}"#, delay.as_nanos()))
}

/// The address of one delivery.
#[derive(Debug, Clone)]
pub(super) struct Acker {
    engine: Engine,
    subject: String,
}

impl Acker {
    pub(super) fn of(engine: &Engine, message: &Message) -> Self {
        let subject = message.reply.as_ref().map(ToString::to_string).unwrap_or_default();
        Self { engine: engine.clone(), subject }
    }

    /// Without waiting.
    pub(super) async fn tell(&self, what: Bytes) -> Result<(), EngineError> {
        self.engine.tell(&self.subject, what).await
    }

    /// And knows that the server has noted it.
    pub(super) async fn ask(&self, what: Bytes) -> Result<(), EngineError> {
        let message = Envelope { headers: Vec::new(), body: what };
        self.engine.request(&self.subject, &message).await.map(drop)
    }
}
