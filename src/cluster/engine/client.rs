//! What clients need: jobs into the queue and out of it.

use std::time::Duration;

use async_nats::jetstream::stream;
use bytes::Bytes;
use serde::{Deserialize, de::IgnoredAny};

use super::{Engine, EngineError, Notes, request::envelope};
use crate::cluster::{
    error::{ClusterError, ClusterErrorKind},
    message::Envelope,
};

#[derive(Deserialize)]
struct Deleted {
    success: bool,
}

impl Engine {
    /// Puts a job into a queue. Returns its sequence number, by which it can be withdrawn. The same `message_id` again changes nothing
    /// and returns the same number.
    pub(in crate::cluster) async fn submit(
        &self,
        subject: &str,
        message_id: &str,
        job: Envelope,
    ) -> Result<u64, EngineError> {
        self.publish(subject, message_id, job).await.map(|stored| stored.seq)
    }

    /// For how long a queue keeps a job. Nothing if nobody may tell, or for ever.
    pub(in crate::cluster) async fn max_age(&self) -> Option<Duration> {
        let what = format!("STREAM.INFO.{}", self.names().tasks_stream());
        let info = self.api::<stream::Info>(&what, String::new()).await.ok()?.ok()?;
        Some(info.config.max_age).filter(|age| !age.is_zero())
    }

    /// What did not work a moment ago, if it is not known to work again: why nothing happens.
    pub(in crate::cluster) fn trouble(&self) -> Option<String> {
        self.shared.watch.trouble()
    }

    /// Why what goes into a queue is lost again and again: the stream is not there. Nothing if it is, or nobody can tell.
    pub(in crate::cluster) async fn lacks_queues(&self) -> Option<EngineError> {
        let stream = self.names().tasks_stream();
        let missing = format!("stream `{stream}` is not there");
        let asked = self.must_be_there::<IgnoredAny>(&format!("STREAM.INFO.{stream}"), &missing).await;
        let why = asked.err().filter(|why| why.kind() == ClusterErrorKind::Topology)?;
        Some(EngineError::Failed(why.to_string()))
    }

    /// Fails if there is no such queue; not if nobody may tell whether there is.
    pub(in crate::cluster) async fn find_queue(&self, queue: &str) -> Result<(), ClusterError> {
        let names = self.names();
        let what = format!("CONSUMER.INFO.{}.{}", names.tasks_stream(), names.queue_consumer(queue));
        let missing = format!("queue `{queue}` is not there");
        match self.must_be_there::<IgnoredAny>(&what, &missing).await {
            Err(why) if why.kind() == ClusterErrorKind::Topology => Err(why),
            _ => Ok(()),
        }
    }

    /// Takes a job out of its queue. Says whether it was there.
    pub(in crate::cluster) async fn withdraw(&self, sequence: u64) -> Result<bool, EngineError> {
        let what = format!("STREAM.MSG.DELETE.{}", self.names().tasks_stream());
        match self.api::<Deleted>(&what, format!(r#"{{"seq":{sequence},"no_erase":true}}"#)).await? {
            Ok(deleted) => Ok(deleted.success),
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(error.into_engine(self.max_message())),
        }
    }

    /// Tells all nodes that a job is not wanted any more.
    pub(in crate::cluster) async fn cancel(&self, id: &str) -> Result<(), EngineError> {
        self.tell(&self.names().cancel(id), Bytes::new()).await
    }

    /// What nodes say of a client's jobs that begin: `body` is `{id} {node}`.
    pub(in crate::cluster) async fn begun(&self, client: &str) -> Result<Notes, ClusterError> {
        self.notes(&self.names().begun(client)).await
    }

    /// Calls a node directly, without a queue: at most once.
    pub(in crate::cluster) async fn call(
        &self,
        queue: &str,
        job: Envelope,
        limit: Duration,
    ) -> Result<Envelope, EngineError> {
        let subject = self.names().call(queue);
        let nobody = || EngineError::Failed(format!("no node takes calls for queue `{queue}`"));
        self.ask(&subject, &job, limit, nobody).await.map(envelope)
    }
}
