//! What nodes need: to say how jobs go, and what has become of them.

use std::time::Duration;

use async_nats::{
    StatusCode, Subscriber,
    jetstream::{consumer::Info, stream::LastRawMessageErrorKind},
};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::de::IgnoredAny;

use super::{
    Engine, EngineError, Notes, Published, TIME_LIMIT,
    errors::{ApiError, chain},
    request::{envelope, stored},
};
use crate::cluster::{error::ClusterError, message::Envelope};

/// Who of all nodes takes a call.
const CALL_GROUP: &str = "nodes";

impl Engine {
    /// Checks that streams and consumers of these queues are there and may be used, and returns for how long a job may go without progress.
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
        // Without that permission each job that comes again would be given back, for ever.
        let readable = self.last_answer("nobody", "nothing").await;
        readable.map_err(|error| error.into_cluster("cannot read what has become of jobs"))?;
        self.lease_now(queues).await
    }

    /// For how long a job of these queues may go without progress: an administrator may change that.
    pub(in crate::cluster) async fn lease_now(&self, queues: &[String]) -> Result<Duration, ClusterError> {
        let names = self.names();
        let mut least = Duration::MAX;
        for queue in queues {
            let what = format!("CONSUMER.INFO.{}.{}", names.tasks_stream(), names.queue_consumer(queue));
            let missing = format!("queue `{queue}` is not there");
            let info: Info = self.must_be_there(&what, &missing).await?;
            least = least.min(info.config.ack_wait);
        }
        Ok(least)
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
    ) -> Result<Published, EngineError> {
        let stored = self.publish(&self.names().result(client, id), message_id, reply).await?;
        Ok(if stored.duplicate { Published::Copy } else { Published::Stored })
    }

    /// The same, unless something was published of the job since `seen`, which is [the number of what was last](Self::last_answer), or 0.
    pub(in crate::cluster) async fn answer_after(
        &self,
        seen: u64,
        client: &str,
        id: &str,
        message_id: &str,
        mut reply: Envelope,
    ) -> Result<Published, EngineError> {
        reply.headers.push(("Nats-Expected-Last-Subject-Sequence".into(), seen.to_string()));
        match self.try_publish(&self.names().result(client, id), message_id, reply).await? {
            Ok(stored) if stored.duplicate => Ok(Published::Copy),
            Ok(_) => Ok(Published::Stored),
            Err(error) if error.is_overtaken() => Ok(Published::Overtaken),
            Err(error) => Err(error.into_engine(self.max_message())),
        }
    }

    /// What was last published of a job, with its number. The stream's leader is asked: a replica may be behind.
    pub(in crate::cluster) async fn last_answer(
        &self,
        client: &str,
        id: &str,
    ) -> Result<Option<(u64, Envelope)>, EngineError> {
        let (name, of) = (self.names().results_stream(), self.names().result(client, id));
        let subject = format!("$JS.API.STREAM.MSG.GET.{name}");
        let asking = async {
            let stream = self.shared.context.get_stream_no_info(&name).await;
            let stream = stream.map_err(|error| EngineError::Failed(chain(&error)))?;
            match stream.get_last_raw_message_by_subject(&of).await {
                Ok(found) => Ok(Some((found.sequence, stored(found)))),
                Err(error) => match error.kind() {
                    LastRawMessageErrorKind::NoMessageFound => Ok(None),
                    LastRawMessageErrorKind::JetStream(error) => {
                        let (code, err_code) =
                            (u16::try_from(error.code()).unwrap_or(0), error.error_code().0);
                        let error = ApiError { code, err_code, description: error.to_string() };
                        Err(error.into_engine(self.max_message()))
                    }
                    _ => Err(EngineError::Lost(chain(&error))),
                },
            }
        };
        self.guard(&subject, TIME_LIMIT, asking).await
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
    pub(in crate::cluster) async fn reply(&self, reply: Envelope) -> Result<(), EngineError> {
        self.engine.send(&self.reply, reply).await
    }
}
