//! [`Results`]: what became of a client's jobs, each once and in its order, whatever happens to the connection.
//!
//! Nothing is acked: the reader itself knows how far it has come. It is a task of its own, so that nobody else's events hold it up, and
//! hands on what it reads by a channel with a bound.
//!
//! ```text
//! Asking ──a consumer is made, from behind the last result handed on──▶ Reading
//!   ▲                                                                      │
//!   └── a gap in the consumer's numbers, an error, no heartbeat, a reconnection ──┘
//! ```

use std::{pin::pin, time::Duration};

use async_nats::{
    datetime::DateTime,
    jetstream::{
        self,
        consumer::{AckPolicy, DeliverPolicy, pull},
        stream,
    },
};
use futures_util::StreamExt;
use serde::de::IgnoredAny;
use tokio::sync::{mpsc, watch};

use super::{Engine, EngineError, request::envelope};
use crate::cluster::{error::ClusterError, message::Envelope};

/// How many results the server may send ahead.
const AHEAD: usize = 256;
/// How many are read ahead of who takes them.
const READ_AHEAD: usize = 128;
/// How long one request for results is good for.
const EXPIRES: Duration = Duration::from_secs(30);
/// How often the server says that it still knows of the request: two of them missing, and another consumer is made.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long a consumer outlives its reader.
const INACTIVE: Duration = Duration::from_secs(60);
/// Between tries to ask anew: the first, and the longest.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// If the stream was made anew it is read from that long before the last result: as far as clocks of servers may differ.
const CLOCKS: Duration = Duration::from_secs(60);

/// The results of a client. Waits for ever; ends only with the connection.
#[derive(Debug)]
pub(in crate::cluster) struct Results {
    results: mpsc::Receiver<Envelope>,
}

impl Engine {
    /// The results of a client's jobs, from now on until they are dropped, by a task that reads ahead.
    ///
    /// Each comes once, however often the server is lost or its consumer is gone: a result stays in its stream for as long as that keeps it.
    pub(in crate::cluster) async fn results(&self, client: &str) -> Result<Results, ClusterError> {
        let (sender, results) = mpsc::channel(READ_AHEAD);
        let mut reader = Reader::new(self, client, sender);
        let reading = reader.ask().await.map_err(|error| {
            error.into_cluster(&format!("cannot read results from `{}`", self.names().results_stream()))
        })?;
        tokio::spawn(reader.run(reading));
        Ok(Results { results })
    }
}

impl Results {
    /// Cancel safe. `None` once the connection was closed.
    #[cfg(test)]
    pub(in crate::cluster) async fn next(&mut self) -> Option<Envelope> {
        self.results.recv().await
    }

    /// Waits for one, adds all that are there to `results`, `most` at most, and returns how many: none once the connection was closed.
    /// Cancel safe.
    pub(in crate::cluster) async fn next_many(&mut self, results: &mut Vec<Envelope>, most: usize) -> usize {
        self.results.recv_many(results, most).await
    }
}

/// Reads the results of a client.
struct Reader {
    engine: Engine,
    client: String,
    connections: watch::Receiver<u64>,
    /// Each consumer has a name of its own: what was sent to an earlier one is nothing to this one.
    generation: u64,
    /// The last result that was handed on.
    last: Option<Mark>,
    /// When the stream was made, if that is known.
    created: Option<DateTime>,
    results: mpsc::Sender<Envelope>,
}

/// A place in the stream.
#[derive(Debug, Clone, Copy)]
struct Mark {
    /// Nothing if that was in another stream of this name.
    sequence: Option<u64>,
    published: DateTime,
}

/// A consumer that is read from.
struct Reading {
    name: String,
    messages: pull::Stream,
    /// How many messages it has delivered.
    delivered: u64,
}

/// Why no more is read from a consumer.
enum Over {
    /// Something may be missing: another one is needed.
    InDoubt,
    /// Nobody takes results any more.
    Unwanted,
}

impl Reader {
    fn new(engine: &Engine, client: &str, results: mpsc::Sender<Envelope>) -> Self {
        Self {
            engine: engine.clone(),
            client: client.to_owned(),
            connections: engine.connections(),
            generation: 0,
            last: None,
            created: None,
            results,
        }
    }

    /// Reads until nobody takes results any more, or the connection was closed.
    async fn run(mut self, first: Reading) {
        let (mut closed, results) = (self.engine.closed(), self.results.clone());
        let reading = pin!(async {
            let mut reading = first;
            loop {
                let over = self.read(&mut reading).await;
                self.forget(reading);
                if let Over::Unwanted = over {
                    return;
                }
                reading = self.ask_again().await;
            }
        });
        tokio::select! {
            () = reading => {}
            // It may be waiting for the server.
            _ = closed.wait_for(|closed| *closed) => {}
            () = results.closed() => {}
        }
    }

