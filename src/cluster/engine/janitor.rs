//! What the servers gave up, and what they left behind.

use std::time::Duration;

use async_nats::jetstream::{self, consumer::Info};
use serde::Deserialize;
use tokio::sync::watch;

use super::{
    Engine, EngineError,
    acker::{ACK, Acker},
    pull::Asked,
};
use crate::cluster::{error::ClusterError, message::Envelope};

/// How many advisories one request asks for, and for how long it is good.
const MOST: usize = 16;
const EXPIRES: Duration = Duration::from_secs(30);
/// Between tries to ask again.
const PAUSE: Duration = Duration::from_secs(1);
/// How many messages that were left behind are looked for at once, per queue.
const ORPHANS: usize = 1000;

/// What the server says of a job that it has given up.
#[derive(Deserialize)]
struct Advisory {
    stream_seq: u64,
    deliveries: u64,
}

impl Engine {
    /// Sequence numbers of jobs that were delivered as often as they may be; each is seen by one of all nodes, and again if it is not acked.
    pub(in crate::cluster) async fn given_up(&self) -> Result<GivenUp, ClusterError> {
        let what = format!("cannot read `{}`", self.names().advisories_stream());
        let asked = self.ask_for_advisories().await.map_err(|error| error.into_cluster(&what))?;
        Ok(GivenUp { engine: self.clone(), closed: self.closed(), asked: Some(asked) })
    }

    async fn ask_for_advisories(&self) -> Result<Asked, EngineError> {
        let (stream, consumer) = (self.names().advisories_stream(), self.names().janitor_consumer());
        self.ask_for(&stream, &consumer, MOST, EXPIRES).await
    }

    /// The job with that sequence number, if it is still there.
    pub(in crate::cluster) async fn job_at(&self, sequence: u64) -> Result<Option<Envelope>, EngineError> {
        self.direct(&self.names().tasks_stream(), format!(r#"{{"seq":{sequence}}}"#)).await
    }

    /// Jobs that their queues are past and that are still there. Some were acked, as a server of version 2.9 leaves them when it is killed;
    /// some were given up, in every version, once a later job is acked: look at the last answer before one is withdrawn.
    /// At most a thousand for each queue.
    pub(in crate::cluster) async fn orphans(&self, queues: &[String]) -> Result<Vec<u64>, EngineError> {
        let names = self.names();
        let mut orphans = Vec::new();
        for queue in queues {
            let what = format!("CONSUMER.INFO.{}.{}", names.tasks_stream(), names.queue_consumer(queue));
            let info: Info = self.demand(&what, String::new()).await?;
            self.left_below(queue, info.ack_floor.stream_sequence, &mut orphans).await?;
        }
        Ok(orphans)
    }

    async fn left_below(&self, queue: &str, floor: u64, orphans: &mut Vec<u64>) -> Result<(), EngineError> {
        let (stream, subject) = (self.names().tasks_stream(), self.names().tasks_of(queue));
        let mut from = 1;
        for _ in 0..ORPHANS {
            let next = format!(r#"{{"seq":{from},"next_by_subj":"{subject}"}}"#);
            let Some(found) = self.direct(&stream, next).await? else { break };
            let sequence = found.header("Nats-Sequence").and_then(|text| text.parse().ok());
            let Some(sequence) = sequence.filter(|sequence| *sequence <= floor) else { break };
            orphans.push(sequence);
            from = sequence + 1;
        }
        Ok(())
    }
}

/// Sequence numbers, one after the other. Waits for ever; ends only with the connection.
pub(in crate::cluster) struct GivenUp {
    engine: Engine,
    closed: watch::Receiver<bool>,
    /// Nothing while asking.
    asked: Option<Asked>,
}

impl GivenUp {
    /// Cancel safe. `None` once the connection was closed.
    pub(in crate::cluster) async fn next(&mut self) -> Option<GivenUpJob> {
        loop {
            tokio::select! {
                biased;
                job = Self::ask(&self.engine, &mut self.asked) => if job.is_some() {
                    return job;
                },
                _ = self.closed.wait_for(|closed| *closed) => return None,
            }
        }
    }

    /// The next job; nothing if it has to be asked again.
    async fn ask(engine: &Engine, asked: &mut Option<Asked>) -> Option<GivenUpJob> {
        let Some(open) = asked else {
            match engine.ask_for_advisories().await {
                Ok(new) => *asked = Some(new),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
            return None;
        };
        match open.next().await {
            Some(Ok(message)) => GivenUpJob::new(engine, &message),
            Some(Err(_)) => {
                *asked = None;
                tokio::time::sleep(PAUSE).await;
                None
            }
            None => {
                *asked = None;
                None
            }
        }
    }
}

impl std::fmt::Debug for GivenUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GivenUp").field("asking", &self.asked.is_none()).finish_non_exhaustive()
    }
}

/// A job that was delivered as often as it may be.
#[derive(Debug)]
pub(in crate::cluster) struct GivenUpJob {
    pub(in crate::cluster) sequence: u64,
    pub(in crate::cluster) deliveries: u64,
    acker: Acker,
}

impl GivenUpJob {
    /// Nothing if the message is no such advisory; it is given up in its turn.
    fn new(engine: &Engine, message: &jetstream::Message) -> Option<Self> {
        let Advisory { stream_seq, deliveries } = serde_json::from_slice(&message.payload).ok()?;
        let acker = Acker::of(engine, &message.message);
        Some(Self { sequence: stream_seq, deliveries, acker })
    }

    /// Has no other node see it.
    pub(in crate::cluster) async fn ack(self) {
        // Should it not arrive, another node finds the job gone.
        let _ = self.acker.tell(ACK).await;
    }
}
