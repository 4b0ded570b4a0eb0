//! What nodes need: to say how jobs go, and what has become of them.

use std::time::Duration;

use async_nats::{StatusCode, Subscriber, jetstream::consumer::Info};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::de::IgnoredAny;

use super::{Engine, EngineError, Notes, errors::ApiError, request::envelope};
use crate::cluster::{
    error::{ClusterError, ClusterErrorKind},
    message::Envelope,
};

/// Who of all nodes takes a call.
const CALL_GROUP: &str = "nodes";

impl Engine {
    /// Checks that streams and consumers of these queues are there, and returns for how long a job may go without progress.
    pub(in crate::cluster) async fn lease(&self, queues: &[String]) -> Result<Duration, ClusterError> {
        let names = self.names();
        for stream in [
            names.tasks_stream(),
            names.results_stream(),
            names.dead_letters_stream(),
            names.payloads_stream(),
        ] {
            let missing = format!("stream `{stream}` is not there");
            self.must_be_there::<IgnoredAny>(&format!("STREAM.INFO.{stream}"), &missing).await?;
        }
        let mut least = Duration::MAX;
        for queue in queues {
            let what = format!("CONSUMER.INFO.{}.{}", names.tasks_stream(), names.queue_consumer(queue));
            let missing = format!("queue `{queue}` is not there");
            let info: Info = self.must_be_there(&what, &missing).await?;
            least = least.min(info.config.ack_wait);
        }
        Ok(least)
    }

    pub(super) async fn must_be_there<T: serde::de::DeserializeOwned>(
        &self,
        what: &str,
        missing: &str,
    ) -> Result<T, ClusterError> {
        match self.api(what, String::new()).await {
            Ok(Ok(info)) => Ok(info),
            Ok(Err(error)) if error.is_missing() => {
                let text =
                    format!("{missing} under prefix `{}`: run `ensure_topology`", self.names().prefix());
                Err(ClusterError::new(ClusterErrorKind::Topology, text))
            }
            Ok(Err(error)) => Err(error.into_engine(self.max_message()).into_cluster(what)),
            Err(error) => Err(error.into_cluster(what)),
        }
    }

    /// The ids of jobs that are not wanted any more, as `about`.
    pub(in crate::cluster) async fn cancels(&self) -> Result<Notes, ClusterError> {
        self.notes(&self.names().cancels()).await
    }

    /// Tells a client that a job has begun.
    pub(in crate::cluster) async fn tell_begun(
        &self,
        client: &str,
        id: &str,
        node: &str,
    ) -> Result<(), EngineError> {
        self.tell(&self.names().begun(client), Bytes::from(format!("{id} {node}"))).await
    }

    /// Publishes what became of a job. The same `message_id` again changes nothing.
    pub(in crate::cluster) async fn answer(
        &self,
        client: &str,
        id: &str,
        message_id: &str,
        reply: Envelope,
    ) -> Result<(), EngineError> {
        self.publish(&self.names().result(client, id), message_id, reply).await.map(drop)
    }

    /// What was last published of a job.
    pub(in crate::cluster) async fn last_answer(
        &self,
        client: &str,
        id: &str,
    ) -> Result<Option<Envelope>, EngineError> {
        let names = self.names();
        self.direct(&format!("{}.{}", names.results_stream(), names.result(client, id)), String::new()).await
    }

    /// A message of a stream, from whichever server has it.
    pub(super) async fn direct(&self, what: &str, body: String) -> Result<Option<Envelope>, EngineError> {
        let subject = format!("$JS.API.DIRECT.GET.{what}");
        let ask = Envelope { headers: Vec::new(), body: Bytes::from(body) };
        let found = self.request(&subject, &ask).await?;
        match found.status {
            None | Some(StatusCode::OK) => Ok(Some(envelope(found))),
            Some(StatusCode::NOT_FOUND) => Ok(None),
            Some(status) => {
                let description = found.description.unwrap_or_default();
                let error = ApiError { code: status.as_u16(), err_code: 0, description };
                Err(error.into_engine(self.max_message()))
            }
        }
    }

    /// Keeps a job that nobody could do.
    pub(in crate::cluster) async fn dead_letter(
        &self,
        queue: &str,
        message_id: &str,
        job: Envelope,
    ) -> Result<(), EngineError> {
        self.publish(&self.names().dead_letter(queue), message_id, job).await.map(drop)
    }

    /// Jobs that come directly, without a queue.
    pub(in crate::cluster) async fn calls(&self, queue: &str) -> Result<Calls, ClusterError> {
        let calls = self.subscribe(&self.names().call(queue), Some(CALL_GROUP)).await?;
        Ok(Calls { engine: self.clone(), calls })
    }
}

/// Jobs that come directly.
#[derive(Debug)]
pub(in crate::cluster) struct Calls {
    engine: Engine,
    calls: Subscriber,
}

impl Calls {
    /// Cancel safe. `None` once the connection was closed.
    pub(in crate::cluster) async fn next(&mut self) -> Option<Call> {
        loop {
            let mut message = self.calls.next().await?;
            // Without an address for the answer it is no call.
            let Some(reply) = message.reply.take() else { continue };
            let engine = self.engine.clone();
            return Some(Call { envelope: envelope(message), engine, reply: reply.to_string() });
        }
    }
}

/// A job that came directly.
#[derive(Debug)]
pub(in crate::cluster) struct Call {
    pub(in crate::cluster) envelope: Envelope,
    engine: Engine,
    reply: String,
}

impl Call {
    /// Answers; without waiting until that is sent.
    pub(in crate::cluster) async fn reply(self, reply: Envelope) -> Result<(), EngineError> {
        self.engine.send(&self.reply, reply).await
    }
}
