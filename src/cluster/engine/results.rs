//! [`Results`]: what became of a client's jobs, from a durable consumer.

use std::time::Duration;

use async_nats::{
    Message,
    jetstream::consumer::{AckPolicy, pull},
};
use futures_util::StreamExt;
use tokio::sync::watch;

use super::{
    Engine, EngineError,
    acker::{ACK, Acker},
    request::envelope,
};
use crate::cluster::{error::ClusterError, message::Envelope};

/// How many results the server may send ahead.
const AHEAD: usize = 256;
/// How long one request for results is good for.
const EXPIRES: Duration = Duration::from_secs(30);
/// How often the server says that it still knows of the request: two of them missing, and it is asked anew.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// A result that was sent and not acked comes again after that.
const ACK_WAIT: Duration = Duration::from_secs(5);
/// How long the consumer outlives its client.
const INACTIVE: Duration = Duration::from_secs(300);
/// Between tries to ask anew.
const PAUSE: Duration = Duration::from_millis(100);

/// The results of a client, one after the other. Waits for ever; ends only with the connection.
///
/// ```text
/// Asking ──consumer is there──▶ Reading ──any error, or a reconnection──▶ Asking
/// ```
pub(in crate::cluster) struct Results {
    engine: Engine,
    client: String,
    connections: watch::Receiver<u64>,
    /// Nothing while asking.
    reading: Option<pull::Stream>,
}

impl Engine {
    /// The results of a client's jobs, from a durable consumer that it makes. Survives the server's restarts; makes the consumer again should it be gone.
    pub(in crate::cluster) async fn results(&self, client: &str) -> Result<Results, ClusterError> {
        let connections = self.connections();
        let what = format!("cannot read results from `{}`", self.names().results_stream());
        let reading = self.read_results(client).await.map_err(|error| error.into_cluster(&what))?;
        Ok(Results { engine: self.clone(), client: client.to_owned(), connections, reading: Some(reading) })
    }

    async fn read_results(&self, client: &str) -> Result<pull::Stream, EngineError> {
        let names = self.names();
        let (stream, name) = (names.results_stream(), names.results_consumer(client));
        let config = pull::Config {
            durable_name: Some(name),
            filter_subject: names.results_of(client),
            // One ack says that all before have arrived, too.
            ack_policy: AckPolicy::All,
            ack_wait: ACK_WAIT,
            max_ack_pending: 10_000,
            inactive_threshold: INACTIVE,
            ..pull::Config::default()
        };
        let consumer = self.make_consumer(&stream, config).await?;
        let ask = consumer.stream().max_messages_per_batch(AHEAD).expires(EXPIRES).heartbeat(HEARTBEAT);
        ask.messages().await.map_err(|error| EngineError::Lost(error.to_string()))
    }
}

impl Results {
    /// Cancel safe. `None` once the connection was closed.
    pub(in crate::cluster) async fn next(&mut self) -> Option<ResultMessage> {
        let mut closed = self.engine.closed();
        loop {
            let Some(reading) = &mut self.reading else {
                tokio::select! {
                    biased;
                    _ = closed.wait_for(|closed| *closed) => return None,
                    asked = self.engine.read_results(&self.client) => match asked {
                        Ok(reading) => self.reading = Some(reading),
                        Err(_) => tokio::time::sleep(PAUSE).await,
                    },
                }
                continue;
            };
            tokio::select! {
                biased;
                message = reading.next() => match message {
                    Some(Ok(message)) => {
                        return Some(ResultMessage::new(&self.engine, message.message));
                    }
                    // What the server has sent ahead came first: hardly anything is left behind.
                    Some(Err(_)) | None => self.reading = None,
                },
                _ = self.connections.changed() => self.reading = None,
                _ = closed.wait_for(|closed| *closed) => return None,
            }
        }
    }
}

/// What became of a job, until it is acked.
#[derive(Debug)]
pub(in crate::cluster) struct ResultMessage {
    pub(in crate::cluster) envelope: Envelope,
    acker: Acker,
}

impl ResultMessage {
    fn new(engine: &Engine, message: Message) -> Self {
        let acker = Acker::of(engine, &message);
        Self { envelope: envelope(message), acker }
    }

    /// Has the server send it no more, nor any that came before; without waiting for that.
    pub(in crate::cluster) async fn ack(self) {
        // Should it not arrive, the result comes again and finds nothing.
        let _ = self.acker.tell(ACK).await;
    }
}

impl std::fmt::Debug for Results {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Results").field("client", &self.client).finish_non_exhaustive()
    }
}
