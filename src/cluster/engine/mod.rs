//! [`Engine`]: what the cluster needs of a message system, on NATS with JetStream. The only place that names async-nats.
//!
//! Every call has a time limit ([`TIME_LIMIT`]) and is one try: whoever calls decides whether to try again.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::{access::Access, error::ClusterError, message::Envelope, names::Names};

/// How long one request may take.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(2);

/// A connection. Cheap to clone. Used from the thread of its pool or node only.
#[derive(Debug, Clone)]
pub(super) struct Engine {}

/// Why a call has failed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum EngineError {
    /// The connection is lost, the server starts, a leader is being elected, no answer came in time: try again.
    Lost(String),
    /// The queue holds as many messages, or bytes, as it may.
    Full(String),
    /// The message is larger than the server takes.
    TooLarge { size: u64, limit: u64 },
    /// The server does not permit it: the text names the subject.
    Denied(String),
    /// Anything else that will not change by trying again.
    Failed(String),
}

/// Something that is over when its sender, a background task of the engine's or the connection, ends.
pub(super) type Notes = tokio::sync::mpsc::UnboundedReceiver<Note>;

/// A small message without a reply.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Note {
    /// The last token of its subject.
    pub(super) about: String,
    pub(super) body: Bytes,
}

/// The connection itself.
impl Engine {
    /// Connects. Bounded by the access's limit; fails with the kind of error that it is: unreachable, TLS, denied.
    pub(super) async fn connect(_access: &Access, _name: &str) -> Result<Self, ClusterError> {
        todo!()
    }

    pub(super) fn names(&self) -> &Names {
        todo!()
    }

    /// The largest message, headers included, in bytes.
    pub(super) fn max_message(&self) -> u64 {
        todo!()
    }

    /// Counts how often it has connected: changes at each reconnection.
    pub(super) fn connections(&self) -> watch::Receiver<u64> {
        todo!()
    }

    /// The last that the server has complained of (a permission, for one), for texts of errors.
    pub(super) fn complaint(&self) -> Option<String> {
        todo!()
    }

    /// Sends what is buffered, and closes.
    pub(super) async fn close(&self) {
        todo!()
    }
}

/// For clients.
impl Engine {
    /// Puts a job into a queue. Returns its sequence number, by which it can be withdrawn. The same `message_id` again changes nothing
    /// and returns the same number.
    pub(super) async fn submit(
        &self,
        _subject: &str,
        _message_id: &str,
        _job: Envelope,
    ) -> Result<u64, EngineError> {
        todo!()
    }

    /// Takes a job out of its queue. Says whether it was there.
    pub(super) async fn withdraw(&self, _sequence: u64) -> Result<bool, EngineError> {
        todo!()
    }

    /// Tells all nodes that a job is not wanted any more.
    pub(super) async fn cancel(&self, _id: &str) -> Result<(), EngineError> {
        todo!()
    }

    /// The results of a client's jobs, from a durable consumer that it makes. Survives the server's restarts; makes the consumer again should it be gone.
    pub(super) async fn results(&self, _client: &str) -> Result<Results, ClusterError> {
        todo!()
    }

    /// What nodes say of a client's jobs that begin: `body` is `{id} {node}`.
    pub(super) async fn begun(&self, _client: &str) -> Result<Notes, ClusterError> {
        todo!()
    }

    /// Calls a node directly, without a queue: at most once.
    pub(super) async fn call(
        &self,
        _queue: &str,
        _job: Envelope,
        _limit: Duration,
    ) -> Result<Envelope, EngineError> {
        todo!()
    }
}

/// For nodes.
impl Engine {
    /// Checks that streams and consumers of these queues are there, and returns for how long a job may go without progress.
    pub(super) async fn lease(&self, _queues: &[String]) -> Result<Duration, ClusterError> {
        todo!()
    }

    /// Asks for up to `most` jobs of a queue.
    pub(super) async fn pull(
        &self,
        _queue: &str,
        _most: usize,
        _expires: Duration,
    ) -> Result<Pull, EngineError> {
        todo!()
    }

    /// The ids of jobs that are not wanted any more, as `about`.
    pub(super) async fn cancels(&self) -> Result<Notes, ClusterError> {
        todo!()
    }

    /// Tells a client that a job has begun.
    pub(super) async fn tell_begun(&self, _client: &str, _id: &str, _node: &str) -> Result<(), EngineError> {
        todo!()
    }

