//! [`Pull`]: jobs that a node has asked for, and [`Delivery`]: one of them with its lease.

use std::{pin::Pin, sync::PoisonError, time::Duration};

use async_nats::jetstream::{
    self,
    consumer::{self, FromConsumer, Info, IntoConsumerConfig, PullConsumer, pull},
};
use futures_util::StreamExt;
use tokio::{sync::watch, time::Sleep};

use super::{
    Engine, EngineError, TIME_LIMIT,
    acker::{ACK, Acker, PROGRESS, TERM, nak},
    request::envelope,
    watch::Complaints,
};
use crate::cluster::message::Envelope;

/// A request that was lost on its way is over that much after its time.
const GRACE: Duration = Duration::from_millis(500);
const NOT_ANSWERED: &str =
    "the server has not answered a request for jobs: the queue may not be there any more";

impl Engine {
    /// Asks for up to `most` jobs of a queue.
    pub(in crate::cluster) async fn pull(
        &self,
        queue: &str,
        most: usize,
        expires: Duration,
    ) -> Result<Pull, EngineError> {
        let (stream, consumer) = (self.names().tasks_stream(), self.names().queue_consumer(queue));
        let asked = self.ask_for(&stream, &consumer, most, expires).await?;
        Ok(Pull { engine: self.clone(), asked })
    }

    /// Asks for up to `most` messages of a consumer.
    pub(super) async fn ask_for(
        &self,
        stream: &str,
        name: &str,
        most: usize,
        expires: Duration,
    ) -> Result<Asked, EngineError> {
        let consumer = self.consumer(stream, name).await?;
        // It would be sent with the reconnection, when nobody waits for its answers any more.
        if !self.is_connected() {
            return Err(EngineError::Lost("the connection is lost".to_owned()));
        }
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}");
        let (connections, complaints) = (self.connections(), self.complaints(&subject));
        // No heartbeats: async-nats 0.51 loses a wake-up after one, and what comes later lies until the request's end.
        let batch = async {
            let asked = consumer.batch().max_messages(most).expires(expires).messages().await;
            asked.map_err(|error| EngineError::Lost(error.to_string()))
        };
        // A request for none is one for one, to the server.
        let batch = if most == 0 { None } else { Some(self.guard(&subject, TIME_LIMIT, batch).await?) };
        let end = Box::pin(tokio::time::sleep(expires.saturating_add(GRACE)));
        Ok(Asked { batch, connections, complaints, end })
    }

    /// A consumer that is there. It is asked for once.
    async fn consumer(&self, stream: &str, name: &str) -> Result<PullConsumer, EngineError> {
        let what = format!("CONSUMER.INFO.{stream}.{name}");
        let known = || self.shared.consumers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(consumer) = known().get(&what) {
            return Ok(consumer.clone());
        }
        let info: Info = self.demand(&what, String::new()).await?;
        let config = pull::Config::try_from_consumer_config(info.config.clone());
        let config = config.map_err(|error| EngineError::Failed(format!("consumer `{name}`: {error}")))?;
        let consumer = PullConsumer::new(config, info, self.shared.context.clone());
        known().insert(what, consumer.clone());
        Ok(consumer)
    }

    /// Makes a consumer, or finds it made.
    pub(super) async fn make_consumer(
        &self,
        stream: &str,
        config: pull::Config,
    ) -> Result<PullConsumer, EngineError> {
        let (what, body) = creating(stream, &config.clone().into_consumer_config());
        let info = self.demand(&what, body).await?;
        Ok(PullConsumer::new(config, info, self.shared.context.clone()))
    }
}

/// The request that makes a consumer, or changes a durable one.
pub(super) fn creating(stream: &str, config: &consumer::Config) -> (String, String) {
    let name = config.durable_name.as_deref().or(config.name.as_deref()).unwrap_or_default();
    let filter = if config.filter_subject.is_empty() { "" } else { "." };
    let what = format!("CONSUMER.CREATE.{stream}.{name}{filter}{}", config.filter_subject);
    (what, serde_json::json!({ "stream_name": stream, "config": config }).to_string())
}

/// Messages that were asked for.
pub(super) struct Asked {
    /// Nothing once it is over.
    batch: Option<pull::Batch>,
    connections: watch::Receiver<u64>,
    complaints: Complaints,
    end: Pin<Box<Sleep>>,
}

impl Asked {
    /// Cancel safe. `None` once it is over, for whatever reason.
    pub(super) async fn next(&mut self) -> Option<Result<jetstream::Message, EngineError>> {
        let batch = self.batch.as_mut()?;
        let next = tokio::select! {
            biased;
            message = batch.next() => match message {
                Some(Ok(message)) => return Some(Ok(message)),
                Some(Err(error)) => Some(Err(EngineError::Lost(error.to_string()))),
                None => None,
            },
            text = self.complaints.next() => Some(Err(EngineError::Denied(text))),
            // The request is lost with the connection: asking again at once is quicker than its time limit.
            _ = self.connections.changed() => None,
            // A server answers each request, if only by saying that its time is over.
            () = &mut self.end => Some(Err(EngineError::Lost(NOT_ANSWERED.to_owned()))),
        };
        self.batch = None;
        next
    }
}

/// Jobs that were asked for.
pub(in crate::cluster) struct Pull {
    engine: Engine,
    asked: Asked,
}

impl Pull {
    /// Cancel safe. `None` once what was asked for has come, or its time is over, or the connection was interrupted.
    pub(in crate::cluster) async fn next(&mut self) -> Option<Result<Delivery, EngineError>> {
        match self.asked.next().await? {
            Ok(message) => Some(Delivery::new(&self.engine, message)),
            Err(error) => Some(Err(error)),
        }
    }
}

impl std::fmt::Debug for Pull {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pull").field("over", &self.asked.batch.is_none()).finish_non_exhaustive()
    }
}

/// A job with its lease.
#[derive(Debug)]
pub(in crate::cluster) struct Delivery {
    pub(in crate::cluster) envelope: Envelope,
    /// How often it was delivered, this time included.
    pub(in crate::cluster) delivered: u64,
    pub(in crate::cluster) sequence: u64,
    acker: Acker,
}

impl Delivery {
    fn new(engine: &Engine, message: jetstream::Message) -> Result<Self, EngineError> {
        let strange = |error| EngineError::Failed(format!("a job's delivery cannot be read: {error}"));
        let info = message.info().map_err(strange)?;
        let (delivered, sequence) = (u64::try_from(info.delivered).unwrap_or(1), info.stream_sequence);
        let acker = Acker::of(engine, &message.message);
        Ok(Self { envelope: envelope(message.message), delivered, sequence, acker })
    }

    /// Renews the lease; without waiting for that.
    pub(in crate::cluster) async fn progress(&self) -> Result<(), EngineError> {
        self.acker.tell(PROGRESS).await
    }

    /// Gives it back, to be delivered again after `delay`; without waiting for that.
    pub(in crate::cluster) async fn give_back(&self, delay: Duration) -> Result<(), EngineError> {
        self.acker.tell(nak(delay)).await
    }

    /// Takes it out of the queue, and knows that.
    pub(in crate::cluster) async fn ack(&self) -> Result<(), EngineError> {
        self.acker.ask(ACK).await
    }

    /// Takes it out of the queue because it cannot be done, and knows that.
    pub(in crate::cluster) async fn terminate(&self) -> Result<(), EngineError> {
        self.acker.ask(TERM).await
    }
}