    /// Hands on what comes, as long as it is sure that nothing is missing.
    async fn read(&mut self, reading: &mut Reading) -> Over {
        loop {
            let message = tokio::select! {
                biased;
                () = self.results.closed() => return Over::Unwanted,
                // What was on its way is lost with the connection.
                _ = self.connections.changed() => return Over::InDoubt,
                message = reading.messages.next() => message,
            };
            let Some(Ok(message)) = message else { return Over::InDoubt };
            let Some(mark) = reading.next_mark(&message) else { return Over::InDoubt };
            if self.results.send(envelope(message.message)).await.is_err() {
                return Over::Unwanted;
            }
            self.last = Some(mark);
        }
    }

    /// Has another consumer made, until that is done.
    async fn ask_again(&mut self) -> Reading {
        let mut pause = PAUSE;
        loop {
            match self.ask().await {
                Ok(reading) => return reading,
                Err(error) => {
                    let stream = self.engine.names().results_stream();
                    let why = error.into_cluster(&format!("cannot read results from `{stream}`"));
                    self.engine.shared.watch.note_trouble(&why.to_string());
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (2 * pause).min(LONGEST_PAUSE),
                _ = self.connections.changed() => pause = PAUSE,
            }
        }
    }

    /// Has a consumer made that begins behind the last result handed on.
    async fn ask(&mut self) -> Result<Reading, EngineError> {
        // A reconnection from here on is another doubt.
        self.connections.borrow_and_update();
        let reading = self.make(self.beginning()).await?;
        // After that: should the stream be made anew now, the consumer is gone with it.
        if self.is_same_stream().await? {
            return Ok(reading);
        }
        self.forget(reading);
        // Also for later tries, should this one fail.
        if let Some(last) = &mut self.last {
            last.sequence = None;
        }
        self.make(self.beginning()).await
    }

    /// Behind the last result that was handed on.
    fn beginning(&self) -> DeliverPolicy {
        match self.last {
            None => DeliverPolicy::All,
            Some(Mark { sequence: Some(last), .. }) => {
                DeliverPolicy::ByStartSequence { start_sequence: last + 1 }
            }
            Some(Mark { published, .. }) => DeliverPolicy::ByStartTime { start_time: published - CLOCKS },
        }
    }

    /// Whether the numbers of the stream are those of before. They are not if it was made anew or has lost its end.
    async fn is_same_stream(&mut self) -> Result<bool, EngineError> {
        let what = format!("STREAM.INFO.{}", self.engine.names().results_stream());
        let info = match self.engine.demand::<stream::Info>(&what, String::new()).await {
            Ok(info) => info,
            // Who may not know that takes it as it is.
            Err(EngineError::Denied(_)) => return Ok(true),
            Err(error) => return Err(error),
        };
        let before = self.created.replace(info.created);
        let last = self.last.and_then(|last| last.sequence);
        let is_there = last.is_none_or(|last| last <= info.state.last_sequence);
        Ok(before.is_none_or(|before| before == info.created) && is_there)
    }

    async fn make(&mut self, deliver_policy: DeliverPolicy) -> Result<Reading, EngineError> {
        self.generation += 1;
        let names = self.engine.names();
        let name = names.results_consumer(&self.client, self.generation);
        let config = pull::Config {
            name: Some(name.clone()),
            filter_subject: names.results_of(&self.client),
            deliver_policy,
            ack_policy: AckPolicy::None,
            inactive_threshold: INACTIVE,
            // What it has delivered is known here: a server that ends may forget it.
            num_replicas: 1,
            memory_storage: true,
            ..pull::Config::default()
        };
        let consumer = self.engine.make_consumer(&names.results_stream(), config).await?;
        let ask = consumer.stream().max_messages_per_batch(AHEAD).expires(EXPIRES).heartbeat(HEARTBEAT);
        let messages = ask.messages().await.map_err(|error| EngineError::Lost(error.to_string()))?;
        Ok(Reading { name, messages, delivered: 0 })
    }

    /// Has a consumer removed. Should that fail, the server removes it after a while.
    fn forget(&self, reading: Reading) {
        let what = format!("CONSUMER.DELETE.{}.{}", self.engine.names().results_stream(), reading.name);
        let engine = self.engine.clone();
        tokio::spawn(async move {
            let _ = engine.api::<IgnoredAny>(&what, String::new()).await;
        });
    }
}

impl Reading {
    /// Where a message stands in the stream, if it is the next of those that the consumer delivers.
    fn next_mark(&mut self, message: &jetstream::Message) -> Option<Mark> {
        let info = message.info().ok()?;
        self.delivered += 1;
        let is_next = info.consumer_sequence == self.delivered;
        is_next.then_some(Mark { sequence: Some(info.stream_sequence), published: info.published })
    }
}