    /// Publishes what became of a job. The same `message_id` again changes nothing.
    pub(super) async fn answer(
        &self,
        _client: &str,
        _id: &str,
        _message_id: &str,
        _reply: Envelope,
    ) -> Result<(), EngineError> {
        todo!()
    }

    /// What was last published of a job.
    pub(super) async fn last_answer(
        &self,
        _client: &str,
        _id: &str,
    ) -> Result<Option<Envelope>, EngineError> {
        todo!()
    }

    /// Keeps a job that nobody could do.
    pub(super) async fn dead_letter(
        &self,
        _queue: &str,
        _message_id: &str,
        _job: Envelope,
    ) -> Result<(), EngineError> {
        todo!()
    }

    /// Jobs that come directly, without a queue.
    pub(super) async fn calls(&self, _queue: &str) -> Result<Calls, ClusterError> {
        todo!()
    }
}

/// For the janitor.
impl Engine {
    /// Sequence numbers of jobs that were delivered as often as they may be; each is seen by one of all nodes, and again if it is not acked.
    pub(super) async fn given_up(&self) -> Result<GivenUp, ClusterError> {
        todo!()
    }

    /// The job with that sequence number, if it is still there.
    pub(super) async fn job_at(&self, _sequence: u64) -> Result<Option<Envelope>, EngineError> {
        todo!()
    }

    /// Jobs that were acked and are still there, as a server of version 2.9 leaves them when it is killed.
    pub(super) async fn orphans(&self, _queues: &[String]) -> Result<Vec<u64>, EngineError> {
        todo!()
    }
}

/// Payloads that are too large for a message.
impl Engine {
    pub(super) async fn store(&self, _object: &str, _bytes: Bytes) -> Result<(), EngineError> {
        todo!()
    }

    /// Checks length and digest.
    pub(super) async fn load(&self, _object: &str, _len: u64) -> Result<Bytes, EngineError> {
        todo!()
    }

    pub(super) async fn discard(&self, _object: &str) -> Result<(), EngineError> {
        todo!()
    }
}

/// The results of a client, one after the other. Waits for ever; ends only with the connection.
#[derive(Debug)]
pub(super) struct Results {}

impl Results {
    /// Cancel safe. `None` once the connection was closed.
    pub(super) async fn next(&mut self) -> Option<ResultMessage> {
        todo!()
    }
}

#[derive(Debug)]
pub(super) struct ResultMessage {
    pub(super) envelope: Envelope,
}

impl ResultMessage {
    /// Has the server forget it; without waiting for that.
    pub(super) async fn ack(self) {
        todo!()
    }
}

/// Jobs that were asked for.
#[derive(Debug)]
pub(super) struct Pull {}

impl Pull {
    /// Cancel safe. `None` once what was asked for has come, or its time is over, or the connection was interrupted.
    pub(super) async fn next(&mut self) -> Option<Result<Delivery, EngineError>> {
        todo!()
    }
}

/// A job with its lease.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) envelope: Envelope,
    /// How often it was delivered, this time included.
    pub(super) delivered: u64,
    pub(super) sequence: u64,
}

impl Delivery {
    /// Renews the lease; without waiting for that.
    pub(super) async fn progress(&self) -> Result<(), EngineError> {
        todo!()
    }

    /// Gives it back, to be delivered again after `delay`.
    pub(super) async fn give_back(&self, _delay: Duration) -> Result<(), EngineError> {
        todo!()
    }

    /// Takes it out of the queue, and knows that.
    pub(super) async fn ack(&self) -> Result<(), EngineError> {
        todo!()
    }

    /// Takes it out of the queue because it cannot be done.
    pub(super) async fn terminate(&self) -> Result<(), EngineError> {
        todo!()
    }
}

/// Jobs that come directly.
#[derive(Debug)]
pub(super) struct Calls {}

impl Calls {
    /// Cancel safe. `None` once the connection was closed.
    pub(super) async fn next(&mut self) -> Option<Call> {
        todo!()
    }
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) envelope: Envelope,
}

impl Call {
    pub(super) async fn reply(self, _reply: Envelope) -> Result<(), EngineError> {
        todo!()
    }
}

/// Sequence numbers, one after the other.
#[derive(Debug)]
pub(super) struct GivenUp {}

impl GivenUp {
    /// Cancel safe. `None` once the connection was closed.
    pub(super) async fn next(&mut self) -> Option<GivenUpJob> {
        todo!()
    }
}

#[derive(Debug)]
pub(super) struct GivenUpJob {
    pub(super) sequence: u64,
    pub(super) deliveries: u64,
}

impl GivenUpJob {
    pub(super) async fn ack(self) {
        todo!()
    }
}
